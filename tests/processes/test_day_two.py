"""docs/operations/day-two.md, block by block, on three nodes with a static seal."""

import re
import shutil
from pathlib import Path

import pytest

from tests.processes.cluster import ROOT, Cluster, Node, make_cluster, wait_until
from tests.walkthrough.documented import block_of, run_block

pytestmark = pytest.mark.processes

PAGE = "operations/day-two.md"


class Operator:
    """Who reads the page and types what it says."""

    def __init__(self, three: Cluster, folder: Path) -> None:
        self.three = three
        self.folder = folder

    def does(self, name: str, **variables: str) -> str:
        """Run a block against the active node; what it printed."""
        active = self.three.leader() or self.three[0]
        known = {"VAULT_ADDR": active.address, "VAULT_TOKEN": self.three.root_token}
        return run_block(block_of(PAGE, name), known | variables, self.folder)


def upgrade(operator: Operator, node: Node) -> None:
    """As the page says for one node; the release is the same."""
    assert node.stop() == 0
    node.start()
    operator.three.wait_leader()
    operator.does("healthy")


def test_the_guide_from_top_to_bottom(tmp_path: Path) -> None:
    """Every command works, and does what the text around it promises."""
    three = make_cluster(tmp_path)
    operator = Operator(three, tmp_path)
    try:
        for node in three.nodes:
            node.start()
        printed = operator.does("initialize", VAULT_ADDR=three[0].address)
        assert len(re.findall(r"^Recovery Key \d: ", printed, re.MULTILINE)) == 5
        found = re.search(r"^Initial Root Token: (\S+)$", printed, re.MULTILINE)
        assert found is not None
        three.root_token = found[1]
        audit = tmp_path / "audit.log"
        operator.does("audit", AUDIT_FILE=str(audit))
        wait_until(lambda: len(three.peers()) == 3, "the others have joined")
        listed = operator.does("peers")
        assert all(node.name in listed for node in three.nodes) and "Failure Tolerance" in listed

        assert three.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}).status == 204
        assert three.call("POST", "secret/data/a", {"data": {"v": 1}}).status == 200
        operator.does("healthy")
        assert "Vault" not in operator.does("back-up")
        assert three.call("POST", "secret/data/a", {"data": {"v": 2}}).status == 200

        active = three.wait_leader()
        for node in [node for node in three.nodes if node is not active]:
            upgrade(operator, node)
        operator.does("step-down")
        wait_until(lambda: three.leader() not in (None, active), "another one leads")
        upgrade(operator, active)
        assert three.call("GET", "secret/data/a").json["data"]["data"] == {"v": 2}

        operator.does("restore")
        assert three.call("GET", "secret/data/a").json["data"]["data"] == {"v": 1}

        lost = next(node for node in three.nodes if node is not three.wait_leader())
        lost.kill()
        operator.does("diagnose", CONFIG=str(tmp_path / f"{lost.name}.hcl"))
        operator.does("remove", LOST=lost.name)
        assert lost.name not in [peer["node_id"] for peer in three.peers()]
        shutil.rmtree(lost.data)
        lost.start()
        operator.does("healthy")
        assert "24h" in operator.does("autopilot")

        before = operator.does("rotate")
        assert "Success! Rotated key" in before
        assert "vault_core_unsealed" in operator.does("metrics")
        assert audit.stat().st_size > 0
    finally:
        three.stop()


def test_its_links_lead_somewhere() -> None:
    """Pages, folders and files that the guide names are there."""
    page = ROOT / "docs" / PAGE
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert len(links) > 10
    assert [link for link in links if not (page.parent / link).exists()] == []
