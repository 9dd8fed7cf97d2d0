"""Peers come and go (point 9 of Raft around PySyncObj), on virtual time."""

import asyncio

import pytest

from cluster.errors import MembershipRefused, NoLeader
from cluster.peers import Peer
from cluster.store import Put
from tests.cluster.simulation import Cluster, scenario


@scenario
async def test_a_peer_is_added_and_removed(cluster: Cluster) -> None:
    """All nodes agree on the peers; the removed node learns that it is one no more and disturbs nobody."""
    leader = await cluster.form(4)
    await cluster.same_everywhere()
    assert all(
        [peer.node_id for peer in node.store.peers()] == ["n1", "n2", "n3", "n4"] for node in cluster.nodes.values()
    )
    gone = cluster.node("n4")
    raft_term = leader.store.term
    await leader.store.remove_peer("n4")
    await cluster.until(lambda: gone.store.removed)
    await asyncio.sleep(20)
    assert leader.store.term == raft_term
    await leader.store.commit([Put("a", b"1")])
    assert gone.store.get("a") is None
    assert [peer.node_id for peer in cluster.node("n2").store.peers()] == ["n1", "n2", "n3"]


@scenario
async def test_a_new_peer_is_served_as_the_others_are(cluster: Cluster) -> None:
    """Its link is older than its membership; still an entry goes to it at once, not with the next heartbeat."""
    leader = await cluster.form(2)
    started = asyncio.get_running_loop().time()
    await leader.store.commit([Put("a", b"1")])
    assert asyncio.get_running_loop().time() - started < 0.01


@scenario
async def test_adding_again_is_no_change(cluster: Cluster) -> None:
    """A node that joins a second time finds itself a peer; at another address it is refused."""
    leader = await cluster.form(2)
    before = leader.engine.last_index
    await leader.store.add_peer("n2", "n2:8201")
    assert leader.engine.last_index == before
    with pytest.raises(MembershipRefused):
        await leader.store.add_peer("n2", "elsewhere:8201")
    with pytest.raises(NoLeader):
        await cluster.node("n2").store.add_peer("n3", "n3:8201")


@scenario
async def test_a_node_that_never_comes_costs_nothing(cluster: Cluster) -> None:
    """A node gets its vote only once it has the log, so one that cannot be reached leaves the cluster as it was."""
    leader = await cluster.form(1)
    with pytest.raises(MembershipRefused):
        await leader.store.add_peer("n2", "n2:8201")
    await leader.store.commit([Put("a", b"1")])
    assert leader.store.peers() == [Peer("n1", "n1:8201")]


@scenario
async def test_one_change_at_a_time(cluster: Cluster) -> None:
    """A second change is refused while the first is not applied, whatever PySyncObj would allow."""
    leader = await cluster.form(4)
    first = asyncio.ensure_future(leader.store.remove_peer("n4"))
    await asyncio.sleep(0)
    with pytest.raises(MembershipRefused):
        await leader.store.remove_peer("n3")
    await first
    await leader.store.remove_peer("n3")


@scenario
async def test_no_change_before_the_leader_is_ready(cluster: Cluster) -> None:
    """A new leader whose no-op is not applied may not know of a change that is under way."""
    leader = await cluster.form(3)
    cluster.network.partition({"n2", "n3"})
    await cluster.leader(among={"n2", "n3"})
    with pytest.raises(NoLeader):
        await leader.store.remove_peer("n3")


@scenario
async def test_a_leader_that_is_to_go_hands_over(cluster: Cluster) -> None:
    """Removing the leader makes another lead, which then removes it."""
    leader = await cluster.form(3)
    with pytest.raises(NoLeader, match="handed over"):
        await leader.store.remove_peer("n1")
    successor = await cluster.leader()
    assert successor is not leader
    await successor.store.remove_peer("n1")
    await successor.store.commit([Put("a", b"1")])
    await cluster.until(lambda: leader.store.removed)


@scenario
async def test_an_uncommitted_change_is_taken_back(cluster: Cluster) -> None:
    """A change that a cut-off leader appended goes with its entry; peers survive a restart."""
    leader = await cluster.form(3)
    cluster.network.partition({"n2", "n3"})
    change = asyncio.ensure_future(leader.store.remove_peer("n3"))
    await asyncio.sleep(0.1)
    assert [peer.node_id for peer in leader.store.peers()] == ["n1", "n2"]
    await cluster.leader(among={"n2", "n3"})
    cluster.network.heal()
    with pytest.raises(MembershipRefused):
        await change
    await cluster.same_everywhere()
    assert [peer.node_id for peer in leader.store.peers()] == ["n1", "n2", "n3"]
    for node in cluster.nodes.values():
        node.crash()
    for node in cluster.nodes.values():
        await node.start()
    await cluster.same_everywhere()
    assert all(len(node.store.peers()) == 3 for node in cluster.nodes.values())


@scenario
async def test_a_node_with_data_adopts_no_peers(cluster: Cluster) -> None:
    """Joining another cluster would mix two histories."""
    leader = await cluster.form(1)
    with pytest.raises(MembershipRefused):
        leader.store.adopt([Peer("n1", "n1:8201"), Peer("n9", "n9:8201")])
    other = cluster.node("n2")
    other.open()
    with pytest.raises(MembershipRefused):
        other.store.adopt([Peer("n9", "n9:8201")])
    assert not other.store.is_bootstrapped
