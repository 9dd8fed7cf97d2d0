"""Faults that are told step by step, where a seed would meet them too rarely."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from cluster.errors import ClusterError, NoLeader
from cluster.pysyncobj_seams import Role
from cluster.store import Put
from tests.cluster.simulator.cluster import SimCluster
from tests.cluster.simulator.disk import PowerLoss
from tests.cluster.simulator.node import SimNode
from tests.cluster.simulator.plan import plan


def play(scenario: Callable[[SimCluster], Awaitable[None]], nodes: int = 3) -> None:
    """Run a scenario on a cluster to which nothing happens by itself."""
    quiet = replace(plan(1, 0.0, nodes), lossy=False, clock_rates=(1.0, 1.0), sync_s=(0.0, 0.0), garbage_share=0.0)
    quiet = replace(quiet, settings=replace(quiet.settings, trailing_logs=4), flush_s=0.2)
    cluster = SimCluster(quiet)

    async def run() -> None:
        await cluster.form()
        await scenario(cluster)

    try:
        cluster.loop.run(run())
    finally:
        cluster.loop.close()


async def led(cluster: SimCluster) -> SimNode:
    await cluster.until(lambda: cluster.leader() is not None, 60, "there is a leader")
    leader = cluster.leader()
    assert leader is not None
    return leader


def test_a_node_removed_while_it_was_down_learns_it() -> None:
    """No link leads to it any more; it is answered over its own, and disturbs nobody."""

    async def scenario(cluster: SimCluster) -> None:
        leader = await led(cluster)
        gone = cluster.nodes["n3"]
        gone.crash()
        await leader.store.remove_peer("n3")
        await asyncio.sleep(60)
        raft_term = leader.store.term
        gone.start()
        await cluster.until(lambda: gone.store.removed, 30, "it knows that it was removed")
        await asyncio.sleep(30)
        assert leader.store.term == raft_term and leader.leads

    play(scenario)


def test_a_node_back_from_a_partition_unseats_nobody() -> None:
    """Pre-vote: however long it was alone, the term is what it was."""

    async def scenario(cluster: SimCluster) -> None:
        leader = await led(cluster)
        raft_term = leader.store.term
        alone = cluster.nodes["n3"]
        cut = {pair for other in ("n1", "n2") for pair in (("n3", other), (other, "n3"))}
        cluster.network.set_cut(cut, reset=True)
        await asyncio.sleep(100)
        assert alone.store.leader_id is None and alone.store.term == raft_term
        cluster.network.set_cut(set(), reset=False)
        await cluster.until(lambda: alone.store.leader_id == leader.node_id, 30, "it follows again")
        await asyncio.sleep(30)
        assert leader.leads and leader.store.term == raft_term

    play(scenario)


@pytest.mark.parametrize("deaf", [True, False], ids=["hears nobody", "is heard by nobody"])
def test_a_leader_without_a_majority_steps_down(deaf: bool) -> None:
    """Check quorum, also where only one direction is cut; the others elect one of themselves."""

    async def scenario(cluster: SimCluster) -> None:
        leader = await led(cluster)
        others = [name for name in cluster.nodes if name != leader.node_id]
        cluster.network.set_cut(
            {(other, leader.node_id) if deaf else (leader.node_id, other) for other in others}, reset=False
        )
        await cluster.until(lambda: leader.store.role is not Role.LEADER, 10, "it steps down")
        await cluster.until(lambda: cluster.leader() not in (None, leader), 60, "another leads")

    play(scenario)


async def write(cluster: SimCluster, node: SimNode, value: bytes) -> None:
    cluster.witness.begin("k0", value)
    await node.store.commit([Put("k0", value)])


def test_what_was_read_before_the_leadership_does_not_pass_the_gate() -> None:
    """Found by seed 55: a request read on a follower, which led when the request came to the gate."""

    async def scenario(cluster: SimCluster) -> None:
        leader = await led(cluster)
        other = cluster.nodes["n2"]
        since = other.store.leading_term
        before = other.store.get("k0")
        await write(cluster, leader, b"1")
        await leader.store.transfer_leadership("n2")
        await cluster.until(lambda: other.leads and other.has_lease(), 30, "the other leads")
        assert other.store.get("k0") != before
        with pytest.raises(NoLeader):
            other.store.require_lease(since)
        other.store.require_lease(other.store.leading_term)

    play(scenario)


def test_a_leader_that_took_a_snapshot_knows_what_it_does_not_know() -> None:
    """Found by seed 72: what its log begins with is made up, and is no proof against a follower that has the entry."""

    async def scenario(cluster: SimCluster) -> None:
        first = await led(cluster)
        late = cluster.nodes["n3"]
        cut = {pair for other in cluster.nodes if other != "n3" for pair in (("n3", other), (other, "n3"))}
        cluster.network.set_cut(cut, reset=True)
        for number in range(40):
            await write(cluster, first, b"%d" % number)
        await asyncio.sleep(5)
        first.crash()  # with all that there is, but for the next leader's first entry
        second = await led(cluster)
        await asyncio.sleep(5)
        cluster.network.set_cut(set(), reset=False)
        await cluster.until(lambda: late.store.applied_index == second.store.applied_index, 60, "it has a snapshot")
        await second.store.transfer_leadership("n3")
        await cluster.until(lambda: late.leads, 30, "it leads")
        first.start()
        await cluster.until(lambda: first.store.applied_index == late.store.applied_index, 60, "it has caught up")

    play(scenario, nodes=5)


def _peers(node: SimNode) -> list[str]:
    return [peer.node_id for peer in node.store.peers()]


@pytest.mark.parametrize("victim", ["n1", "n2", "n4"])
def test_a_change_of_peers_survives_a_crash_at_each_step(victim: str) -> None:
    """The power goes at each operation of the leader's, a follower's and the new node's disk in turn.

    After the restart all agree on one of the two peer lists, and the cluster takes writes and the next change.
    """
    for step in range(14):

        async def scenario(cluster: SimCluster, step: int = step) -> None:
            leader = await led(cluster)
            node = cluster.new_node()
            node.start([*leader.store.peers(), node.peer])
            cluster.nodes[victim].disk.power_off_in = step
            leader.spawn(_forgiving(leader.store.add_peer(node.node_id, node.address)))
            await asyncio.sleep(60)
            for other in cluster.nodes.values():
                other.disk.power_off_in = None
                if not other.running:
                    try:
                        other.start()
                    except PowerLoss:
                        other.start()
            leader = await led(cluster)
            await write(cluster, leader, b"after")
            await asyncio.sleep(30)
            leader = await led(cluster)
            members = [cluster.nodes[name] for name in _peers(leader)]
            assert all(_peers(member) == _peers(leader) for member in members)
            if victim == "n4" or len(members) == 3:
                await _again(cluster, node)
            assert "n4" in _peers(await led(cluster))

        play(scenario)


async def _again(cluster: SimCluster, node: SimNode) -> None:
    """Whoever asked, asks again."""
    for _ in range(20):
        leader = await led(cluster)
        await _forgiving(leader.store.add_peer(node.node_id, node.address))
        if node.node_id in _peers(leader):
            return
        await asyncio.sleep(5)


async def _forgiving(work: Awaitable[None]) -> None:
    try:
        await work
    except ClusterError:
        return


@pytest.mark.parametrize("fault", ["is_full", "fails_sync"])
def test_a_node_whose_disk_fails_stops(fault: str) -> None:
    """The disk objects to any write after its error (disk.py), and the witness to any other reason to stop."""

    async def scenario(cluster: SimCluster) -> None:
        leader = await led(cluster)
        setattr(leader.disk, fault, True)
        with pytest.raises(ClusterError):
            await write(cluster, leader, b"1")
        await asyncio.sleep(0)
        assert not leader.running
        other = await led(cluster)
        assert other is not leader
        await write(cluster, other, b"2")

    play(scenario)
