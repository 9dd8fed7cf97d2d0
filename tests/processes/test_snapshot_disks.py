"""Full disks under snapshots: refused where there is no room, and no log is harmed by it."""

import http.client
import os
from pathlib import Path

import pytest

from tests.processes.cluster import Cluster, Node, wait_until
from tests.processes.conftest import SnapshotNodes
from tests.processes.small_disk import fill, required

pytestmark = pytest.mark.processes

SNAPSHOT = "sys/storage/raft/snapshot"
AUTO = "sys/storage/raft/snapshot-auto"


@pytest.fixture
def disk(snapshot_nodes: SnapshotNodes) -> Path:
    """The disk of n1: 260 MB."""
    return required(snapshot_nodes.disk)


@pytest.fixture
def three(snapshot_nodes: SnapshotNodes) -> Cluster:
    return snapshot_nodes.cluster


def put(three: Cluster, key: str, value: str) -> None:
    reply = three.call("POST", f"secret/data/{key}", {"data": {"x": value}})
    assert reply.status == 200, reply.body


def get(node: Node, token: str, key: str) -> object:
    reply = node.call("GET", f"secret/data/{key}", token=token)
    return reply.json["data"]["data"]["x"] if reply.status == 200 else None


def lead(three: Cluster, name: str) -> Node:
    """Have this node lead."""

    def leads() -> bool:
        leader = three.leader()
        if leader is not None and leader.name != name:
            leader.call("PUT", "sys/step-down", token=three.root_token)
        return leader is not None and leader.name == name

    wait_until(leads, f"{name} leads")
    return next(node for node in three.nodes if node.name == name)


def saved(three: Cluster) -> bytes:
    """An archive in which `which` is "old"; in the store it is "new"."""
    put(three, "which", "old")
    reply = three.call("GET", SNAPSHOT)
    assert reply.status == 200, reply.body
    put(three, "which", "new")
    return reply.body


def test_the_leaders_disk_fills_up_during_a_restore(three: Cluster, disk: Path) -> None:
    """The upload is refused in the middle, nothing is changed or left behind, and with room again it succeeds."""
    leader, token = lead(three, "n1"), three.root_token
    archive = saved(three)
    connection = http.client.HTTPConnection("127.0.0.1", leader.api_port, timeout=60)
    connection.putrequest("POST", f"/v1/{SNAPSHOT}")
    connection.putheader("X-Vault-Token", token)
    connection.putheader("Content-Length", str(len(archive)))
    connection.endheaders(archive[: len(archive) // 2])
    folder = disk / "n1" / "raft" / "snapshots"
    wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in folder.glob("upload-*")), "it is being received")
    ballast = fill(disk, leave=2_000_000)
    connection.send(archive[len(archive) // 2 :])
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status, b"nothing was changed" in body) == (500, True), body
    assert not any(folder.iterdir())
    assert get(leader, token, "which") == "new"
    put(three, "while-full", "1")
    assert leader.call("GET", SNAPSHOT, token=token).status == 500, "and there is no room to save one either"
    ballast.unlink()
    assert leader.call("POST", SNAPSHOT, archive, token=token).status == 204
    for node in three.nodes:
        assert get(node, token, "which") == "old"


def test_the_disk_of_another_node_is_full(three: Cluster, disk: Path) -> None:
    """A majority takes the restore; the node without room ends, and has it too once there is room again."""
    leader, token = lead(three, "n2"), three.root_token
    full = three[0]
    archive = saved(three)
    said = len(full.log)
    ballast = fill(disk, leave=2_000_000)
    assert leader.call("POST", SNAPSHOT, archive, token=token).status == 204
    assert get(leader, token, "which") == "old"
    assert full.process is not None
    wait_until(lambda: full.process is not None and full.process.poll() is not None, "the stream does not fit")
    assert full.process.returncode == 1
    errors = [line for line in full.log[said:].splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "space" in errors[0], errors
    put(three_without(three, full), "meanwhile", "1")
    ballast.unlink()
    full.kill()
    full.start()
    wait_until(lambda: full.call("GET", "sys/health").status in (200, 429), "it serves again")
    three.wait_applied()
    lead(three, "n1")
    assert (get(full, token, "which"), get(full, token, "meanwhile")) == ("old", "1")


def three_without(three: Cluster, node: Node) -> Cluster:
    return Cluster([other for other in three.nodes if other is not node], three.root_token, three.keys)


def test_no_automatic_snapshot_without_room_for_the_log(three: Cluster, disk: Path) -> None:
    """On the disk of the log the reserve is kept: the attempt fails, the node goes on, and later it succeeds."""
    leader = lead(three, "n1")
    ballast = fill(disk, leave=60_000_000)
    elsewhere = disk / "backup"
    config = {
        "interval": "1s",
        "path_prefix": str(elsewhere),
        "storage_type": "local",
        "local_max_space": 1 << 30,
    }
    assert three.call("POST", f"{AUTO}/config/full", config).status == 204

    def status() -> dict[str, object]:
        found: dict[str, object] = leader.call("GET", f"{AUTO}/status/full", token=three.root_token).json["data"]
        return found

    wait_until(lambda: status()["consecutive_errors"], "the first fails")
    assert "has no room" in str(status()["last_snapshot_error"])
    assert not elsewhere.exists() or not any(elsewhere.iterdir())
    put(three, "beside", "1")
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 50_000_000
    ballast.unlink()
    wait_until(lambda: status()["consecutive_errors"] == 0, "there is room again")
    assert three.call("DELETE", f"{AUTO}/config/full").status == 204
