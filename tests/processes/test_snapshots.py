"""Snapshots of three real processes: taken under load, restored on the same cluster and on another one."""

import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from tests.processes.cluster import Cluster, Node, cluster, wait_until

pytestmark = pytest.mark.processes

SNAPSHOT = "sys/storage/raft/snapshot"


def put(node: Node, token: str, key: str, value: object) -> int:
    reply = node.call("POST", f"secret/data/{key}", {"data": {"x": value}}, token=token)
    assert reply.status == 200, reply.body
    return int(reply.json["data"]["version"])


def get(node: Node, token: str, key: str) -> object:
    reply = node.call("GET", f"secret/data/{key}", token=token)
    return reply.json["data"]["data"]["x"] if reply.status == 200 else None


def save(three: Cluster) -> bytes:
    reply = three.call("GET", SNAPSHOT)
    assert reply.status == 200, reply.body
    return reply.body


def restore(three: Cluster, archive: bytes, *, force: bool = False) -> None:
    reply = three.call("POST", SNAPSHOT + ("-force" if force else ""), archive)
    assert reply.status == 204, reply.body


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
        return found


def test_save_and_restore_on_the_same_cluster(tmp_path: Path) -> None:
    """The cut is a point in time, and every node has exactly its content afterwards, also after a restart (row 30)."""
    with cluster(tmp_path) as three:
        token = three.root_token
        leader = three.wait_leader()
        standby = next(node for node in three.nodes if node is not leader)
        put(leader, token, "before", 1)
        written: list[int] = []
        stop = threading.Event()

        def write() -> None:
            # One key after the other: a cut holds all up to some number and none behind it.
            while not stop.is_set():
                put(leader, token, f"count/{len(written)}", len(written))
                written.append(len(written))

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(written) > 50, "some writes")
        acknowledged = len(written)
        archive = save(three)
        stop.set()
        writer.join()
        found = members(archive)
        assert list(found) == ["meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"]
        assert json.loads(found["meta.json"])["Size"] == len(found["state.bin"])
        assert hashlib.sha256(found["state.bin"]).hexdigest().encode() in found["SHA256SUMS"]

        redirected = standby.call("GET", SNAPSHOT, token=token)
        assert redirected.status == 200, redirected.body  # the client follows the standby's 307
        put(leader, token, "after", 1)
        put(leader, token, "before", 2)
        later = leader.call("POST", "auth/token/create", {}, token=token).json["auth"]["client_token"]

        restore(three, archive)
        for node in three.nodes:
            assert get(node, token, "before") == 1
            assert get(node, token, "after") is None
            present = [get(node, token, f"count/{number}") is not None for number in range(len(written))]
            assert present == sorted(present, reverse=True), "a point in time has no gaps"
            assert sum(present) >= acknowledged
            assert node.call("GET", "auth/token/lookup-self", token=later).status == 403
        assert {peer["node_id"] for peer in three.peers()} == {"n1", "n2", "n3"}
        assert put(leader, token, "before", 3) == 2
        three.wait_applied()
        for node in three.nodes:
            node.kill()
        for node in three.nodes:
            node.launch()
        wait_until(three.leader, "a leader after the restart")
        assert get(three.wait_leader(), token, "before") == 3


def test_restore_on_another_cluster(tmp_path: Path) -> None:
    """Only by force; then the source's token works on every node, and the peers are those of the target (row 30)."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with cluster(tmp_path / "a", 1) as source:
        put(source[0], source.root_token, "a", "source")
        archive = save(source)
        source_token = source.root_token
    with cluster(tmp_path / "b") as three:
        put(three.wait_leader(), three.root_token, "b", "target")
        refused = three.call("POST", SNAPSHOT, archive)
        assert refused.status == 400
        assert "snapshot-force" in refused.json["errors"][0]
        assert get(three.wait_leader(), three.root_token, "b") == "target"
        restore(three, archive, force=True)
        three.root_token = source_token
        for node in three.nodes:
            wait_until(lambda node=node: get(node, source_token, "a") == "source", f"{node.name} has the source's data")
            assert get(node, source_token, "b") is None
        assert {peer["node_id"] for peer in three.peers()} == {"n1", "n2", "n3"}
        put(three.wait_leader(), source_token, "c", 1)


def test_autopilot_on_three_nodes(tmp_path: Path) -> None:
    """All healthy; a node that is killed is told apart, and the rules are kept by the cluster, not by one node."""
    with cluster(tmp_path) as three:
        base = "sys/storage/raft/autopilot"

        def state() -> dict[str, object]:
            found: dict[str, object] = three.call("GET", f"{base}/state").json["data"]
            return found

        wait_until(lambda: state()["healthy"] is True, "all are healthy")
        assert state()["failure_tolerance"] == 1
        assert state()["voters"] == ["n1", "n2", "n3"]
        assert three.call("POST", f"{base}/configuration", {"cleanup_dead_servers": True}).status == 400
        assert three.call("POST", f"{base}/configuration", {"last_contact_threshold": "1s"}).status == 204
        leader = three.wait_leader()
        victim = next(node for node in three.nodes if node is not leader)
        victim.kill()
        wait_until(lambda: state()["healthy"] is False, "the dead node is noticed")
        assert state()["failure_tolerance"] == 0
        victim.start()
        wait_until(lambda: state()["healthy"] is True, "it is healthy again")
        leader.kill()
        wait_until(three.leader, "another leads")
        read = three.call("GET", f"{base}/configuration").json["data"]
        assert (read["last_contact_threshold"], read["min_quorum"]) == ("1s", 0)
