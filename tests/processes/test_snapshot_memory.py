"""Saving and restoring takes memory by the chunk, not by the store, on the leader and on the others."""

import http.client
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes.cluster import Cluster, Node, cluster
from tests.processes.writers import Client

pytestmark = pytest.mark.processes

VALUE_BYTES = 900_000  # within max_entry_size, sealed
CHUNK = 1 << 20


class Peak:
    """The most memory of its own that a process has had since the beginning."""

    def __init__(self, node: Node) -> None:
        assert node.process is not None
        self._status = Path(f"/proc/{node.process.pid}/status")
        self.before = self.most = self.now()

    def now(self) -> int:
        """Bytes that are the process's alone: pages of the mapped store are the kernel's to take back."""
        found = re.search(r"^RssAnon:\s+(\d+) kB$", self._status.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def look(self) -> None:
        self.most = max(self.most, self.now())

    @property
    def grown(self) -> int:
        return self.most - self.before


@contextmanager
def watched(nodes: list[Node]) -> Iterator[list[Peak]]:
    """Look at the nodes' memory a hundred times a second."""
    peaks = [Peak(node) for node in nodes]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for peak in peaks:
                peak.look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peaks
    finally:
        done.set()
        watching.join()


def fill(group: Cluster, megabytes: int) -> None:
    leader = group.wait_leader()

    def write(numbers: range) -> None:
        client = Client(leader.api_port, group.root_token)
        for number in numbers:
            value = f"{number:08d}" * (VALUE_BYTES // 8)
            assert client.call("POST", f"secret/data/fill/{number}", {"data": {"x": value}})[0] == 200
        client.close()

    count = megabytes * 1_000_000 // VALUE_BYTES
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, (range(at, count, 4) for at in range(4))))


def save(node: Node, token: str, file: Path) -> None:
    """The archive into a file, chunk by chunk."""
    connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=600)
    connection.request("GET", "/v1/sys/storage/raft/snapshot", headers={"X-Vault-Token": token})
    answer = connection.getresponse()
    assert answer.status == 200
    with file.open("wb") as target:
        while chunk := answer.read(CHUNK):
            target.write(chunk)
    connection.close()


def restore(node: Node, token: str, file: Path) -> None:
    """The archive from a file, chunk by chunk."""
    connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=600)
    headers = {"X-Vault-Token": token, "Content-Length": str(file.stat().st_size)}
    with file.open("rb") as source:
        connection.request("POST", "/v1/sys/storage/raft/snapshot", source, headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
    connection.close()


@pytest.mark.parametrize(
    ("size", "megabytes", "grown_megabytes_max"),
    [
        pytest.param(3, 80, 48, id="80 MB on three nodes"),
        pytest.param(1, 1000, 64, id="1 GB on one node", marks=pytest.mark.slow),
    ],
)
def test_memory_is_bounded(tmp_path: Path, size: int, megabytes: int, grown_megabytes_max: int) -> None:
    """On no node does saving and restoring add more than this to what it had, however much is in the store."""
    with cluster(tmp_path, size) as group:
        token = group.root_token
        fill(group, megabytes)
        group.wait_applied()
        leader = group.wait_leader()
        file = tmp_path / "backup.snap"
        with watched(group.nodes) as peaks:
            save(leader, token, file)
            saved = [peak.grown >> 20 for peak in peaks]
            restore(leader, token, file)
            group.wait_applied()
        assert file.stat().st_size > megabytes * 1_000_000 * 0.95
        grown = [peak.grown >> 20 for peak in peaks]
        print(f"{megabytes} MB: grown by {saved} MiB for the save, {grown} MiB with the restore; leader {leader.name}")
        assert max(grown) <= grown_megabytes_max
        read = leader.call("GET", "secret/data/fill/7", token=token)
        assert read.json["data"]["data"]["x"].startswith("00000007")
