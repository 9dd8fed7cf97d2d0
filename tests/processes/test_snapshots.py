"""Snapshots of three real processes: taken under load, restored on the same cluster and on another one."""

import hashlib
import io
import json
import socket
import subprocess
import tarfile
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.processes.cluster import (
    PROGRAM,
    ROOT,
    Cluster,
    Node,
    clean_environment,
    cluster,
    make_cluster,
    wait_until,
)

pytestmark = pytest.mark.processes

SNAPSHOT = "sys/storage/raft/snapshot"


def put(node: Node, token: str, key: str, value: object) -> int:
    reply = node.call("POST", f"secret/data/{key}", {"data": {"x": value}}, token=token)
    assert reply.status == 200, reply.body
    return int(reply.json["data"]["version"])


def holds(node: Node, token: str, name: str, value: str) -> bool:
    """Whether a node has this value."""
    return get(node, token, name) == value


def is_sealed(node: Node) -> bool:
    """Whether a node says that it is sealed."""
    return bool(node.call("GET", "sys/seal-status").json["sealed"])


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
            wait_until(partial(holds, node, source_token, "a", "source"), f"{node.name} has the source's data")
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


def shamir_cluster(folder: Path, size: int) -> Cluster:
    """A cluster that is unsealed with one key share."""
    folder.mkdir()
    made = make_cluster(folder, size, seal="")
    made[0].start()
    init = made[0].call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}).json
    made.root_token, made.keys = init["root_token"], tuple(init["keys_base64"])
    unseal(made[0], made.keys[0])
    made.wait_leader()
    for node in made.nodes[1:]:
        node.start()
        # Joining is tried again and again, and unsealing takes what joining brought.
        wait_until(partial(unseal, node, made.keys[0]), f"{node.name} is unsealed")
    wait_until(lambda: len(made.peers()) == size, "all nodes have joined")
    assert made.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}).status == 204
    return made


def unseal(node: Node, key: str) -> bool:
    reply = node.call("PUT", "sys/unseal", {"key": key})
    return reply.status == 200 and reply.json["sealed"] is False


def test_a_forced_restore_needs_the_keys_of_the_source(tmp_path: Path) -> None:
    """Every node seals itself, no old key or token opens anything, and the source's keys do, on all nodes."""
    source = shamir_cluster(tmp_path / "source", 1)
    try:
        put(source[0], source.root_token, "a", "source")
        archive = save(source)
    finally:
        source.stop()
    target = shamir_cluster(tmp_path / "target", 3)
    try:
        put(target.wait_leader(), target.root_token, "b", "target")
        restore(target, archive, force=True)
        for node in target.nodes:
            wait_until(partial(is_sealed, node), f"{node.name} has sealed itself")
        assert target[0].call("PUT", "sys/unseal", {"key": target.keys[0]}).status == 400
        for node in target.nodes:
            wait_until(partial(unseal, node, source.keys[0]), f"{node.name} is unsealed")
        assert target.wait_leader().call("GET", "auth/token/lookup-self", token=target.root_token).status == 403
        for node in target.nodes:
            assert get(node, source.root_token, "a") == "source"
            assert get(node, source.root_token, "b") is None
        target.root_token = source.root_token
        assert {peer["node_id"] for peer in target.peers()} == {"n1", "n2", "n3"}
        put(target.wait_leader(), source.root_token, "c", 1)
    finally:
        target.stop()


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    """Damage, truncation and a client that goes away in the middle leave the store as it was and no file behind."""
    with cluster(tmp_path, 1) as one:
        node, token = one[0], one.root_token
        put(node, token, "a", "x" * 1000)
        archive = save(one)
        put(node, token, "b", 1)
        for damaged in (b"", b"no archive", archive[:-1], archive[: len(archive) // 2], archive + b"x"):
            for path in (SNAPSHOT, SNAPSHOT + "-force"):
                reply = node.call("POST", path, damaged, token=token)
                assert reply.status == 400, (reply.status, reply.body)
        altered = bytearray(archive)
        altered[len(altered) // 2] ^= 1
        assert node.call("POST", SNAPSHOT, bytes(altered), token=token).status == 400
        assert node.call("POST", SNAPSHOT, archive, token="wrong").status == 403
        with socket.create_connection(("127.0.0.1", node.api_port)) as client:
            lines = (f"POST /v1/{SNAPSHOT} HTTP/1.1", "Host: x", f"X-Vault-Token: {token}")
            head = "\r\n".join((*lines, f"Content-Length: {len(archive)}", "", ""))
            client.sendall(head.encode() + archive[: len(archive) // 2])
        assert get(node, token, "b") == 1
        wait_until(lambda: not any((node.data / "raft" / "snapshots").iterdir()), "nothing is left behind")


def test_the_command_line(tmp_path: Path) -> None:
    """save, inspect and restore, through a standby."""
    with cluster(tmp_path) as three:
        leader = three.wait_leader()
        standby = next(node for node in three.nodes if node is not leader)
        environment = {**clean_environment(), "VAULT_ADDR": standby.address, "VAULT_TOKEN": three.root_token}

        def operator(*arguments: str) -> str:
            done = subprocess.run(
                [*PROGRAM, "operator", "raft", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        put(leader, three.root_token, "a", 1)
        file = str(tmp_path / "backup.snap")
        operator("snapshot", "save", file)
        inspected = operator("snapshot", "inspect", file)
        assert "Index" in inspected
        assert "core/keyring" in inspected
        put(leader, three.root_token, "a", 2)
        operator("snapshot", "restore", file)
        assert get(standby, three.root_token, "a") == 1
        assert "Failure Tolerance:" in operator("autopilot", "state")
        operator("autopilot", "set-config", "-min-quorum=3")
        assert "Min Quorum" in operator("autopilot", "get-config")
