"""Automatic snapshots of real processes: whoever leads takes them, and no fault leaves a broken one behind."""

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.cli.snapshot_file import check_complete
from tests.object_store import KEY_ID, REGION, SECRET, ObjectStore, object_store
from tests.processes.cluster import PROGRAM, ROOT, Cluster, Node, clean_environment, wait_until
from tests.processes.conftest import SnapshotNodes
from tests.processes.small_disk import fill, small_disk

pytestmark = pytest.mark.processes

BASE = "sys/storage/raft/snapshot-auto"


@pytest.fixture
def three(snapshot_nodes: SnapshotNodes) -> Cluster:
    return snapshot_nodes.cluster


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


def configure(three: Cluster, name: str, folder: Path, **changes: object) -> None:
    config: dict[str, object] = {
        "interval": "1h",
        "path_prefix": str(folder),
        "storage_type": "local",
        "local_max_space": 1 << 30,
    }
    reply = three.call("POST", f"{BASE}/config/{name}", {**config, **changes})
    assert reply.status == 204, reply.body


def status(three: Cluster, name: str) -> dict[str, Any]:
    """The status, also while leadership changes."""

    def asked() -> dict[str, Any] | None:
        with contextlib.suppress(OSError):
            reply = three.call("GET", f"{BASE}/status/{name}")
            if reply.status == 200:
                data: dict[str, Any] = reply.json["data"]
                return data
        return None

    found: dict[str, Any] = wait_until(asked, "the status is told")
    return found


def delete(three: Cluster, name: str) -> None:
    assert three.call("DELETE", f"{BASE}/config/{name}").status == 204


def complete(folder: Path) -> list[str]:
    """The names of the snapshots in a folder, the oldest first."""
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".snap")


def inspect(file: Path) -> str:
    """What `operator raft snapshot inspect` says of a file. Fails unless it is whole."""
    done = subprocess.run(
        [*PROGRAM, "operator", "raft", "snapshot", "inspect", str(file)],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def revive(three: Cluster, node: Node) -> None:
    node.start()
    wait_until(lambda: node.call("GET", "sys/health").status in (200, 429), f"{node.name} serves again")
    three.wait_applied()


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_the_schedule_survives_its_leader(three: Cluster, tmp_path: Path, kills: int) -> None:
    """SIGKILL while a file is written: whatever has a final name is whole, and the next leader goes on in time.

    It takes no other one before its time, a standby never takes any, and what was left over is cleared away.
    """
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    configure(three, "seldom", seldom)
    configure(three, "often", often, interval="1s", retain=2)
    wait_until(lambda: status(three, "seldom")["last_snapshot_end"], "the first is taken")
    first = status(three, "seldom")
    wait_until(lambda: often.is_dir() and complete(often), "some are taken")
    leader = three.wait_leader()
    for node in three.nodes:
        assert (f"/often/{complete(often)[0]}" in node.log) == (node is leader), node.name
    for _ in range(kills):
        leader = three.wait_leader()
        wait_until(partial(begun, often), "one is being written")
        leader.kill()
        before = complete(often)
        for name in before:
            check_complete(often / name)
        wait_until(partial(has_others, often, before), "the next leader takes one")
        revive(three, leader)
    assert status(three, "seldom") == first
    assert len(complete(seldom)) == 1
    assert "core/keyring" in inspect(seldom / complete(seldom)[0])
    wait_until(lambda: status(three, "often")["consecutive_errors"] == 0, "it goes well again")
    delete(three, "often")
    delete(three, "seldom")
    # Each node clears away its own, so only those of nodes that have not led since may be there.
    leader = three.wait_leader()
    wait_until(lambda: not list(often.glob(f".*.{leader.name}.partial")), "the leader has cleared away its own")
    for name in complete(often):
        check_complete(often / name)


def begun(folder: Path) -> bool:
    """Whether a snapshot is being written."""
    return any(folder.glob(".*.partial"))


def has_others(folder: Path, before: list[str]) -> bool:
    """Whether the snapshots in a folder are others than before."""
    return complete(folder) != before


def test_a_snapshot_can_be_restored(three: Cluster, tmp_path: Path) -> None:
    """What was taken by itself is as good as what an operator saves."""
    assert three.call("POST", "secret/data/which", {"data": {"x": "old"}}).status == 200
    configure(three, "restored", tmp_path / "backup")
    url = wait_until(lambda: status(three, "restored")["last_snapshot_url"], "it is taken")
    assert three.call("POST", "secret/data/which", {"data": {"x": "new"}}).status == 200
    archive = Path(url.removeprefix("file://")).read_bytes()
    assert three.call("POST", "sys/storage/raft/snapshot", archive).status == 204
    for node in three.nodes:
        assert node.call("GET", "secret/data/which", token=three.root_token).json["data"]["data"] == {"x": "old"}
    # The restored store knows the configuration, and of its snapshot only that it had been begun.
    wait_until(lambda: status(three, "restored")["consecutive_errors"] == 1, "the new time has begun")
    delete(three, "restored")


def test_a_bucket(three: Cluster, store: ObjectStore, tmp_path: Path) -> None:
    """To S3; the keys are in no log, no answer and no file in clear."""
    bucket = store.bucket("snapshots")
    config = {
        "interval": "1s",
        "retain": 2,
        "path_prefix": "cluster/",
        "storage_type": "aws-s3",
        "aws_s3_bucket": bucket,
        "aws_s3_region": REGION,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_s3_endpoint": store.endpoint,
        "aws_s3_disable_tls": True,
        "aws_s3_force_path_style": True,
    }
    assert three.call("POST", f"{BASE}/config/s3", config).status == 204
    wait_until(lambda: len(store.keys(bucket)) == 2, "two are kept")
    read = three.call("GET", f"{BASE}/config/s3")
    assert SECRET.encode() not in read.body
    delete(three, "s3")
    wait_until(lambda: not store.uploads(bucket), "nothing is being uploaded")
    key = store.keys(bucket)[-1]
    file = tmp_path / "downloaded.snap"
    file.write_bytes(store.read(bucket, key))
    check_complete(file)
    for node in three.nodes:
        assert SECRET not in node.log and "Traceback" not in node.log
        for folder, _, files in os.walk(node.data):
            for each in files:
                assert SECRET.encode() not in (Path(folder) / each).read_bytes(), each


def block(name: str) -> str:
    """A block of commands of the page, by the word behind its "sh"."""
    page = (ROOT / "docs" / "operations" / "snapshots.md").read_text()
    found = re.search(rf"^```sh {name}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_documented_commands(three: Cluster, store: ObjectStore, tmp_path: Path) -> None:
    """docs/operations/snapshots.md: what it says to type works, with another folder, endpoint and key."""
    store.bucket("strongroom-backups")
    (tmp_path / "secret-access-key").write_text(SECRET)
    places = {
        "/var/backups/strongroom": str(tmp_path / "backup"),
        "https://storage.example.com:9000": f"http://{store.endpoint}",
    }
    node = three.wait_leader()
    environment = {**clean_environment(), "VAULT_ADDR": node.address, "VAULT_TOKEN": three.root_token}

    def run(name: str) -> str:
        commands = block(name)
        for shown, used in places.items():
            commands = commands.replace(shown, used)
        program = f'strongroom() {{ {shlex.join(PROGRAM)} "$@"; }}\n'
        done = subprocess.run(
            ["/bin/bash", "-euc", program + commands],
            env={**environment, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("local")
    run("bucket")
    wait_until(lambda: status(three, "daily")["last_snapshot_url"], "one is in the folder")
    wait_until(lambda: status(three, "offsite")["last_snapshot_url"], "one is in the bucket")
    shown = run("look")
    assert "daily" in shown and "offsite" in shown
    assert str(tmp_path / "backup" / complete(tmp_path / "backup")[0]) in shown
    assert [key.startswith("production/vault-snapshot-") for key in store.keys("strongroom-backups")] == [True]
    assert SECRET not in three.call("GET", f"{BASE}/config/offsite").body.decode()
    delete(three, "daily")
    delete(three, "offsite")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    yield from small_disk(tmp_path / "disk", 24)


def test_a_full_disk(three: Cluster, disk: Path) -> None:
    """The status says so, the older snapshot stays, nothing half is left, and with room again it goes on."""
    folder = disk / "backup"
    configure(three, "full", folder, interval="1s")
    wait_until(lambda: status(three, "full")["last_snapshot_url"], "the first is taken")
    ballast = fill(disk, leave=1_000_000)
    wait_until(lambda: status(three, "full")["consecutive_errors"], "the next fails")
    told = status(three, "full")
    assert "No space left on device" in told["last_snapshot_error"]
    kept = complete(folder)
    assert len(kept) == 1 and told["last_snapshot_url"].endswith(kept[0])
    check_complete(folder / kept[0])
    assert list(folder.glob(".*")) == []
    assert three.call("POST", "secret/data/then", {"data": {"x": 1}}).status == 200
    ballast.unlink()
    wait_until(lambda: status(three, "full")["consecutive_errors"] == 0, "it goes on by itself", 90)
    delete(three, "full")
