"""docs/operations/recovery-mode.md, command by command, and what recovery mode refuses."""

import re
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Final

import pytest

from node.root_key import OUT_OF_REACH
from tests.node.ceremonies.kit import people
from tests.processes.cluster import PROGRAM, ROOT, Node, Reply, clean_environment, cluster, make_cluster, wait_until
from tests.walkthrough.kit import Cli, cli_for

pytestmark = pytest.mark.processes

TEXT: Final = (ROOT / "docs/operations/recovery-mode.md").read_text()
ATTEMPT: Final = "sys/generate-recovery-token/attempt"
UPDATE: Final = "sys/generate-recovery-token/update"


def start_in_recovery_mode(node: Node) -> None:
    """As the page says, with the node's own configuration file."""
    assert "strongroom server -recovery -config=node.hcl" in TEXT
    with (node.folder / f"{node.name}.log").open("ab") as log:
        node.process = subprocess.Popen(
            [*PROGRAM, "server", "-recovery", f"-config={node.folder / f'{node.name}.hcl'}"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
        )
    wait_until(node.answers, "the node answers in recovery mode")


def commands(block: str) -> list[list[str]]:
    """The words of each command of a block."""
    found = re.search(rf"^```console {block}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [line.split()[1:] for line in found[1].splitlines() if "export" not in line]


def run(sr: Cli, words: list[str], facts: dict[str, str]) -> str:
    """One command of the page, its variables filled in; what it prints."""
    assert words[0] == "strongroom"
    filled = [re.sub(r"\$(\w+)", lambda name: facts[name[1]], word) for word in words[1:]]
    return sr.ok(*filled).out


def row(printed: str, name: str) -> str:
    return str(re.findall(rf"^{name}\s+(\S+)$", printed, re.MULTILINE)[-1])


def test_an_audit_device_that_locks_everybody_out(tmp_path: Path) -> None:
    """The page as it stands: with its token the entry is removed, and the node serves again with all its data."""
    made = make_cluster(tmp_path, 1, seal="")
    node = made[0]
    try:
        node.start()
        init = node.call("PUT", "sys/init", {"secret_shares": 3, "secret_threshold": 2}).json
        shares, made.root_token = init["keys_base64"], init["root_token"]
        for share in shares[:2]:
            node.call("POST", "sys/unseal", {"key": share})
        made.call("POST", "sys/mounts/secret", {"type": "kv"})
        made.call("POST", "secret/a", {"x": "1"})
        log = tmp_path / "audit" / "log"
        log.parent.mkdir(mode=0o700)
        reply = made.call("POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(log)}})
        assert reply.status == 204, reply
        node.stop()
        log.unlink()
        log.mkdir()  # nothing can be appended to that
        node.start()
        for share in shares[:2]:
            node.call("POST", "sys/unseal", {"key": share})
        made.wait_leader()
        assert made.call("GET", "secret/a").status == 500
        assert made.call("DELETE", "sys/audit/file").status == 500
        node.stop()

        start_in_recovery_mode(node)
        _refusals_before_the_token(node, made.root_token, shares)
        sr, facts = cli_for(tmp_path / "home", node.address), {"SHARE_1": shares[0], "SHARE_2": shares[2]}
        begin, first, last, decode = commands("generate")
        printed = run(sr, begin, facts)
        facts |= {"NONCE": row(printed, "Nonce"), "OTP": row(printed, "OTP")}
        assert row(run(sr, first, facts), "Progress") == "1/2"
        facts["ENCODED_TOKEN"] = row(run(sr, last, facts), "Encoded Token")
        facts["RECOVERY_TOKEN"] = token = run(sr, decode, facts)
        assert token.startswith("hvr.")
        _refusals_with_the_token(node, made.root_token, token)
        listing, read, delete = commands("mend")
        sr = cli_for(tmp_path / "home", node.address, token)
        assert "audit" in run(sr, listing, facts).split()
        assert str(log).encode() in b64decode(row(run(sr, read, facts), "value"))
        run(sr, delete, facts)
        node.stop()

        node.start()
        assert node.call("GET", "secret/a", token=token).status == 503
        for share in shares[:2]:
            node.call("POST", "sys/unseal", {"key": share})
        assert made.call("GET", "secret/a").json["data"] == {"x": "1"}
        assert made.call("GET", "sys/audit").json["data"] == {}
        assert made.call("GET", "secret/a", token=token).status == 403, "the token ended with its process"
        assert token not in node.log and not any(share in node.log for share in shares)
    finally:
        made.stop()


def _refusals_before_the_token(node: Node, root_token: str, shares: list[str]) -> None:
    """Nothing is open yet, to no token; shares that are wrong open nothing; nonces count."""
    for path in ("sys/raw/core/audit", "sys/raw/core?list=true"):
        assert node.call("GET", path, token=root_token).status == 503
    assert node.call("GET", "secret/a", token=root_token).status == 404
    assert node.call("POST", "sys/unseal", {"key": shares[0]}).status == 404
    nonce = node.call("POST", ATTEMPT, {}).json["nonce"]
    again: Reply = node.call("POST", ATTEMPT, {})
    assert again.status == 400 and "already in progress" in again.json["errors"][0]
    *others, last, number = b64decode(shares[0])
    wrong = bytes([*others, last ^ 1, number]).hex()
    assert node.call("POST", UPDATE, {"key": shares[1], "nonce": "other"}).status == 400
    assert node.call("POST", UPDATE, {"key": shares[1], "nonce": nonce}).json["progress"] == 1
    refused = node.call("POST", UPDATE, {"key": wrong, "nonce": nonce})
    assert refused.status == 400 and "not those of this cluster" in refused.json["errors"][0]
    assert node.call("GET", ATTEMPT).json["progress"] == 0
    assert node.call("DELETE", ATTEMPT).status == 400
    assert node.call("DELETE", ATTEMPT, {"nonce": nonce}).status == 204
    assert node.call("GET", "sys/seal-status").json["sealed"] is True


def _refusals_with_the_token(node: Node, root_token: str, token: str) -> None:
    """The recovery token alone opens sys/raw, and neither the sealed keys nor anything else of the API."""
    for other in ("", root_token, token[:-1], token + "x", "hvr." + "a" * 24):
        assert node.call("GET", "sys/raw/core/cluster", token=other).status == 403
    for key in sorted(OUT_OF_REACH):
        for method in ("GET", "POST", "DELETE"):
            body = {"value": "x"} if method == "POST" else None
            assert node.call(method, f"sys/raw/{key}", body, token=token).status == 400
    assert node.call("GET", "sys/raw/no/such/key", token=token).status == 404
    assert node.call("GET", "sys/raw/core/mounts", token=token).status == 400, "it is no text"
    assert node.call("GET", "secret/a", token=token).status == 404
    assert node.call("POST", ATTEMPT, {}).status == 400, "one token a start"
    for value, encoding, status in (
        ("x", "base64", 400),
        ("eA==", "gzip", 400),
        ("eA==", "base64", 204),
        ("x", "", 204),
    ):
        body = {"value": value, "encoding": encoding}
        assert node.call("POST", "sys/raw/core/test", body, token=token).status == status
    assert node.call("GET", "sys/raw/core/test", token=token).json["data"] == {"value": "x"}
    assert node.call("DELETE", "sys/raw/core/test", token=token).status == 204


@pytest.mark.slow
def test_it_makes_a_cluster_of_one(tmp_path: Path) -> None:
    """One of three nodes that unseal by themselves: by recovery keys, to a PGP key; then it leads alone."""
    with cluster(tmp_path) as made:
        made.call("POST", "secret/data/a", {"data": {"x": "1"}})
        made.wait_applied()
        for node in made.nodes:
            node.stop()
        mended = made[1]
        start_in_recovery_mode(mended)
        owner = people(1)[0]
        begun = mended.call("POST", ATTEMPT, {"pgp_key": owner.public}).json
        assert begun["pgp_fingerprint"] == owner.fingerprint
        done = mended.call("POST", UPDATE, {"key": made.keys[0], "nonce": begun["nonce"]}).json
        token = owner.reads(done["encoded_token"])
        assert mended.call("GET", "sys/raw/sys?list=true", token=token).status == 200
        mended.stop()
        mended.start()
        wait_until(lambda: mended.call("GET", "sys/health").status == 200, "it leads alone")
        assert [peer["node_id"] for peer in made.peers()] == ["n2"]
        assert made.call("GET", "secret/data/a").json["data"]["data"] == {"x": "1"}


def test_it_needs_data_of_its_own(tmp_path: Path) -> None:
    """In memory there is nothing to mend, and an empty folder has no shares."""
    done = subprocess.run([*PROGRAM, "server", "-recovery", "-dev"], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1 and b'recovery mode needs storage "raft"' in done.stderr
    made = make_cluster(tmp_path, 1, seal="")
    try:
        (tmp_path / "n1.hcl").write_text(made[0].config)
        start_in_recovery_mode(made[0])
        refused = made[0].call("POST", ATTEMPT, {})
        assert refused.status == 400 and refused.json["errors"] == ["Vault is not initialized"]
    finally:
        made.stop()
