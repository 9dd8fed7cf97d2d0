"""Each meter of replication moves when what it counts happens: three simulated nodes, on virtual time."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from cluster.meters import Counter, Spread
from cluster.raft_meters import RaftMeters
from cluster.raft_store import RaftStore
from cluster.store import Delete, Put
from tests.cluster.simulation import Cluster, Node, run
from tests.cluster.test_raft_snapshots import fill
from tests.cluster.test_restore import staged

Values = Mapping[str, float]

# What happens, and what of it is counted on which node. "leader" is n1, as is "deposed" once it was cut off.
MOVES: Final[Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "a cluster forms": (
        (
            "leader",
            (
                "raft.state.follower",
                "raft.state.candidate",
                "raft.state.leader",
                "raft.candidate.electSelf",
                "raft.barrier",
                "raft.fsm.store_config",
                "raft.peers",
                "raft.commitNumLogs",
                "raft.leader.dispatchNumLogs",
            ),
        ),
    ),
    "writes and reads": (
        (
            "leader",
            (
                "raft.apply",
                "raft.commitTime",
                "raft.leader.dispatchLog",
                "raft.leader.lastContact",
                "raft.get",
                "raft.put",
                "raft.list",
                "raft.delete",
                "raft.delete_prefix",
                "raft-storage.get",
                "raft-storage.put",
                "raft-storage.list",
                "raft-storage.delete",
                "raft-storage.transaction",
                "raft-storage.entry_size",
                "raft.fsm.apply",
                "raft.fsm.applyBatch",
                "raft.fsm.applyBatchNum",
                "raft.fsm.enqueue",
                "raft.verify_leader",
                "raft.replication.appendEntries.log",
                "raft.replication.appendEntries.rpc",
                "raft.replication.heartbeat",
                "raft_storage.stats.applied_index",
                "raft_storage.stats.commit_index",
                "raft_storage.follower.last_heartbeat_ms",
            ),
        ),
        (
            "n2",
            (
                "raft.rpc.appendEntries",
                "raft.rpc.appendEntries.processLogs",
                "raft.rpc.appendEntries.storeLogs",
                "raft.rpc.processHeartbeat",
            ),
        ),
    ),
    "the state is written, and the log compacted": (
        ("leader", ("raft.snapshot.create", "raft.snapshot.persist", "raft.snapshot.takeSnapshot", "raft.compactLogs")),
        ("leader", ("raft_storage.follower.connection_status",)),
    ),
    "a follower comes back far behind": (
        ("leader", ("raft_storage.follower.applied_index_delta", "raft.fsm.snapshot")),
        ("leader", ("raft.replication.installSnapshot",)),
        ("n3", ("raft.rpc.installSnapshot", "raft.fsm.restore")),
    ),
    "a snapshot is restored": (("leader", ("raft.restore", "raft.restoreUserSnapshot")),),
    "more is committed than applied": (("n2", ("raft_storage.stats.fsm_pending",)),),
    "the leader is cut off": (
        ("deposed", ("raft.transition.leader_lease_timeout",)),
        ("n2 or n3", ("raft.transition.heartbeat_timeout", "raft.rpc.requestVote")),
    ),
}


def values_of(node: Node) -> Values:
    """What the meters of a node stand at: counts of summaries, sums over labels."""
    found: dict[str, float] = {}
    for name, family in node.store.meters.registry.families.items():
        if family.read is not None:
            # The value itself: a gauge moves when it differs.
            found[name] = hash(tuple(sorted(family.read().items())))
            continue
        for meter in family.children.values():
            if isinstance(meter, Spread):
                meter.collect()
                found[name] = found.get(name, 0) + meter.count
            elif isinstance(meter, Counter):
                found[name] = found.get(name, 0) + meter.value
    return found


def together(one: Node, other: Node) -> Values:
    """Of two nodes: either may be the one that finds out first."""
    more = values_of(other)
    return {name: value + more[name] for name, value in values_of(one).items()}


async def story(cluster: Cluster, told: Callable[[str, str, Values], None]) -> None:
    """Everything that MOVES names; `told` hears what the meters of a node stand at before and after."""

    def tell(what: str, **nodes: Node) -> None:
        for name, node in nodes.items():
            told(what, name, values_of(node))

    first = cluster.node("n1")
    first.open()
    tell("a cluster forms", leader=first)
    first.store.bootstrap("n1:8201")
    await first.start()
    await cluster.until(lambda: first.store.is_ready_leader)
    for name in ("n2", "n3"):
        await cluster.join(name)
    tell("a cluster forms", leader=first)

    n2, n3 = cluster.node("n2"), cluster.node("n3")
    tell("writes and reads", leader=first, n2=n2)
    await fill(first, 5)
    first.store.get("fill/1")
    first.store.list("")
    first.store.require_lease()
    await first.store.commit([Put("a", b"1"), Put("b", b"2"), Put("c", b"3")])
    await first.store.commit([Delete("a")])
    await first.store.commit([Delete("b"), Delete("c")])
    await asyncio.sleep(1)
    tell("writes and reads", leader=first, n2=n2)

    what = "the state is written, and the log compacted"
    tell(what, leader=first)
    n3.crash()
    await fill(first, 100)
    first.store._state.flush_now()
    await fill(first, 50)
    tell(what, leader=first)

    what = "a follower comes back far behind"
    tell(what, leader=first)
    await n3.start()
    tell(what, n3=n3)
    await cluster.same_everywhere()
    tell(what, leader=first, n3=n3)

    what = "a snapshot is restored"
    name = await staged(cluster, first, {"n1", "n2", "n3"})
    tell(what, leader=first)
    await first.store.restore(name)
    tell(what, leader=first)
    await cluster.same_everywhere()

    what = "more is committed than applied"
    tell(what, n2=n2)
    with patch.object(RaftStore, "commit_index", n2.store.applied_index + 3):  # it lasts for less than a turn
        tell(what, n2=n2)

    what = "the leader is cut off"
    tell(what, deposed=first)
    told(what, "n2 or n3", together(n2, n3))
    cluster.network.partition({"n1"}, {"n2", "n3"})
    await cluster.leader({"n2", "n3"}, within_s=60)
    await cluster.until(lambda: not first.store.is_ready_leader)
    cluster.network.heal()
    await cluster.until(lambda: len(cluster.leaders()) == 1)
    tell(what, deposed=first)
    told(what, "n2 or n3", together(n2, n3))


@lru_cache(1)
def moved() -> Mapping[tuple[str, str], frozenset[str]]:
    """The meters that stood elsewhere afterwards, by what happened and on which node."""
    before: dict[tuple[str, str], Values] = {}
    found: dict[tuple[str, str], frozenset[str]] = {}

    def told(what: str, node: str, values: Values) -> None:
        earlier = before.setdefault((what, node), values)
        if earlier is not values:
            found[what, node] = frozenset(name for name, value in values.items() if value != earlier.get(name, 0))

    with tempfile.TemporaryDirectory() as folder:

        async def play() -> None:
            cluster = Cluster(Path(folder), trailing_logs=20)
            try:
                await story(cluster, told)
            finally:
                cluster.close()
                await asyncio.sleep(0)

        run(play())
    return found


def rows() -> Iterator[tuple[str, str, str]]:
    for what, nodes in MOVES.items():
        for node, names in nodes:
            yield from ((what, node, name) for name in names)


@pytest.mark.parametrize(("what", "node", "name"), list(rows()))
def test_each_meter_moves(what: str, node: str, name: str) -> None:
    """What happened on the node has moved its meter."""
    assert name in moved()[what, node]


def test_every_meter_is_in_the_table() -> None:
    """None is defined that nothing moves. Gauges are the store's, and RaftMeters does not have them yet."""
    defined = set(RaftMeters().registry.families)
    named = {name for *_, name in rows()}
    assert defined <= named
