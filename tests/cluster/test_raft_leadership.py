"""Elections, the lease and hand-over (points 6 and 7 of Raft around PySyncObj), on virtual time."""

import asyncio

import pytest

from cluster.errors import MembershipRefused, NoLeader
from cluster.pysyncobj_seams import Role
from cluster.store import Put
from tests.cluster.simulation import Cluster, Node, has_lease, scenario


def others(cluster: Cluster, leader: Node) -> list[Node]:
    return [node for node in cluster.nodes.values() if node is not leader]


@scenario
async def test_a_cut_off_leader_loses_its_lease_first(cluster: Cluster) -> None:
    """Before another node leads, the leader that was cut off answers no read any more, and soon steps down."""
    leader = await cluster.form(3)
    rest = {node.node_id for node in others(cluster, leader)}
    cluster.network.partition(rest)
    while not cluster.leaders() or cluster.leaders() == [leader]:
        assert not has_lease(leader) or not any(node.store.role is Role.LEADER for node in others(cluster, leader))
        await asyncio.sleep(0.001)
    assert not has_lease(leader)
    await cluster.until(lambda: leader.store.role is not Role.LEADER, within_s=1)


@scenario
async def test_a_paused_leader_gives_no_stale_answer(cluster: Cluster) -> None:
    """A leader that was stopped while another took over refuses reads from its first moment."""
    leader = await cluster.form(3)
    step = leader.member._step
    leader.member._step = lambda *arguments: None  # the process does nothing
    successor = await cluster.leader(among={node.node_id for node in others(cluster, leader)})
    await successor.store.commit([Put("a", b"new")])
    assert leader.store.role is Role.LEADER
    with pytest.raises(NoLeader):
        leader.store.require_lease()
    leader.member._step = step
    await cluster.until(lambda: leader.store.role is Role.FOLLOWER)
    await cluster.same_everywhere()


@scenario
async def test_an_idle_leader_keeps_its_lease(cluster: Cluster) -> None:
    """Heartbeats alone renew it, without a gap, and the term stays."""
    leader = await cluster.form(3)
    raft_term = leader.store.term
    for _ in range(2000):
        await asyncio.sleep(0.01)
        leader.store.require_lease()
    assert leader.store.term == raft_term


@scenario
async def test_nobody_votes_while_a_leader_is_near(cluster: Cluster) -> None:
    """A request for votes, however new its term, is not heard by a node that heard from a leader just now."""
    leader = await cluster.form(3)
    voter, candidate = others(cluster, leader)
    request = {"type": "request_vote", "term": leader.store.term + 5, "last_log_index": 10**6, "last_log_term": 10**6}
    for node in (voter, leader):
        node.member._links.on_message(candidate.node_id, request | {"transfer": False})
    await asyncio.sleep(1)
    assert {voter.store.term, leader.store.term} == {leader.store.term}
    assert has_lease(leader)


@scenario
async def test_a_restarted_node_counts_as_having_heard_a_leader(cluster: Cluster) -> None:
    """A restart must not free a vote that a lease rests on."""
    leader = await cluster.form(3)
    voter, candidate = others(cluster, leader)
    cluster.network.partition({voter.node_id, candidate.node_id})
    voter.crash()
    await voter.start()
    request = {"type": "request_vote", "term": leader.store.term + 5, "last_log_index": 10**6, "last_log_term": 10**6}
    voter.member._links.on_message(candidate.node_id, request | {"transfer": False})
    assert voter.store.term < leader.store.term + 5
    await asyncio.sleep(cluster.settings.election_min_s)
    voter.member._elections.heard_ns -= 10**10
    voter.member._links.on_message(candidate.node_id, request | {"transfer": False})
    assert voter.store.term >= leader.store.term + 5


@scenario
async def test_a_node_that_comes_back_disturbs_nobody(cluster: Cluster) -> None:
    """A node that was alone for long has not raised its term, so the leader goes on when it returns."""
    leader = await cluster.form(3)
    lonely = others(cluster, leader)[0]
    raft_term = leader.store.term
    cluster.network.partition({node.node_id for node in cluster.nodes.values() if node is not lonely})
    await asyncio.sleep(60)
    cluster.network.heal()
    await asyncio.sleep(10)
    assert leader.store.term == lonely.store.term == raft_term
    assert leader.store.is_ready_leader


@scenario
async def test_a_leader_learns_of_a_later_term(cluster: Cluster) -> None:
    """A follower that is terms ahead is not ignored for ever: its answer deposes the leader, and all go on."""
    leader = await cluster.form(3)
    ahead = others(cluster, leader)[0]
    ahead.engine.observe_term(leader.store.term + 7)
    await cluster.until(lambda: min(node.store.term for node in cluster.nodes.values()) >= ahead.store.term)
    await (await cluster.leader()).store.commit([Put("a", b"1")])
    await cluster.same_everywhere()


@scenario
async def test_a_vote_counts_once(cluster: Cluster) -> None:
    """PySyncObj counts messages; a vote that arrives twice must not make a majority of five."""
    await cluster.form(5)
    candidate, voter = cluster.node("n1"), cluster.node("n2")
    cluster.network.partition({"n1", "n2"})
    cluster.network.duplicate_share = 1.0
    await asyncio.sleep(10)
    assert not cluster.leaders() or cluster.leaders()[0].node_id not in ("n1", "n2")
    voter.member._elections.heard_ns = candidate.member._elections.heard_ns = 0
    candidate.member._elections._won = True
    candidate.engine.elect_now()
    await cluster.until(lambda: candidate.store.role is not Role.FOLLOWER)
    await asyncio.sleep(0.5)
    assert any(message["type"] == "response_vote" for _, _, message in cluster.network.sent)
    assert candidate.store.role is not Role.LEADER


@scenario
async def test_each_death_of_a_leader_is_short(cluster: Cluster) -> None:
    """Twenty times in a row another leads within 5 s of the leader's death."""
    await cluster.form(3)
    for _ in range(20):
        leader = await cluster.leader()
        leader.crash()
        successor = await cluster.leader(within_s=5)
        await successor.store.commit([Put("a", b"1")])
        await leader.start()
        await cluster.same_everywhere()


@scenario
async def test_leadership_is_handed_over(cluster: Cluster) -> None:
    """The named node leads at once, the old leader serves nothing in between, and nothing is lost."""
    leader = await cluster.form(3)
    target = others(cluster, leader)[1]
    await leader.store.commit([Put("a", b"1")])
    started = asyncio.get_running_loop().time()
    await leader.store.transfer_leadership(target.node_id)
    assert await cluster.leader() is target
    assert asyncio.get_running_loop().time() - started < 0.5
    assert not has_lease(leader)
    await cluster.same_everywhere()


@scenario
async def test_a_leader_that_asked_serves_no_more_in_its_term(cluster: Cluster) -> None:
    """Once another was asked to take over, that may happen at any time: no lease, no write, until a new term."""
    leader = await cluster.form(3)
    cluster.network.drop = lambda source, target, message: message["type"] == "timeout_now"
    raft_term = leader.store.term
    handover = asyncio.ensure_future(leader.store.transfer_leadership())
    await cluster.until(lambda: any(message["type"] == "timeout_now" for *_, message in cluster.network.sent))
    with pytest.raises(NoLeader):
        leader.store.require_lease()
    with pytest.raises(NoLeader):
        await leader.store.commit([Put("a", b"1")])
    with pytest.raises(MembershipRefused):
        await handover
    assert leader.store.role is Role.FOLLOWER
    assert (await cluster.leader()).store.term > raft_term


@scenario
async def test_a_leader_serves_once_its_own_entry_is_applied(cluster: Cluster) -> None:
    """A new leader may not know yet what is committed: no lease and no write before its no-op is applied."""
    leader = await cluster.form(3)
    target = others(cluster, leader)[0]
    cluster.network.drop = lambda source, target_id, message: (
        source == target.node_id and message["type"] == "append_entries" and bool(message["entries"])
    )
    await leader.store.transfer_leadership(target.node_id)
    await cluster.until(lambda: target.store.role is Role.LEADER)
    await asyncio.sleep(0.02)
    assert target.store.role is Role.LEADER
    assert not target.store.is_ready_leader
    with pytest.raises(NoLeader):
        target.store.require_lease()
    with pytest.raises(NoLeader):
        await target.store.commit([Put("a", b"1")])


@scenario
async def test_roles_are_told(cluster: Cluster) -> None:
    """on_role_change follows becoming ready and losing leadership; stop and start again work."""
    leader = await cluster.form(3)
    seen: list[bool] = []
    leader.store.on_role_change = lambda: seen.append(leader.store.is_ready_leader)
    await leader.store.stop()
    assert seen[-1] is False
    assert leader.store.get("nothing") is None
    await cluster.leader(among={node.node_id for node in others(cluster, leader)})
    await leader.start()
    await cluster.same_everywhere()
    assert leader.store.leader_id in cluster.nodes


@scenario
async def test_clocks_may_run_at_other_rates(cluster: Cluster) -> None:
    """Clocks that differ by 5 % and stand years apart change nothing: only differences on one clock are used."""
    cluster.node("n2", rate=1.05)
    cluster.node("n3", rate=0.95)
    leader = await cluster.form(3)
    cluster.network.partition({node.node_id for node in others(cluster, leader)})
    while not any(node.store.role is Role.LEADER for node in others(cluster, leader)):
        await asyncio.sleep(0.001)
    assert not has_lease(leader)
