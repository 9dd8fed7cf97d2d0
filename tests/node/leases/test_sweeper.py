"""node/leases/sweeper.py and executor.py: what is due ends, is retried, and is never forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.errors import NoLeader
from engines.common.plan import LeaseGrant, Write
from node.leases.executor import ATTEMPTS_MAX, backoff_ms
from node.leases.model import Lease, LeaseState
from node.leases.sweeper import Sweeper
from tests.node.tokens.rig import Rig


async def test_a_lease_is_revoked_at_its_end_and_not_before() -> None:
    """One millisecond decides."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.sources.advance(3_599_999)
    await rig.sweep_all()
    assert rig.revoked == []
    rig.sources.advance(1)
    await rig.sweep_all()
    assert rig.revoked == [lease_id]
    assert not rig.store.keys_below("sys/lease/")
    assert not rig.store.keys_below("sys/expire/")


async def test_cve_2019_18616_revoking_a_token_revokes_its_leases_at_the_engine() -> None:
    """CVE-2019-18616: all of them, those of its children too, and in more than one batch."""
    rig = Rig()
    parent = await rig.child(await rig.root())
    child = await rig.child(parent.token)
    issued = {await rig.lease(token) for token in (parent.token, child.token) for _ in range(100)}
    await rig.revoker.revoke(parent.key)
    await rig.sweep_all()
    assert set(rig.revoked) == issued
    assert len(rig.revoked) == len(issued)


async def test_a_refused_revocation_is_tried_again_with_growing_pauses_then_given_up() -> None:
    """Attempts are counted in storage, across restarts; after the last the lease is listed, not forgotten."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.engine_error = ConnectionError("password=canary")
    rig.sources.advance(3_600_000)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        await rig.sweep_all()
        lease = await rig.leases.lookup(lease_id)
        assert lease.attempts == attempt
        rig.restart()
        rig.sources.advance(backoff_ms(attempt, 255) + 1)
    await rig.sweep_all()
    (given_up,) = await rig.leases.irrevocable(None)
    assert given_up.lease_id == lease_id
    assert given_up.state is LeaseState.IRREVOCABLE
    assert given_up.error == "ConnectionError"
    assert await rig.leases.count_irrevocable() == {"m1": 1}
    assert not rig.store.keys_below("sys/expire/")
    rig.engine_error = None
    await rig.leases.revoke(lease_id)
    await rig.sweep_all()
    assert rig.revoked == [lease_id]
    assert await rig.leases.irrevocable(None) == []


def test_the_pause_doubles_and_is_spread() -> None:
    """20 s at first, a quarter either way."""
    assert [backoff_ms(n, 128) for n in range(1, 6)] == [20_000, 40_000, 80_000, 160_000, 320_000]
    assert backoff_ms(1, 0) == 15_000
    assert 24_000 < backoff_ms(1, 255) < 25_000


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 8), commits=st.integers(0, 6), fails=st.booleans())
def test_a_sweep_cut_off_anywhere_forgets_nothing(count: int, commits: int, fails: bool) -> None:
    """Intent, act, result: cut off after any commit, each lease is revoked at least once by the next leader."""

    async def run() -> None:
        rig = Rig()
        root = await rig.root()
        issued = {await rig.lease(root) for _ in range(count)}
        rig.sources.advance(3_600_000)
        rig.engine_error = ConnectionError() if fails else None
        rig.store.fail_after = rig.store.commits + commits
        with contextlib.suppress(NoLeader):
            await rig.sweep_all()
        rig.engine_error = None
        rig.restart()
        rig.sources.advance(60_000)
        await rig.sweep_all()
        assert set(rig.revoked) == issued
        assert not rig.store.keys_below("sys/lease/")

    asyncio.run(run())


async def test_a_damaged_record_does_not_stop_expiry() -> None:
    """It is put off; everything else ends in time."""
    rig = Rig()
    root = await rig.root()
    damaged, sound = await rig.lease(root), await rig.lease(root)
    rig.store.entries[f"sys/lease/id/{damaged}"] = (b"\x09", 10_000)
    rig.sources.advance(3_600_000)
    await rig.sweep_all()
    assert rig.revoked == [sound]
    assert len(rig.store.keys_below("sys/expire/")) == 1


async def test_an_engine_that_hangs_does_not_hold_up_the_others() -> None:
    """A mount whose engine never answers takes only its own share; tokens and other mounts' leases end."""
    rig = Rig()
    root = await rig.root()
    never = asyncio.Event()

    async def hang(lease: Lease) -> None:
        if lease.mount_uuid == "hung":
            await never.wait()
        rig.revoked.append(lease.lease_id)

    rig.executor._revoke_in_engine = hang
    holder = await rig.tokens.resolve(root, "")
    for uuid, count in (("hung", 600), ("fine", 1)):
        for _ in range(count):
            made = await rig.leases.register(LeaseGrant(ttl_s=60), path="p", mount_uuid=uuid, holder=holder)
            await rig.store.commit(made.writes)
    rig.sources.advance(60_000)
    for _ in range(30):
        await rig.sweeper.sweep()
    assert made.lease.lease_id in rig.revoked
    await rig.sweeper.stop()


async def test_the_loop_works_by_itself_and_wakes_for_new_work() -> None:
    """start, a revocation, stop: no turn of the clock is needed."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.sweeper.start()
    rig.sweeper.start()
    await rig.leases.revoke(lease_id)
    async with asyncio.timeout(10):
        while rig.revoked != [lease_id]:
            await asyncio.sleep(0.001)
    await rig.sweeper.stop()


async def test_the_loop_outlives_a_store_that_is_cut_off() -> None:
    """A sweep without a leader is tried again, not fatal."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.sources.advance(3_600_000)
    calls = 0
    whole = rig.store.commit

    async def commit(writes: list[Write]) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise NoLeader("cut off by the test")
        return await whole(writes)

    rig.executor._commit = commit  # type: ignore[assignment]
    rig.sweeper.start()
    async with asyncio.timeout(10):
        while rig.revoked != [lease_id]:
            await asyncio.sleep(0.01)
    await rig.sweeper.stop()


async def test_the_loop_outlives_a_bug() -> None:
    """One failed sweep is logged, and the next one comes."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.sources.advance(3_600_000)
    whole, calls = rig.store.list, 0

    async def fails_once(prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bug")
        return await whole(prefix, after=after, limit=limit)

    rig.store.list = fails_once  # type: ignore[method-assign]
    rig.sweeper.start()
    async with asyncio.timeout(10):
        while rig.revoked != [lease_id]:
            await asyncio.sleep(0.01)
    await rig.sweeper.stop()


async def test_a_long_revocation_by_prefix_does_not_delay_what_is_due() -> None:
    """It runs beside the sweeps, one page at a time."""
    rig = Rig()
    root = await rig.root()
    due = await rig.lease(root, "other/creds/a", ttl_s=10)
    for _ in range(1000):
        await rig.lease(root, "database/creds/a")
    rig.sources.advance(10_000)
    await rig.leases.revoke_prefix("database")
    for _ in range(3):
        await rig.sweeper.sweep()
        await asyncio.sleep(0)
    assert due in rig.revoked
    await rig.sweep_all()
    await rig.sweep_all()
    assert len(rig.revoked) == 1001


@pytest.mark.parametrize("kind", ["leases", "tokens"])
async def test_expiry_is_fast_enough_and_leaves_turns_to_others(kind: str) -> None:
    """At least 2,000 a second on this store; meanwhile another task gets its turn every few milliseconds."""
    rig = Rig()
    root = await rig.root()
    count = 3000
    for _ in range(count):
        await (rig.lease(root) if kind == "leases" else rig.child(root, ttl_s=3600))
    rig.sources.advance(3_600_000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    started = time.perf_counter()
    await rig.sweep_all()
    spent_s = time.perf_counter() - started
    task.cancel()
    assert count / spent_s > 2000
    assert turns > count // 64
    assert not rig.store.keys_below("sys/expire/")


async def test_starting_costs_the_same_with_many_leases() -> None:
    """Nothing is loaded: one sweep over 50,000 leases that are not due reads only the front of the index."""
    rig = Rig()
    holder = await rig.tokens.resolve(await rig.root(), "")
    for _ in range(500):
        writes: list[Write] = []
        for _ in range(100):
            made = await rig.leases.register(LeaseGrant(ttl_s=60), path="p", mount_uuid="m", holder=holder)
            writes += made.writes
        await rig.store.commit(writes)
    started = time.perf_counter()
    sweeper = Sweeper(rig.leases, rig.revoker, rig.store.commit)
    assert await sweeper.sweep() == 0
    assert time.perf_counter() - started < 0.05
