"""Joining, cut off at each step: two nodes in this process, on Raft and on sockets of their own."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from cluster.errors import MembershipRefused
from cluster.raft_store import RaftStore
from node.core import Core
from node.errors import JoinRefused
from node.initialize import InitRequest, initialize
from node.join import begin_join
from node.join_target import JoinTarget
from node.seal.static import StaticSeal
from node.storage import RaftStorage
from node.unseal import join_by_itself, unseal
from tests.node.audit.kit import ROOT, Asked, body_of
from tests.node.cores import raft_core


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def first_node(core: Core) -> str:
    """Initialise and unseal; the key share."""
    result = await initialize(core, InitRequest(shares=1, threshold=1, root_token=ROOT))
    share = result.shares[0].hex()
    await unseal(core, share, reset=False)
    await core.wait_active(30)
    return share


def target_of(core: Core) -> JoinTarget:
    return JoinTarget(api_address=core.identity.api_address)


def names(core: Core) -> list[str]:
    assert isinstance(core.storage, RaftStorage)
    return [peer.node_id for peer in core.storage.peers()]


class Died(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["cluster.raft_store.RaftStore.adopt", "node.core.Core.unseal_with"])
async def test_a_join_that_was_cut_off_goes_on_at_the_next_unsealing(tmp_path: Path, step: str) -> None:
    """Whatever of it was kept, the joining node needs nothing but its key shares again."""

    def dies(*_: object) -> None:
        raise Died

    async with raft_core(tmp_path / "n1", "n1") as leader:
        share = await first_node(leader)
        async with raft_core(tmp_path / "n2", "n2") as joiner:
            await begin_join(joiner, target_of(leader))
            with patch(step, dies), pytest.raises(Died):
                await unseal(joiner, share, reset=False)
        async with raft_core(tmp_path / "n2", "n2") as joiner:
            assert joiner.is_initialized
            with patch("node.join.ASK_AGAIN_S", 0.5):
                await unseal(joiner, share, reset=False)
                await until(lambda: not joiner.barrier.is_sealed)
            await until(lambda: names(leader) == ["n1", "n2"])
            joined = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": "n2"})
            assert joined.status == 204, body_of(joined)


async def test_a_change_of_peers_waits_for_the_one_before(tmp_path: Path) -> None:
    """A peer may be removed right after it was added, though that change is still under way."""
    async with raft_core(tmp_path / "n1", "n1") as leader:
        share = await first_node(leader)
        async with raft_core(tmp_path / "n2", "n2") as joiner:
            await begin_join(joiner, target_of(leader))
            await unseal(joiner, share, reset=False)
            await until(lambda: names(leader) == ["n1", "n2"])
            removed = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": "n2"})
            assert removed.status == 204, body_of(removed)
            assert names(leader) == ["n1"]


async def test_a_member_joins_no_other_cluster(tmp_path: Path) -> None:
    """Two clusters are never mixed: a node that belongs to one is refused, and keeps what it has."""
    async with raft_core(tmp_path / "n1", "n1") as one, raft_core(tmp_path / "n2", "n2") as other:
        await first_node(one)
        await first_node(other)
        with pytest.raises(JoinRefused):
            await begin_join(other, target_of(one))
        assert isinstance(other.storage, RaftStorage)
        with pytest.raises(MembershipRefused):
            RaftStore.adopt(other.storage.raft, one.storage.peers())  # type: ignore[attr-defined]


async def test_a_share_of_another_cluster_joins_nothing(tmp_path: Path) -> None:
    """With a wrong share the joining node stays as it was, and the right one joins it."""
    async with raft_core(tmp_path / "n1", "n1") as leader, raft_core(tmp_path / "n2", "n2") as joiner:
        share = await first_node(leader)
        await begin_join(joiner, target_of(leader))
        with pytest.raises(Exception, match="invalid key"):
            await unseal(joiner, "11" * 33, reset=False)
        assert not joiner.is_initialized
        assert joiner.is_sealed
        await unseal(joiner, share, reset=False)
        await until(lambda: not joiner.barrier.is_sealed)
        await until(lambda: names(leader) == ["n1", "n2"])  # it has the log before it has its vote
        removed = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": "n2"})
        assert removed.status == 204


async def test_a_seal_that_does_not_open_the_root_key_is_no_join(tmp_path: Path) -> None:
    """With auto-unseal and another cluster's key the join is refused, and the node is free to join elsewhere."""
    async with raft_core(tmp_path / "n1", "n1") as leader, raft_core(tmp_path / "n2", "n2") as joiner:
        for core, key in ((leader, bytes(32)), (joiner, bytes([1]) * 32)):
            core.seal = StaticSeal("static", b"1", {b"1": key}, core.sources.random)
        await initialize(leader, InitRequest(shares=1, threshold=1, root_token=ROOT))
        await leader.wait_active(30)
        await begin_join(joiner, target_of(leader))
        with pytest.raises(JoinRefused):
            await join_by_itself(joiner)
        assert joiner.pending_join is None
        assert not joiner.is_initialized
        joiner.seal = leader.seal
        await begin_join(joiner, target_of(leader))
        await join_by_itself(joiner)
        await until(lambda: not joiner.barrier.is_sealed)
        await until(lambda: names(leader) == ["n1", "n2"])  # it has the log before it has its vote
        removed = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": "n2"})
        assert removed.status == 204


async def test_a_member_that_lost_its_data_does_not_join_as_the_one_it_was(tmp_path: Path) -> None:
    """An emptied folder under the node id of a member: refused with what to do, until that member is removed."""
    async with raft_core(tmp_path / "n1", "n1") as leader, raft_core(tmp_path / "n2", "n2") as second:
        share = await first_node(leader)
        await begin_join(second, target_of(leader))
        await unseal(second, share, reset=False)
        await until(lambda: names(leader) == ["n1", "n2"])
        async with raft_core(tmp_path / "n3", "n3") as third:
            await begin_join(third, target_of(leader))
            await unseal(third, share, reset=False)
            await until(lambda: names(leader) == ["n1", "n2", "n3"])
        async with raft_core(tmp_path / "emptied", "n3") as emptied:
            await begin_join(emptied, target_of(leader))
            with pytest.raises(JoinRefused, match=r"is a peer already and its data folder is empty.*remove-peer n3"):
                await unseal(emptied, share, reset=False)
            assert not emptied.is_initialized
            removed = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": "n3"})
            assert removed.status == 204, body_of(removed)
            await begin_join(emptied, target_of(leader))
            await unseal(emptied, share, reset=False)
            await until(lambda: names(leader) == ["n1", "n2", "n3"])
            for name in ("n3", "n2"):
                removed = await Asked(leader).call("POST", "sys/storage/raft/remove-peer", {"server_id": name})
                assert removed.status == 204, body_of(removed)
