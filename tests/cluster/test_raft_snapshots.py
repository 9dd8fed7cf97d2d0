"""Compaction, and followers that need the whole state (point 8 of Raft around PySyncObj), on virtual time."""

import asyncio
from pathlib import Path

from cluster.snapshot import SnapshotReader
from cluster.store import Put
from tests.cluster.simulation import Cluster, Node, run, scenario


def small(path: Path, body: object) -> None:
    """Run body on a cluster that keeps a short log."""

    async def play() -> None:
        cluster = Cluster(path, trailing_logs=20)
        try:
            await body(cluster)  # type: ignore[operator]
            assert not any(node.failures for node in cluster.nodes.values())
        finally:
            cluster.close()
            await asyncio.sleep(0)

    run(play())


async def fill(leader: Node, count: int, size: int = 100) -> None:
    for number in range(count):
        await leader.store.commit([Put(f"fill/{number}", b"%d" % number * size)])


def test_a_follower_far_behind_gets_a_snapshot(tmp_path: Path) -> None:
    """It ends with the same content and the same peers, survives a restart, and can lead."""

    async def body(cluster: Cluster) -> None:
        leader = await cluster.form(3)
        behind = cluster.node("n3")
        behind.crash()
        await fill(leader, 300, size=2000)
        leader.store._state.flush_now()
        await fill(leader, 50)
        assert len(leader.engine.log) < 60
        await behind.start()
        await cluster.same_everywhere()
        chunks = [message for *_, message in cluster.network.sent if message["type"] == "snapshot_chunk"]
        assert len(chunks) > 2
        assert max(len(chunk["data"]) for chunk in chunks) <= 512 * 1024
        assert len(behind.store.peers()) == 3
        behind.crash()
        await behind.start()
        await cluster.same_everywhere()
        await cluster.until(lambda: behind.store.leader_id == "n1")
        await leader.store.transfer_leadership("n3")
        await cluster.until(lambda: behind.store.is_ready_leader)
        await behind.store.commit([Put("last", b"1")])
        await cluster.same_everywhere()

    small(tmp_path, body)


def test_a_stream_goes_on_after_a_lost_link(tmp_path: Path) -> None:
    """What was received is not sent again, and the leader keeps its lease meanwhile."""

    async def body(cluster: Cluster) -> None:
        leader = await cluster.form(3)
        behind = cluster.node("n3")
        behind.crash()
        await fill(leader, 200, size=10000)
        leader.store._state.flush_now()
        await fill(leader, 50)
        cluster.network.sent.clear()
        cut_at = 3

        def chunks() -> list[int]:
            return [m["offset"] for *_, m in cluster.network.sent if m["type"] == "snapshot_chunk"]

        await behind.start()
        await cluster.until(lambda: len(chunks()) >= cut_at)
        cluster.network.partition({"n1", "n2"})
        await asyncio.sleep(3)
        leader.store.require_lease()
        cluster.network.heal()
        await cluster.same_everywhere()
        assert chunks().count(0) == 1
        assert len(chunks()) - len(set(chunks())) <= 1

    small(tmp_path, body)


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    """A chunk that was altered on the way is found before it touches the state, and the stream begins again."""

    async def body(cluster: Cluster) -> None:
        leader = await cluster.form(3)
        behind = cluster.node("n3")
        behind.crash()
        await fill(leader, 300, size=2000)
        leader.store._state.flush_now()
        await fill(leader, 50)
        damaged: list[bool] = []

        def damage(source: str, target: str, message: dict[str, object]) -> bool:
            if message["type"] == "snapshot_chunk" and message["offset"] and not damaged:
                message["data"] = b"\x00" * len(message["data"])  # type: ignore[arg-type]
                damaged.append(True)
            return False

        cluster.network.drop = damage
        await behind.start()
        await cluster.same_everywhere()
        assert damaged

    small(tmp_path, body)


def test_a_view_that_was_interrupted_is_replaced(tmp_path: Path) -> None:
    """The database may have to be mapped anew while a stream is read: another stream follows."""

    async def body(cluster: Cluster) -> None:
        leader = await cluster.form(3)
        behind = cluster.node("n3")
        behind.crash()
        await fill(leader, 300, size=2000)
        leader.store._state.flush_now()
        await fill(leader, 50)
        interrupted: list[SnapshotReader] = []

        def interrupt(source: str, target: str, message: dict[str, object]) -> bool:
            if message["type"] == "snapshot_chunk" and not interrupted:
                for reader in list(leader.store._state._views):
                    assert isinstance(reader, SnapshotReader)
                    reader.close()
                    interrupted.append(reader)
            return False

        cluster.network.drop = interrupt
        await behind.start()
        await cluster.same_everywhere()
        streams = {m["snapshot_id"] for *_, m in cluster.network.sent if m["type"] == "snapshot_chunk"}
        assert len(streams) == 2

    small(tmp_path, body)


def test_the_log_keeps_what_only_memory_holds(tmp_path: Path) -> None:
    """Entries that LMDB has not taken stay in the log, however many; a crash loses none of them."""

    async def body(cluster: Cluster) -> None:
        node = await cluster.form(1)
        await fill(node, 200)
        assert node.store._state.durable_index < 20
        node.crash()
        await node.start()
        await cluster.leader()
        assert len(node.store.list("fill/")) == 200

    small(tmp_path, body)


@scenario
async def test_the_state_may_outlive_the_log(cluster: Cluster) -> None:
    """A crash may keep applied entries and lose the log's unsynced end: the node starts, and follows."""
    await cluster.form(3)
    follower = cluster.node("n3")
    leader = await cluster.leader()
    await fill(leader, 20)
    await cluster.same_everywhere()
    follower.store._state.flush_now()
    follower.store._journal.deleteEntriesFrom(3)
    follower.store._journal.sync_now()
    follower.crash()
    follower.open()
    assert follower.store.applied_index == leader.store.applied_index
    await follower.start()
    await fill(leader, 5)
    await cluster.same_everywhere()


@scenario
async def test_a_restart_applies_only_what_the_state_has_not_seen(cluster: Cluster) -> None:
    """Replay begins behind what LMDB holds."""
    node = await cluster.form(1)
    await fill(node, 50)
    node.store._state.flush_now()
    await node.store.commit([Put("last", b"1")])
    seen = node.store._state.durable_index
    node.crash()
    node.open()
    applied: list[int] = []
    apply_entry = node.store._machine.apply_entry
    node.store._machine.apply_entry = lambda *entry: (applied.append(entry[0]), apply_entry(*entry))[1]  # type: ignore
    await node.start()
    await cluster.leader()
    assert applied == [seen + 1]
    assert node.store.get("last") is not None
