"""Restores on virtual time: whatever crashes and whoever leads, all nodes end with the old state or with the new."""

import asyncio
import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.disk import RealDisk
from cluster.errors import ClusterError, Conflict, NoLeader, SnapshotDamaged, SnapshotRefused
from cluster.restore import StagedRestores, encode_restore, name_of, restored_name
from cluster.snapshot import encoded
from cluster.state import State
from cluster.store import Put, Stored
from cluster.table import Meta
from tests.cluster.simulation import Cluster, Node, run, scenario

ROWS = [(f"new/{number:03}".encode(), b"%d" % number) for number in range(100)]


def stream_at(folder: Path, index: int) -> tuple[str, Path]:
    """A stream of ROWS as written at this index, and its name."""
    content = b"".join(encoded(Meta(), ((key, index, value) for key, value in ROWS)))
    path = folder / f"stream-{index}"
    path.write_bytes(content)
    return name_of(index, hashlib.sha256(content).hexdigest()), path


async def staged(cluster: Cluster, leader: Node, on: set[str]) -> str:
    index = await leader.store.reserve_index()
    name, path = stream_at(cluster.path, index)
    for node_id in on:
        await cluster.node(node_id).store.stage_restore(name, path)
    return name


def is_new(node: Node) -> bool:
    keys = [key.encode() for key, _ in node.store.scan("new/")]
    assert keys in ([], [key for key, _ in ROWS])
    if keys:
        assert node.store.get("old") is None
    return bool(keys)


@scenario
async def test_all_nodes_change_at_one_entry(cluster: Cluster) -> None:
    """The content is the snapshot's, written at the reserved index; the peers are the cluster's own; it goes on."""
    leader = await cluster.form(3)
    await leader.store.commit([Put("old", b"1")])
    name = await staged(cluster, leader, {"n1", "n2", "n3"})
    heard: list[int] = []
    cluster.node("n2").store.watch(lambda keys: heard.append(len(keys)))
    await leader.store.restore(name)
    await leader.store.commit([Put("then", b"2")])
    await cluster.same_everywhere()
    assert heard == [0, 1], "caches are told that anything may have changed"
    for node in cluster.nodes.values():
        assert is_new(node)
        assert node.store.get("new/007") == Stored(b"7", int(name.partition("-")[0]))
        assert len(node.store.peers()) == 3
        assert [path.name for path in node.store._folder.path.glob("vault.db*")] == ["vault.db"]
    sent = {message["type"] for *_, message in cluster.network.sent}
    assert "snapshot_chunk" not in sent


@scenario
async def test_a_node_without_the_table_gets_the_state(cluster: Cluster) -> None:
    """Its log never holds the entry, and it has a stream of the restored state instead; so has one that was away."""
    leader = await cluster.form(4)
    cluster.node("n4").crash()
    name = await staged(cluster, leader, {"n1", "n2"})
    await leader.store.commit([Put("old", b"1")])
    restoring = asyncio.ensure_future(leader.store.restore(name))
    await asyncio.sleep(0.5)
    assert not restoring.done(), "two of four are no majority"
    log = cluster.node("n3").store._journal
    assert all(restored_name(command[1:]) is None for command, _, _ in log[:])
    await cluster.node("n3").store.stage_restore(name, cluster.path / f"stream-{name.partition('-')[0]}")
    await restoring
    await cluster.node("n4").start()
    await leader.store.commit([Put("then", b"2")])
    await cluster.same_everywhere()
    assert all(is_new(node) for node in cluster.nodes.values())
    assert any(message["type"] == "snapshot_chunk" for _, to, message in cluster.network.sent if to == "n4")


@scenario
async def test_a_write_planned_before_does_not_pass_after(cluster: Cluster) -> None:
    """No row of a restore has an index at which a reader has seen another value; gathered writes are refused."""
    leader = await cluster.form(1)
    await leader.store.commit([Put("new/001", b"before")])
    seen = leader.store.get("new/001")
    assert seen is not None
    name = await staged(cluster, leader, {"n1"})
    late = asyncio.ensure_future(leader.store.commit([Put("new/002", b"lost")]))
    await asyncio.sleep(0)
    restoring = asyncio.ensure_future(leader.store.restore(name))
    await asyncio.sleep(0)
    with pytest.raises(NoLeader):
        await leader.store.commit([Put("new/003", b"lost")])
    await restoring
    await asyncio.gather(late, return_exceptions=True)
    with pytest.raises(Conflict):
        await leader.store.commit([Put("new/001", b"after", seen.index)])
    assert [leader.store.get(f"new/00{n}").value for n in (1, 2, 3)] == [b"1", b"2", b"3"]  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(12))
def test_crashes_around_the_entry(tmp_path: Path, seed: int) -> None:
    """Nodes die at any moment of a restore: then all are the same, and a restore that was confirmed has happened."""

    async def play() -> None:
        cluster = Cluster(tmp_path, seed)
        rng = random.Random(seed)
        try:
            leader = await cluster.form(3)
            await leader.store.commit([Put("old", b"1")])
            name = await staged(cluster, leader, {"n1", "n2", *(["n3"] if seed % 2 else [])})
            restoring = asyncio.ensure_future(leader.store.restore(name))
            await asyncio.sleep(rng.uniform(0, 0.02))
            victims = rng.sample(sorted(cluster.nodes), 1 + seed % 3)
            for victim in victims:
                cluster.node(victim).crash()
            if leader.node_id in victims:
                restoring.cancel()
            confirmed = (await asyncio.gather(restoring, return_exceptions=True))[0] is None
            for victim in victims:
                await cluster.node(victim).start()
            await cluster.until(lambda: any(node.member.takes_writes for node in cluster.leaders()), within_s=60)
            await (await cluster.leader()).store.commit([Put("then", b"2")])
            await cluster.same_everywhere()
            outcomes = {is_new(node) for node in cluster.nodes.values()}
            assert len(outcomes) == 1
            assert outcomes == {True} or not confirmed
            assert not any(node.failures for node in cluster.nodes.values())
        finally:
            cluster.close()
            await asyncio.sleep(0)

    run(play())


def opened(folder: Path) -> State:
    folder.mkdir(exist_ok=True)
    return State(folder, lambda call: call(), threaded=False)


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 7))
def test_a_crash_between_the_steps_of_applying(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start has the old state and the staged table, so the log does it again, or has the new one whole."""
    folder = tmp_path / "data"
    state = opened(folder)
    state.set_peers(b"peers")
    state.apply(1, 1, [[Put("old", b"1")]])
    state.flush_now()
    state.local_put("name", b"local")
    name, path = stream_at(tmp_path, 1)
    staged = StagedRestores(folder)
    staged.stage(name, path)
    count = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def step_of(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise Crash
            return call(*args, **kwargs)

        return step_of

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        patch.setattr(RealDisk, "rename", counted(RealDisk.rename))
        patch.setattr(RealDisk, "sync_folder", counted(RealDisk.sync_folder))
        with pytest.raises(Crash):
            state.apply_restore(2, 1, staged.path(name))
    again = opened(folder)
    if again.applied_index == 1:
        assert again.list("") == ["old"]
        assert staged.holds(name)
        again.apply_restore(2, 1, staged.path(name))
    assert (again.applied_index, again.durable_index, again.peers()) == (2, 2, b"peers")
    assert len(list(again.scan(""))) == len(ROWS)
    assert again.local_get("name") == b"local"
    assert [path.name for path in folder.iterdir()] == ["vault.db"]
    again.close()


def test_staging_refuses_damage_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of what was refused, and what the log names outlives the others."""
    staged = StagedRestores(tmp_path)
    name, path = stream_at(tmp_path, 5)
    with pytest.raises(SnapshotDamaged):
        staged.stage(name_of(5, "0" * 64), path)
    with monkeypatch.context() as patch:
        patch.setattr("cluster.restore.DISK_RESERVE_BYTES", 1 << 62)
        with pytest.raises(SnapshotRefused, match="no room"):
            staged.stage(name, path)
    with monkeypatch.context() as patch:
        patch.setattr("cluster.restore.Table.load", _disk_full)
        with pytest.raises(SnapshotRefused, match="No space left"):
            staged.stage(name, path)
    assert list(tmp_path.iterdir()) == [path]
    staged.stage(name, path)
    staged.stage(name, path)
    other, other_path = stream_at(tmp_path, 6)
    staged.stage(other, other_path)
    staged.discard_old(keep=())
    assert staged.holds(name) and staged.holds(other)
    staged.discard(keep={other})
    assert not staged.holds(name) and staged.holds(other)


def _disk_full(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("body", [b"", b"\x01x", b"\x02", b"\x02../../etc", b"\x025-" + b"0" * 63, b"\x02\xff"])
def test_only_a_restore_is_one(body: bytes) -> None:
    """A name from the wire is never a path but of the one form there is."""
    assert restored_name(body) is None
    assert restored_name(encode_restore(name_of(5, "0" * 64))) == name_of(5, "0" * 64)


@scenario
async def test_only_the_leader_restores(cluster: Cluster) -> None:
    """Elsewhere, and without a staged table, nothing happens."""
    leader = await cluster.form(2)
    name = await staged(cluster, leader, {"n1", "n2"})
    with pytest.raises(ClusterError):
        await cluster.node("n2").store.restore(name)
    with pytest.raises(SnapshotRefused):
        await leader.store.restore(name_of(1, "0" * 64))
    assert not is_new(leader)
