"""Putting leases at the front of the time index, so that the sweeper revokes them next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cluster.errors import Conflict
from engines.common.context import Sources, View
from engines.common.plan import Delete, Write
from node.leases import store
from node.leases.model import Commit, LeaseState, SeenLease

BATCH: Final = 64  # leases in one commit: about 30 KB, and a few ms on the event loop


async def read_lease(view: View, lease_id: str) -> SeenLease | None:
    """The lease as stored."""
    seen = await view.get(store.lease_key(lease_id))
    return SeenLease(store.decode_lease(lease_id, seen.value), seen.index) if seen is not None else None


def queue_writes(seen: SeenLease, now_ms: int, *, is_forced: bool = False) -> tuple[Write, ...]:
    """Make the lease due now. One that was given up is tried anew, from its first attempt."""
    lease = seen.lease
    queued = replace(
        lease,
        state=LeaseState.REVOKING,
        expire_at_ms=min(lease.expire_at_ms, now_ms),
        attempts=0,
        forced=is_forced or lease.forced,
    )
    writes = store.stored(queued, now_ms, seen.index, lease.due_at_ms)
    if lease.state is LeaseState.IRREVOCABLE:
        writes = (*writes, Delete(store.irrevocable_key(lease.lease_id)))
    return writes


async def queue_leases(
    lease_ids: Sequence[str], view: View, sources: Sources, commit: Commit, *, is_forced: bool = False
) -> None:
    """Make these leases due now, those that are being revoked already excepted."""
    pending, size = list(lease_ids), BATCH
    while pending:
        part = pending[:size]
        writes: list[Write] = []
        for lease_id in part:
            seen = await read_lease(view, lease_id)
            if seen is not None and (seen.lease.state is not LeaseState.REVOKING or is_forced > seen.lease.forced):
                writes += queue_writes(seen, sources.now_ms(), is_forced=is_forced)
        try:
            if writes:
                await commit(writes)
        except Conflict:
            size = 1  # find the one that changed without holding up the others
            continue
        del pending[: len(part)]


async def queue_leases_of(token_key: str, view: View, sources: Sources, commit: Commit) -> None:
    """Make every lease of a token due now, and take them out of its index."""
    prefix = store.of_token_prefix(token_key)
    while names := await view.list(prefix, limit=BATCH):
        entries = [seen for name in names if (seen := await view.get(prefix + name)) is not None]
        await queue_leases([seen.value.decode() for seen in entries], view, sources, commit)
        await commit([Delete(prefix + name) for name in names])
