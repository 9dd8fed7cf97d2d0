"""operator raft: join, peers, autopilot and snapshots."""

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

from tests.node.cli.conftest import FakeNode, Terminal


def test_join(node: FakeNode, sr: Terminal, tmp_path: Path) -> None:
    """The leader's address, or auto-join, and certificates as text or from files."""
    node.on("POST sys/storage/raft/join", {"joined": True})
    (tmp_path / "ca.pem").write_text("PEM\n")
    result = sr("operator", "raft", "join", "-retry", f"-leader-ca-cert=@{tmp_path}/ca.pem", "http://node-1:8200")
    assert result.out == "Key       Value\n---       -----\nJoined    true\n"
    assert node.last.json == {
        "leader_api_addr": "http://node-1:8200",
        "retry": True,
        "non_voter": False,
        "leader_ca_cert": "PEM\n",
    }
    assert sr("operator", "raft", "join", "-format=json", "provider=aws region=eu").json == {"joined": True}
    assert node.last.json["auto_join"] == "provider=aws region=eu"
    assert node.last.json["auto_join_port"] == 8200


def test_join_is_not_repeated(node: FakeNode, sr: Terminal) -> None:
    """A refused join is an answer: asking again would start another."""
    node.refuse("POST sys/storage/raft/join", 500, "failed to join raft cluster")
    assert sr("operator", "raft", "join", "http://x").code == 2
    assert len(node.received) == 1


def test_list_peers(node: FakeNode, sr: Terminal) -> None:
    """Node, Address, State and Voter."""
    servers = [
        {"node_id": "node-1", "address": "127.0.0.1:8201", "leader": True, "voter": True, "protocol_version": "3"},
        {"node_id": "node-2", "address": "127.0.0.1:8211", "leader": False, "voter": False, "protocol_version": "3"},
    ]
    node.data("GET sys/storage/raft/configuration", {"config": {"index": 0, "servers": servers}})
    assert sr("operator", "raft", "list-peers").out == (
        "Node      Address           State       Voter\n"
        "----      -------           -----       -----\n"
        "node-1    127.0.0.1:8201    leader      true\n"
        "node-2    127.0.0.1:8211    follower    false\n"
    )
    assert sr("operator", "raft", "list-peers", "-format=json").json["data"]["config"]["servers"] == servers


def test_list_peers_without_raft(sr: Terminal) -> None:
    """No configuration is exit code 2."""
    result = sr("operator", "raft", "list-peers")
    assert (result.code, result.err) == (2, "No raft cluster configuration found\n")


def test_remove_peer(node: FakeNode, sr: Terminal) -> None:
    """Names the server id."""
    node.on("POST sys/storage/raft/remove-peer")
    assert sr("operator", "raft", "remove-peer", "node-2").out == "Peer removed successfully!\n"
    assert node.last.json == {"server_id": "node-2"}


def test_autopilot(node: FakeNode, sr: Terminal) -> None:
    """State as indented lines, the rules as rows, and only what was named is set."""
    server = {"name": "n1", "address": "a:1", "status": "leader", "node_status": "alive", "healthy": True}
    state = {"healthy": True, "failure_tolerance": 1, "leader": "n1", "voters": ["n1"], "servers": {"n1": server}}
    node.data("GET sys/storage/raft/autopilot/state", state)
    node.data("GET sys/storage/raft/autopilot/configuration", {"min_quorum": 0, "last_contact_threshold": "10s"})
    node.on("POST sys/storage/raft/autopilot/configuration")
    assert sr("operator", "raft", "autopilot", "state").out.startswith(
        "Healthy:                         true\n"
        "Failure Tolerance:               1\n"
        "Leader:                          n1\n"
        "Voters:\n   n1\nServers:\n   n1\n"
        "      Name:              n1\n"
        "      Address:           a:1\n"
        "      Status:            leader\n"
        "      Node Status:       alive\n"
        "      Healthy:           true\n"
    )
    assert sr("operator", "raft", "autopilot", "get-config").out == (
        "Key                       Value\n---                       -----\n"
        "Last Contact Threshold    10s\nMin Quorum                0\n"
    )
    flags = ("-min-quorum=3", "-cleanup-dead-servers=true", "-last-contact-threshold=500ms")
    assert sr("operator", "raft", "autopilot", "set-config", *flags).out == ""
    assert node.last.json == {"min_quorum": 3, "cleanup_dead_servers": True, "last_contact_threshold": "500ms"}


def state_stream(entries: dict[str, bytes]) -> bytes:
    """state.bin as cluster/snapshot.py describes it."""
    stream = b"SRSNAP01" + struct.pack("<I", 4) + b"meta"
    for key, value in entries.items():
        row = struct.pack("<QI", 7, len(key)) + key.encode() + value
        stream += struct.pack("<I", len(row)) + row
    return stream + struct.pack("<IQI", 0, len(entries), 0)


def archive(state: bytes, *, sealed: bool = True, sums: str | None = None) -> bytes:
    """A snapshot file."""
    meta = json.dumps({"ID": "2-17", "Size": len(state), "Index": 17, "Term": 2, "Version": 1}).encode()
    members = {"meta.json": meta, "state.bin": state}
    listed = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items())
    members["SHA256SUMS"] = (sums or listed).encode()
    if sealed:
        members["SHA256SUMS.sealed"] = b"sealed"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


STATE = state_stream({"logical/a/1": b"x" * 10, "logical/a/2": b"", "sys/policy/default": b"y"})


def test_snapshot_save(node: FakeNode, sr: Terminal, tmp_path: Path) -> None:
    """The file is private, whole, and prints nothing."""
    content = archive(STATE)
    node.on("GET sys/storage/raft/snapshot", content, 200)
    target = tmp_path / "raft.snap"
    result = sr("operator", "raft", "snapshot", "save", str(target))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        archive(STATE)[:-40],
        archive(STATE, sealed=False),
        archive(STATE, sums=f"{'0' * 64}  meta.json\n{'0' * 64}  state.bin\n"),
        archive(STATE, sums="nothing"),
        b"not gzip",
        b"",
    ],
)
def test_a_snapshot_that_is_not_whole(node: FakeNode, sr: Terminal, tmp_path: Path, content: bytes) -> None:
    """An incomplete or altered archive never takes the place of an older one, and is not uploaded either."""
    node.on("GET sys/storage/raft/snapshot", content, 200)
    target = tmp_path / "raft.snap"
    target.write_bytes(b"older")
    result = sr("operator", "raft", "snapshot", "save", str(target))
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert target.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["raft.snap"]
    node.received.clear()
    target.write_bytes(content)
    assert sr("operator", "raft", "snapshot", "restore", str(target)).code == 1
    assert node.received == []


def test_snapshot_save_refused(node: FakeNode, sr: Terminal, tmp_path: Path) -> None:
    """A refusal leaves no file behind."""
    node.refuse("GET sys/storage/raft/snapshot", 403, "permission denied")
    assert sr("operator", "raft", "snapshot", "save", str(tmp_path / "x")).code == 2
    assert list(tmp_path.iterdir()) == []


def test_snapshot_save_into_nowhere(node: FakeNode, sr: Terminal, tmp_path: Path) -> None:
    """A folder that does not exist is an error of this machine."""
    node.on("GET sys/storage/raft/snapshot", archive(STATE), 200)
    result = sr("operator", "raft", "snapshot", "save", str(tmp_path / "none" / "x"))
    assert (result.code, result.err) == (1, f"cannot write {tmp_path}/none/x: No such file or directory\n")


@pytest.mark.parametrize(("flags", "endpoint"), [((), "snapshot"), (("-force",), "snapshot-force")])
def test_snapshot_restore(node: FakeNode, sr: Terminal, tmp_path: Path, flags: tuple[str, ...], endpoint: str) -> None:
    """The file's bytes are the body, also after a redirect to the leader."""
    source = tmp_path / "raft.snap"
    source.write_bytes(archive(STATE))
    node.on(f"POST sys/storage/raft/{endpoint}", None, 307, Location=f"/v1/sys/storage/raft/{endpoint}")
    node.on(f"POST sys/storage/raft/{endpoint}")
    result = sr("operator", "raft", "snapshot", "restore", *flags, str(source))
    assert (result.code, result.out) == (0, "")
    assert [one.raw for one in node.received] == [source.read_bytes()] * 2


def test_snapshot_inspect(sr: Terminal, tmp_path: Path) -> None:
    """Without a server: what meta.json says, then keys by their first segments."""
    source = tmp_path / "raft.snap"
    source.write_bytes(archive(STATE))
    out = sr("operator", "raft", "snapshot", "inspect", str(source)).out
    assert out == (
        f"Key        Value\n---        -----\nID         2-17\nSize       {len(STATE)}\nIndex      17\n"
        "Term       2\nVersion    1\n\n"
        "Key Name      Count    Size\n--------      -----    ----\n"
        "logical/a     2        32B\nsys/policy    1        19B\nTotal         3        51B\n"
    )
    shown = sr("operator", "raft", "snapshot", "inspect", "-depth=0", "-filter=logical", "-format=json", str(source))
    assert [one["Name"] for one in shown.json["KeyStats"]] == ["logical/a/1", "logical/a/2"]
    assert "Key Name" not in sr("operator", "raft", "snapshot", "inspect", "-details=false", str(source)).out
    assert sr("operator", "raft", "snapshot", "inspect", "-details=false", "-depth=1", str(source)).code == 1
    assert sr("operator", "raft", "snapshot", "inspect", str(tmp_path / "none")).code == 1


@pytest.mark.parametrize("cut", [4, 10, 30, 60])
def test_inspect_of_a_cut_state(sr: Terminal, tmp_path: Path, cut: int) -> None:
    """A state that ends too early is named, without a traceback."""
    source = tmp_path / "raft.snap"
    source.write_bytes(archive(STATE[:cut]))
    result = sr("operator", "raft", "snapshot", "inspect", str(source))
    assert result.code == 1
    assert "state.bin" in result.err
