"""Points 1 to 3, 5 and 6 around PySyncObj: durable before acknowledged, no truncation, stale answers, outcomes."""

import asyncio
from collections.abc import Callable

import pytest

from cluster.errors import Conflict, EntryTooLarge, NoLeader, OutcomeUnknown
from cluster.store import Check, Delete, Put
from tests.cluster.simulation import Cluster, Node, has_lease, scenario


def stick(*nodes: Node) -> None:
    """From now on these nodes' journals write nothing."""
    for node in nodes:
        node.sync_delay_s = lambda: 0.001
        node.disk_is_stuck = True


def release(*nodes: Node) -> None:
    for node in nodes:
        node.disk_is_stuck = False
        node.sync_delay_s = lambda: 0.0


def others(cluster: Cluster, leader: Node) -> list[Node]:
    return [node for node in cluster.nodes.values() if node is not leader]


@scenario
async def test_followers_acknowledge_what_is_durable(cluster: Cluster) -> None:
    """While no follower's disk has taken it, a write is not acknowledged; heartbeats and the lease go on."""
    leader = await cluster.form(3)
    stick(*others(cluster, leader))
    write = asyncio.ensure_future(leader.store.commit([Put("a", b"1")]))
    for _ in range(40):
        await asyncio.sleep(0.1)
        assert not write.done()
        assert has_lease(leader)
    release(*others(cluster, leader))
    await write


@scenario
async def test_the_leader_counts_its_own_copy_once_durable(cluster: Cluster) -> None:
    """While the leader's disk has not taken it and one follower is away, a write is not on a majority."""
    leader = await cluster.form(3)
    third = others(cluster, leader)[1]
    third.crash()
    stick(leader)
    write = asyncio.ensure_future(leader.store.commit([Put("a", b"1")]))
    await asyncio.sleep(3)
    assert not write.done()
    assert has_lease(leader)
    release(leader)
    await write


@scenario
async def test_one_node_alone_commits_what_is_durable(cluster: Cluster) -> None:
    """PySyncObj would commit a single node's entry at the next tick."""
    leader = await cluster.form(1)
    stick(leader)
    write = asyncio.ensure_future(leader.store.commit([Put("a", b"1")]))
    await asyncio.sleep(3)
    assert not write.done()
    assert leader.store.get("a") is None
    release(leader)
    await write


@scenario
async def test_all_nodes_lose_power(cluster: Cluster) -> None:
    """Every node loses what it had not synced, at once; what was acknowledged is there."""
    await cluster.form(3)
    for node in cluster.nodes.values():
        node.sync_delay_s = lambda: cluster.rng.uniform(0.0001, 0.02)
    done = []
    for round_ in range(3):
        leader = await cluster.leader()
        writes = []
        for number in range(30):
            writes.append(asyncio.ensure_future(leader.store.commit([Put(f"{round_}/{number}", b"v" * number)])))
            await asyncio.sleep(0.003)
        done += [f"{round_}/{number}" for number, write in enumerate(writes) if write.done() and not write.exception()]
        for node in cluster.nodes.values():
            node.crash()
        await asyncio.gather(*writes, return_exceptions=True)
        for node in cluster.nodes.values():
            await node.start()
        leader = await cluster.leader()
        assert done
        assert all(leader.store.get(key) is not None for key in done)
    await cluster.same_everywhere()


def noting(cuts: list[str], cut: Callable[[int], None]) -> Callable[[int], None]:
    """The same cut of a log, noted."""

    def noted(index: int) -> None:
        cuts.append("cut")
        cut(index)

    return noted


@scenario
async def test_pipelining_truncates_nothing(cluster: Cluster) -> None:
    """With many entries on their way and messages arriving twice, no log is cut, and no entry is sent twice."""
    leader = await cluster.form(3)
    cuts: list[str] = []
    for node in cluster.nodes.values():
        journal = node.store._journal
        journal.deleteEntriesFrom = noting(cuts, journal.deleteEntriesFrom)  # type: ignore[method-assign,assignment]
        node.sync_delay_s = lambda: cluster.rng.uniform(0.0, 0.004)
    cluster.network.duplicate_share = 0.5
    cluster.network.sent.clear()
    before = leader.engine.last_index
    for number in range(300):
        leader.propose(b"\x01\x90")  # an entry of no sets
        if number % 3 == 0:
            await asyncio.sleep(0.0007)
    await cluster.same_everywhere()
    assert leader.engine.last_index == before + 300
    assert not cuts
    carried = sum(len(message.get("entries", ())) for _, _, message in cluster.network.sent)
    assert carried == 300 * 2


@scenario
async def test_lost_messages_are_sent_again(cluster: Cluster) -> None:
    """A follower that misses a message on a connection that lives says so, and gets it."""
    leader = await cluster.form(3)
    cluster.network.drop = lambda source, target, message: (
        message["type"] == "append_entries" and bool(message["entries"]) and cluster.rng.random() < 0.4
    )
    for number in range(30):
        await leader.store.commit([Put(f"k/{number}", b"v")])
    await cluster.same_everywhere()


@scenario
async def test_an_answer_of_another_term_is_dropped(cluster: Cluster) -> None:
    """An acknowledgement that was under way since an earlier term must not count for this one."""
    leader = await cluster.form(3)
    second, _ = others(cluster, leader)
    cluster.network.partition({leader.node_id})
    leader.propose(b"\x01\x90")
    await asyncio.sleep(0.05)
    stale = {"type": "append_ack", "term": leader.store.term - 1, "next_index": leader.engine.last_index + 1}
    stale |= {"success": True, "reset": False, "sent_at": leader.clock.now_ns()}
    before = leader.engine.commit_index
    leader.member._links.on_message(second.node_id, stale)
    await asyncio.sleep(0.05)
    assert leader.engine.match_index(second.node_id) < leader.engine.last_index
    assert leader.engine.commit_index == before
    leader.member._links.on_message(second.node_id, stale | {"term": leader.store.term})
    await asyncio.sleep(0.05)
    assert leader.engine.commit_index == leader.engine.last_index  # the same answer, of this term, does count


@scenario
async def test_an_entry_that_says_nothing_stops_nothing(cluster: Cluster) -> None:
    """An undecodable entry has no effect on any node, and what is behind it is applied."""
    leader = await cluster.form(3)
    leader.propose(b"\x01\xc1 nonsense")
    await leader.store.commit([Put("a", b"1")])
    await cluster.same_everywhere()
    assert cluster.node("n3").stored("a").value == b"1"


@scenario
async def test_a_write_on_a_changed_key_is_refused(cluster: Cluster) -> None:
    """seen_index decides at apply, per set: a conflict neither writes nor disturbs the sets it travels with."""
    leader = await cluster.form(3)
    seen = await leader.store.commit([Put("a", b"1")])
    results = await asyncio.gather(
        leader.store.commit([Put("a", b"2", seen_index=seen), Put("b", b"2")]),
        leader.store.commit([Put("a", b"3", seen_index=seen), Put("c", b"3")]),
        leader.store.commit([Check("nothing", 0), Delete("b")]),
        return_exceptions=True,
    )
    assert isinstance(results[1], Conflict)
    assert results[1].key == "a"
    assert leader.stored("a").value == b"2"
    assert leader.store.get("b") is None
    assert leader.store.get("c") is None


@scenario
async def test_a_set_over_the_bound_is_refused(cluster: Cluster) -> None:
    """A set over max_entry_size is an error of the writer; several smaller ones are split over entries."""
    leader = await cluster.form(1)
    with pytest.raises(EntryTooLarge):
        await leader.store.commit([Put("a", b"x" * (1 << 20))])
    await asyncio.gather(*(leader.store.commit([Put(f"k/{number}", b"x" * 300_000)]) for number in range(10)))
    assert len(leader.store.list("k/")) == 10


@scenario
async def test_outcomes_of_a_cut_off_leader(cluster: Cluster) -> None:
    """What was sent may still happen, and the writer is told so; what only gathered never happens."""
    leader = await cluster.form(3)
    cluster.network.partition(set(cluster.nodes) - {leader.node_id})
    sent = asyncio.ensure_future(leader.store.commit([Put("sent", b"1")]))
    await asyncio.sleep(0.01)
    also_sent = asyncio.ensure_future(leader.store.commit([Put("sent", b"2")]))
    await asyncio.sleep(0.01)
    gathered = asyncio.ensure_future(leader.store.commit([Put("gathered", b"1")]))
    successor = await cluster.leader(among=set(cluster.nodes) - {leader.node_id})
    await successor.store.commit([Put("other", b"1")])
    with pytest.raises(NoLeader):
        await gathered
    for write in (sent, also_sent):
        with pytest.raises(OutcomeUnknown):
            await write
    with pytest.raises(NoLeader):
        await leader.store.commit([Put("late", b"1")])
    cluster.network.heal()
    await cluster.same_everywhere()
    assert leader.store.list("") == ["other"]


@scenario
async def test_an_overwritten_entry_never_happened(cluster: Cluster) -> None:
    """A writer who still waits when the next leader's entry takes the place is told that nothing was written."""
    leader = await cluster.form(3)
    cluster.network.partition(set(cluster.nodes) - {leader.node_id})
    sent = asyncio.ensure_future(leader.store.commit([Put("sent", b"1")]))
    await cluster.leader(among=set(cluster.nodes) - {leader.node_id})
    cluster.network.heal()
    with pytest.raises(NoLeader):
        await sent


@scenario
async def test_a_disk_that_fails_stops_its_node_alone(cluster: Cluster) -> None:
    """The node says so once and takes part no more; the others go on, and know what was acknowledged."""
    leader = await cluster.form(3)
    await leader.store.commit([Put("a", b"1")])
    write = asyncio.ensure_future(leader.store.commit([Put("b", b"1")]))
    await asyncio.sleep(0)
    leader.store._journal._fail(OSError(28, "No space left on device"))
    with pytest.raises((OutcomeUnknown, NoLeader)):
        await write
    successor = await cluster.leader(among={node.node_id for node in others(cluster, leader)})
    assert successor.store.get("a") is not None
    assert len(leader.failures) == 1
    with pytest.raises(NoLeader):
        await leader.store.commit([Put("c", b"1")])
    leader.crash()
    leader.failures.clear()
    await leader.start()
    await cluster.same_everywhere()
