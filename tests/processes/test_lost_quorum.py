"""docs/operations/lost-quorum.md, command by command, on three nodes of which two lose their disks (faults, row 29)."""

import shutil
from pathlib import Path

import pytest

from tests.processes.cluster import Node, cluster, wait_until
from tests.walkthrough.documented import block_of, run_block, variables_of

pytestmark = pytest.mark.processes

PAGE = "operations/lost-quorum.md"


def run(commands: str, node: Node, token: str) -> str:
    """Run commands of the page with the variables of a node."""
    values = {
        "DATA": str(node.data),
        "NODE_ID": node.name,
        "CLUSTER_ADDRESS": f"127.0.0.1:{node.cluster_port}",
        "VAULT_ADDR": node.address,
    }
    assert variables_of(PAGE) == set(values), "the page sets what its commands use"
    return run_block(commands, values | {"VAULT_TOKEN": token}, node.folder)


def test_two_of_three_disks_are_lost(tmp_path: Path) -> None:
    """The survivor serves alone with all it had acknowledged, and the others join again, empty, under their names."""
    with cluster(tmp_path) as three:
        token = three.root_token
        for number in range(30):
            path = f"secret/data/a{number}"
            assert three.call("POST", path, {"data": {"x": number}}).status == 200
        three.wait_applied()
        survivor = next(node for node in three.nodes if node is not three.wait_leader())
        lost = [node for node in three.nodes if node is not survivor]
        for node in lost:
            node.kill()
            shutil.rmtree(node.data)
        survivor.kill()
        run(block_of(PAGE, "write"), survivor, token)
        survivor.start()
        wait_until(lambda: three.leader() is survivor, "the survivor leads")
        assert "RECOVERY" in survivor.log
        shown = run(block_of(PAGE, "check"), survivor, token)
        assert [peer["node_id"] for peer in three.peers()] == [survivor.name]
        assert survivor.name in shown
        for number in range(30):
            assert three.call("GET", f"secret/data/a{number}").json["data"]["data"] == {"x": number}
        for node in lost:
            node.start()
        wait_until(lambda: len(three.peers()) == 3, "the lost nodes have joined again")
        three.wait_applied()
        assert three.call("POST", "secret/data/then", {"data": {"x": 1}}).status == 200
