"""Whole clusters on virtual time: what a client of the store sees."""

import pytest

from cluster.errors import NoLeader
from cluster.store import Put
from tests.cluster.simulation import Cluster, scenario


@scenario
async def test_one_node_serves_alone(cluster: Cluster) -> None:
    """A cluster of one commits, and has its data again after a restart."""
    node = await cluster.form(1)
    index = await node.store.commit([Put("a", b"1")])
    assert node.stored("a").index == index
    node.store.require_lease()
    node.crash()
    await node.start()
    await cluster.leader()
    assert node.stored("a").value == b"1"


@scenario
async def test_three_nodes_replicate(cluster: Cluster) -> None:
    """What the leader acknowledges is soon on every node."""
    leader = await cluster.form(3)
    for number in range(20):
        await leader.store.commit([Put(f"k/{number}", b"v")])
    await cluster.same_everywhere()
    assert len(cluster.node("n3").store.list("k/")) == 20
    with pytest.raises(NoLeader):
        await cluster.node("n2").store.commit([Put("a", b"1")])


@scenario
async def test_another_leads_after_the_leader_died(cluster: Cluster) -> None:
    """Within 5 s of the leader's death another serves, with every acknowledged write; the dead one catches up."""
    leader = await cluster.form(3)
    await leader.store.commit([Put("a", b"1")])
    leader.crash()
    successor = await cluster.leader(within_s=5)
    assert successor.stored("a").value == b"1"
    await successor.store.commit([Put("b", b"2")])
    await leader.start()
    await cluster.same_everywhere()
    assert leader.stored("b").value == b"2"
