"""node/leases/executor.py: one lease, one revocation at a time on a node."""

from __future__ import annotations

import asyncio

import pytest

from engines.common.errors import InvalidRequest
from node.leases.executor import Executor
from node.leases.model import Lease
from node.leases.queue import queue_leases, read_lease
from tests.node.tokens.rig import Rig


class SlowEngine:
    """Answers once `go` is set; counts who is asked, and how many at once for one lease."""

    def __init__(self, rig: Rig) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self.refusal: Exception | None = None
        rig.executor._revoke_in_engine = self

    async def __call__(self, lease: Lease) -> None:
        self.asked.append(lease.lease_id)
        self.begun.set()
        await self.go.wait()
        if self.refusal is not None:
            raise self.refusal


async def _swept(rig: Rig, engine: SlowEngine, count: int) -> list[str]:
    """Leases that the sweeper is at, and whose engine has not answered."""
    root = await rig.root()
    ids = [await rig.lease(root) for _ in range(count)]
    await queue_leases(ids, rig.store, rig.sources, rig.store.commit)
    await rig.sweeper.sweep()
    await engine.begun.wait()
    return ids


async def test_an_unmount_waits_for_what_the_sweeper_is_at() -> None:
    """Else it takes the mount away while its engine still drops users, and the rest stay for ever."""
    rig = Rig()
    engine = SlowEngine(rig)
    ids = await _swept(rig, engine, 3)
    unmount = asyncio.create_task(rig.leases.revoke_prefix("database", is_sync=True))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not unmount.done()
    engine.go.set()
    await unmount
    assert sorted(engine.asked) == sorted(ids)
    assert [await read_lease(rig.store, lease_id) for lease_id in ids] == [None] * 3


async def test_what_the_sweeper_could_not_revoke_is_tried_by_who_waits_for_it() -> None:
    """The refusal that the request tells is of its own attempt."""
    rig = Rig()
    engine = SlowEngine(rig)
    (lease_id,) = await _swept(rig, engine, 1)
    engine.refusal = InvalidRequest("no")
    request = asyncio.create_task(rig.leases.revoke(lease_id, is_sync=True))
    engine.go.set()
    with pytest.raises(InvalidRequest, match="no"):
        await request
    assert engine.asked == [lease_id, lease_id]


async def test_the_sweeper_leaves_alone_what_a_request_is_at() -> None:
    """A lease that is due, and being revoked by a request, is not revoked a second time beside it."""
    rig = Rig()
    engine = SlowEngine(rig)
    root = await rig.root()
    ids = [await rig.lease(root) for _ in range(3)]
    request = asyncio.create_task(rig.leases.revoke_prefix("database", is_sync=True))
    await engine.begun.wait()
    rig.sources.advance(3_600_000)
    for _ in range(5):
        await rig.sweeper.sweep()
    engine.go.set()
    await request
    await rig.sweeper.settle()
    assert sorted(engine.asked) == sorted(ids)


async def test_a_task_that_was_cancelled_before_it_began_holds_nothing() -> None:
    """As on a node that leads no more: the next time it leads, its leases are free."""
    rig = Rig()
    executor: Executor = rig.executor
    lease_id = await rig.lease(await rig.root())
    seen = await read_lease(rig.store, lease_id)
    assert seen is not None
    claimed = await executor.claim([seen])
    assert not executor.is_free(lease_id)
    task = asyncio.create_task(asyncio.sleep(0))
    executor.hand_over(claimed, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await executor.until_free([lease_id])
    assert executor.is_free(lease_id)
