"""Revoking leases at their engines: intent, act, result.

The intent is committed first: the lease is marked (no renewal passes from then on), the attempt is counted and the next
one is put into the time index. A crash at any moment after that leaves a lease that is tried again, and a lease is
forgotten only after its engine said yes, or an operator forced it. Engines are asked at least once, so revoking what is
gone already must succeed there.

One lease has one revocation at a time on this node: the sweeper and an unmount that meet on a lease would else ask its
engine twice at once, and the two would stand in each other's way there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cluster.errors import ClusterError, Conflict
from engines.common.context import Sources
from engines.common.errors import EngineError
from engines.common.plan import Delete, Put, Write
from node.leases import store
from node.leases.model import Commit, Lease, LeaseState, RevokeInEngine, SeenLease
from node.leases.timeline import LEASE, due_key
from node.telemetry.meters import NodeMeters

ATTEMPTS_MAX: Final = 6  # after which a lease is irrevocable, until an operator revokes it anew
# One attempt: longer than an engine's own bound of 10 s, whose error says more, and shorter than the shortest back-off,
# so that two attempts never overlap.
_ACT_S_MAX: Final = 12.0
_BACKOFF_MS: Final = 20_000  # before the second attempt, then twice as long each time: 10 minutes in all
_AT_ONCE: Final = 32  # requests to an engine from one batch; databases gather them, and bound their own connections
_LOOK_S: Final = 0.05  # between two looks whether a task is still at a lease: it may be at many, and let go of one
_ERROR_CHARS_MAX: Final = 512  # what is stored of an engine's refusal


@dataclass(frozen=True, slots=True)
class Failure:
    """A lease that its engine would not revoke, and why."""

    lease_id: str
    error: str


def backoff_ms(attempts: int, jitter: int) -> int:
    """Milliseconds until the next attempt, after this many; jitter (0 to 255) spreads it by a quarter either way."""
    return (_BACKOFF_MS << (attempts - 1)) * (192 + jitter // 2) // 256


class Executor:
    """Carries revocations out. `revoke_in_engine` raises when it could not."""

    def __init__(
        self, sources: Sources, commit: Commit, revoke_in_engine: RevokeInEngine, meters: NodeMeters | None = None
    ) -> None:
        self._meters = meters or NodeMeters()
        self._sources = sources
        self._commit = commit
        self._revoke_in_engine = revoke_in_engine
        self._at_work: dict[str, asyncio.Task[Any]] = {}

    def is_free(self, lease_id: str) -> bool:
        """Whether no task of this node is at revoking this lease."""
        task = self._at_work.get(lease_id)
        return task is None or task.done()  # a task that was cancelled before it began has released nothing

    async def until_free(self, lease_ids: Sequence[str]) -> None:
        """Wait until the tasks that are at these leases have ended with them, for whatever outcome."""
        while tasks := {self._at_work[lease_id] for lease_id in lease_ids if not self.is_free(lease_id)}:
            await asyncio.wait(tasks, timeout=_LOOK_S)

    def hand_over(self, claimed: Sequence[SeenLease], task: asyncio.Task[Any]) -> None:
        """Let another task act for what the current one has claimed."""
        for seen in claimed:
            self._at_work[seen.lease.lease_id] = task

    async def revoke(self, leases: Sequence[SeenLease]) -> list[Failure]:
        """Claim and act: the failures, each of which is tried again later. Leases that are not free are left out."""
        return await self.act(await self.claim(leases))

    async def claim(self, leases: Sequence[SeenLease]) -> list[SeenLease]:
        """Commit the intent for these leases; those that are not free, or changed since they were read, are left out.

        The current task is then at them, until it acts or hands them over.
        """
        task = asyncio.current_task()
        assert task is not None
        free = [seen for seen in leases if self.is_free(seen.lease.lease_id)]
        for seen in free:
            self._at_work[seen.lease.lease_id] = task
        now_ms = self._sources.now_ms()
        jitter = self._sources.random(len(free)) if free else b""
        intents = [self._intent(seen.lease, now_ms, jitter[i]) for i, seen in enumerate(free)]
        sets = [
            store.stored(intent, intent.due_at_ms, seen.index, seen.lease.due_at_ms)
            for seen, intent in zip(free, intents, strict=True)
        ]
        claimed: list[SeenLease] = []
        try:
            indexes = await self._commit_each(sets)
            claimed = [SeenLease(intent, at) for intent, at in zip(intents, indexes, strict=True) if at is not None]
        finally:
            held = {seen.lease.lease_id for seen in claimed}
            self._release(seen.lease.lease_id for seen in free if seen.lease.lease_id not in held)
        return claimed

    def _release(self, lease_ids: Iterable[str]) -> None:
        for lease_id in lease_ids:
            self._at_work.pop(lease_id, None)

    @staticmethod
    def _intent(lease: Lease, now_ms: int, jitter: int) -> Lease:
        attempts = lease.attempts + 1
        return replace(
            lease,
            state=LeaseState.REVOKING,
            attempts=attempts,
            expire_at_ms=min(lease.expire_at_ms, now_ms),
            due_at_ms=now_ms + backoff_ms(min(attempts, ATTEMPTS_MAX), jitter),
        )

    async def act(self, claimed: Sequence[SeenLease]) -> list[Failure]:
        """Ask the engines, then commit what came of it. The leases are free again afterwards."""
        try:
            return await self._act(claimed)
        finally:
            self._release(seen.lease.lease_id for seen in claimed)

    async def _act(self, claimed: Sequence[SeenLease]) -> list[Failure]:
        turns = asyncio.Semaphore(_AT_ONCE)
        errors = await asyncio.gather(*(self._ask(seen.lease, turns) for seen in claimed))
        sets: list[tuple[Write, ...]] = []
        failures: list[Failure] = []
        for seen, error in zip(claimed, errors, strict=True):
            if error and not seen.lease.forced:
                failures.append(Failure(seen.lease.lease_id, error))
                self._meters.lease_expiration_error.value += 1
                if seen.lease.attempts >= ATTEMPTS_MAX:
                    sets.append(_given_up(seen, error))
            else:
                sets.append(store.removed(seen.lease, seen.index))
        # A conflict means that an operator asked anew meanwhile: that request stands, and the engine is asked again.
        await self._commit_each(sets)
        return failures

    async def _ask(self, lease: Lease, turns: asyncio.Semaphore) -> str:
        """The engine's refusal; "" when it did what was asked."""
        async with turns:
            try:
                with self._meters.revoke_common.timing():
                    async with asyncio.timeout(_ACT_S_MAX):
                        await self._revoke_in_engine(lease)
            except TimeoutError:
                return f"no answer within {_ACT_S_MAX:.0f} s"
            except (EngineError, ClusterError) as error:
                return (str(error) or type(error).__name__)[:_ERROR_CHARS_MAX]
            except Exception as error:
                # A driver's text may quote a statement with a password in it, so only its kind is kept.
                return type(error).__name__
        return ""

    async def _commit_each(self, sets: Sequence[tuple[Write, ...]]) -> list[int | None]:
        """Commit all sets as one, or one by one when one of them conflicts: then its index is None."""
        if not sets:
            return []
        try:
            index = await self._commit([write for one in sets for write in one])
        except Conflict:
            return [await self._commit_one(one) for one in sets]
        return [index] * len(sets)

    async def _commit_one(self, writes: tuple[Write, ...]) -> int | None:
        try:
            return await self._commit(writes)
        except Conflict:
            return None


def _given_up(seen: SeenLease, error: str) -> tuple[Write, ...]:
    lease = replace(seen.lease, state=LeaseState.IRREVOCABLE, error=error, due_at_ms=0)
    return (
        Put(store.lease_key(lease.lease_id), store.encode_lease(lease), seen.index),
        Delete(due_key(seen.lease.due_at_ms, LEASE, lease.lease_id)),
        Put(store.irrevocable_key(lease.lease_id), lease.lease_id.encode()),
    )
