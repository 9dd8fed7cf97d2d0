"""An old or an emptied disk under an old node id: found out, stopped, kept from coming back; never voted with."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import DataFolderRefused, MembershipRefused
from cluster.lost_log import NOTE
from cluster.peers import Peer
from cluster.replication import Replicator
from cluster.store import Put
from tests.cluster.simulation import Cluster, Node, run, scenario


async def fill(leader: Node, begin: int, count: int) -> None:
    for at in range(begin, begin + count):
        await leader.store.commit([Put(f"k/{at}", b"%d" % at)])


def keep(cluster: Cluster, node: Node) -> Path:
    """A copy of the node's data folder, taken while it is down."""
    copy = cluster.path / f"copy of {node.node_id}"
    shutil.copytree(cluster.path / node.node_id, copy)
    return copy


def put_back(cluster: Cluster, node: Node, copy: Path | None) -> None:
    """The node's data folder is the copy, or empty."""
    shutil.rmtree(cluster.path / node.node_id)
    if copy is not None:
        shutil.copytree(copy, cluster.path / node.node_id)


async def require_stopped(cluster: Cluster, node: Node) -> None:
    """The leader finds it out, and the node stops, does not start again, and can join anew."""
    await cluster.until(lambda: bool(node.failures), within_s=5)
    assert "lacks entries that it had acknowledged" in str(node.failures.pop())
    assert node.member is None or not node.member._running
    node.crash()
    with pytest.raises(DataFolderRefused, match=r"old copy or was emptied.*raft remove-peer"):
        node.open()
    assert node.folder is not None
    node.folder.close()
    leader = await cluster.leader()
    await fill(leader, 900, 3)
    await leader.store.remove_peer(node.node_id)
    put_back(cluster, node, None)
    node.store_ = None
    await cluster.join(node.node_id)
    await cluster.same_everywhere()


@scenario
async def test_an_old_copy_under_an_old_name_is_stopped(cluster: Cluster) -> None:
    """A follower comes back with its disk of some time ago; what it acknowledged since is not on it."""
    leader = await cluster.form(3)
    node = cluster.node("n3")
    await fill(leader, 0, 20)
    node.crash()
    copy = keep(cluster, node)
    await node.start()
    await fill(leader, 100, 20)
    await cluster.same_everywhere()
    node.crash()
    put_back(cluster, node, copy)
    await node.start()
    await require_stopped(cluster, node)


def test_an_old_copy_that_would_get_a_snapshot_is_stopped(tmp_path: Path) -> None:
    """Also where the leader's log has moved on, so that a snapshot would cover what was lost."""

    async def body() -> None:
        cluster = Cluster(tmp_path, trailing_logs=5)
        try:
            leader = await cluster.form(3)
            node = cluster.node("n3")
            await fill(leader, 0, 20)
            node.crash()
            copy = keep(cluster, node)
            await node.start()
            await fill(leader, 100, 20)
            await cluster.same_everywhere()
            node.crash()
            await fill(leader, 200, 100)
            leader.store._state.flush_now()
            await fill(leader, 300, 10)
            assert leader.store._journal[0][1] > 100
            put_back(cluster, node, copy)
            await node.start()
            await require_stopped(cluster, node)
        finally:
            cluster.close()

    run(body())


@scenario
async def test_an_end_that_the_start_cut_off_is_fetched_again(cluster: Cluster) -> None:
    """A last frame that rotted looks like a torn one. The node has said so, and gets it again: it need not go."""
    leader = await cluster.form(3)
    node = cluster.node("n3")
    await fill(leader, 0, 20)
    await cluster.same_everywhere()
    node.crash()
    segment = max((cluster.path / "n3" / "raft" / "journal").iterdir())
    data = bytearray(segment.read_bytes())
    data[-3] ^= 1
    segment.write_bytes(data)
    await node.start()
    await fill(leader, 100, 20)
    await cluster.same_everywhere()
    assert node.store._journal.tail_was_cut
    assert not (cluster.path / "n3" / "raft" / NOTE).exists()


@scenario
async def test_an_emptied_disk_under_an_old_name_is_stopped(cluster: Cluster) -> None:
    """The same for a node whose folder is new, and that was given the peers again."""
    leader = await cluster.form(3)
    node = cluster.node("n3")
    await fill(leader, 0, 20)
    await cluster.same_everywhere()
    node.crash()
    put_back(cluster, node, None)
    node.open()
    node.store.adopt([*leader.store.peers()])
    await node.start()
    await require_stopped(cluster, node)


@scenario
async def test_an_old_copy_does_not_vote_what_it_acknowledged_away(cluster: Cluster) -> None:
    """The one other node with the newest write is the leader, and it goes away right after: nobody else takes over."""
    leader = await cluster.form(3)
    old, behind = cluster.node("n3"), cluster.node("n2")
    await fill(leader, 0, 20)
    await cluster.same_everywhere()
    old.crash()
    copy = keep(cluster, old)
    await old.start()
    behind.crash()
    await fill(leader, 100, 5)  # on n1 and n3 only
    old.crash()
    put_back(cluster, old, copy)
    await old.start()
    await cluster.until(lambda: bool(old.failures), within_s=5)
    old.failures.clear()
    leader.crash()
    await behind.start()
    with pytest.raises(AssertionError, match="did not become so in time"):
        await cluster.leader(within_s=10)
    await leader.start()
    back = await cluster.leader(within_s=20)
    assert back.stored("k/104").value == b"104"


def test_without_the_leaders_word_the_write_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above is one: where the leader does not tell, the old copy votes the newest writes away."""
    told = Replicator.on_ack

    def on_ack(self: Replicator, node_id: str, message: Any) -> None:
        links, self._links = self._links, SimpleNamespace(send=lambda *ignored: True)
        try:
            told(self, node_id, message)
        finally:
            self._links = links

    monkeypatch.setattr(Replicator, "on_ack", on_ack)

    async def body() -> None:
        cluster = Cluster(tmp_path)
        try:
            leader = await cluster.form(3)
            old, behind = cluster.node("n3"), cluster.node("n2")
            await fill(leader, 0, 20)
            await cluster.same_everywhere()
            old.crash()
            copy = keep(cluster, old)
            await old.start()
            behind.crash()
            await fill(leader, 100, 5)
            old.crash()
            put_back(cluster, old, copy)
            await old.start()
            leader.crash()
            await behind.start()
            other = await cluster.leader(within_s=20)
            assert other.store.get("k/104") is None
        finally:
            cluster.close()

    run(body())


@pytest.mark.parametrize("trailing_logs", [5, 10_000])
def test_a_node_that_is_only_slow_is_left_alone(tmp_path: Path, trailing_logs: int) -> None:
    """Restarts, a leader far ahead and answers from before: none of it looks like a lost log."""

    async def body() -> None:
        cluster = Cluster(tmp_path, trailing_logs=trailing_logs)
        try:
            leader = await cluster.form(3)
            node = cluster.node("n3")
            for round_ in range(4):
                await fill(leader, 100 * round_, 20)
                node.crash()
                await fill(leader, 100 * round_ + 50, 20)
                leader.store._state.flush_now()
                await fill(leader, 100 * round_ + 70, 20)
                await node.start()
                await cluster.same_everywhere()
            assert not any(node.failures for node in cluster.nodes.values())
            assert not (tmp_path / "n3" / "raft" / NOTE).exists()
        finally:
            cluster.close()

    run(body())


def remove_state(old: Path, now: Path) -> None:
    shutil.rmtree(now / "vault.db")


def old_state(old: Path, now: Path) -> None:
    shutil.rmtree(now / "vault.db")
    shutil.copytree(old / "vault.db", now / "vault.db")


def old_vote(old: Path, now: Path) -> None:
    shutil.copy(old / "raft" / "vote", now / "raft" / "vote")


def remove_journal(old: Path, now: Path) -> None:
    shutil.rmtree(now / "raft" / "journal")


def remove_raft(old: Path, now: Path) -> None:
    shutil.rmtree(now / "raft")


def test_a_node_behind_the_log_catches_up_beside_steady_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked to prove what it holds although the news of commits keeps the link busy (seen in a torture run)."""
    reconnected = Replicator.reconnected

    def with_news_at_once(self: Replicator, node_id: str) -> None:
        reconnected(self, node_id)
        self._tell_news()

    monkeypatch.setattr(Replicator, "reconnected", with_news_at_once)

    async def body() -> None:
        cluster = Cluster(tmp_path, trailing_logs=5)
        try:
            leader = await cluster.form(3)
            node = cluster.node("n3")
            await fill(leader, 0, 20)
            await cluster.same_everywhere()
            node.crash()
            await fill(leader, 100, 100)
            leader.store._state.flush_now()
            await fill(leader, 200, 10)
            assert leader.store._journal[0][1] > 100
            behind = leader.store.applied_index
            writer = asyncio.create_task(fill(leader, 1000, 100_000))
            await node.start()
            await cluster.until(lambda: node.store.applied_index >= behind, within_s=5)
            assert not writer.done()
            writer.cancel()
        finally:
            cluster.close()

    run(body())


@pytest.mark.parametrize("spoil", [remove_state, old_state, old_vote, remove_journal, remove_raft])
def test_a_folder_put_together_from_parts_is_refused(tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    """State, log and vote of different ages: each is sound by itself, and together they have lost something."""

    async def body() -> None:
        cluster = Cluster(tmp_path, trailing_logs=5)
        try:
            leader = await cluster.form(3)
            node = cluster.node("n3")
            await fill(leader, 0, 10)
            await cluster.same_everywhere()
            node.store._state.flush_now()
            node.crash()
            copy = keep(cluster, node)
            await node.start()
            await leader.store.transfer_leadership()
            await cluster.until(lambda: bool(cluster.leaders()) and not leader.store.is_ready_leader)
            await fill(await cluster.leader(), 100, 50)
            await cluster.same_everywhere()
            node.store._state.flush_now()
            await fill(await cluster.leader(), 200, 20)
            await cluster.same_everywhere()
            node.store._journal.sync_now()
            node.crash()
            spoil(copy, cluster.path / "n3")
            with pytest.raises(DataFolderRefused, match="raft remove-peer"):
                node.open()
            assert node.folder is not None
            node.folder.close()
        finally:
            cluster.close()

    run(body())


def test_a_removed_state_is_missed_while_the_log_is_whole(tmp_path: Path) -> None:
    """The log of a young cluster begins at its first entry, and yet does not say who the members are."""

    async def body() -> None:
        cluster = Cluster(tmp_path)
        try:
            leader = await cluster.form(1)
            await fill(leader, 0, 3)
            leader.crash()
            shutil.rmtree(tmp_path / "n1" / "vault.db")
            with pytest.raises(DataFolderRefused, match="removed or is an old copy"):
                leader.open()
            assert leader.folder is not None
            leader.folder.close()
        finally:
            cluster.close()

    run(body())


@scenario
async def test_members_keep_their_address(cluster: Cluster) -> None:
    """A node id that is taken cannot be added at another address (the join refuses an empty one at the same)."""
    leader = await cluster.form(2)
    with pytest.raises(MembershipRefused, match="remove it first"):
        await leader.store.add_peer("n2", "elsewhere:8201")
    assert Peer("n2", "n2:8201") in leader.store.peers()
