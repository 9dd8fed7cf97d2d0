"""What waits for a connection together is one transaction: one round trip and one commit for all of it.

A commit costs a database more than the statements about a user do, and statements about privileges on the same table
exclude each other: only within a transaction do they not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic

from engines.database.errors import Collided, DatabaseRefused, DatabaseUnreachable
from engines.database.pool import OPERATION_S_MAX, Pool, S

_TOGETHER_MAX: Final = 16  # jobs in one transaction: beyond that its commit is a small part of it


@dataclass(frozen=True, slots=True)
class Job(Generic[S]):
    """Statements as one text, as this session needs them. `secret` never shows in an error."""

    text: Callable[[S], str]
    secret: str = field(default="", repr=False)


@dataclass(slots=True, eq=False)
class _Waiting(Generic[S]):
    job: Job[S]
    outcome: asyncio.Future[None]
    is_taken: bool = False


class Batches(Generic[S]):
    """Runs jobs over a pool, those that wait at the same moment together. `execute` runs a text as one transaction."""

    def __init__(self, pool: Pool[S], execute: Callable[[S, str, str], Awaitable[object]], separator: str) -> None:
        self._pool = pool
        self._execute = execute
        self._separator = separator
        self._waiting: deque[_Waiting[S]] = deque()
        self._busy = 0  # connections at work
        self._workers: set[asyncio.Task[None]] = set()

    async def run(self, job: Job[S]) -> None:
        """Returns once the job's transaction is committed. Raises what `Pool.run` does: a refusal is the job's own."""
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._workers) < self._pool.width:
            # A task of its own: it works for others, too, and must not end with the request that began it.
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        try:
            await asyncio.wait({waiting.outcome}, timeout=OPERATION_S_MAX)
            if not waiting.is_taken and not waiting.outcome.done():
                raise DatabaseUnreachable("all connections to the database are in use")
            await waiting.outcome
        finally:
            waiting.outcome.cancel()  # where nobody waits any more it need not begin

    async def _work(self) -> None:
        while self._waiting:
            batch: list[_Waiting[S]] = []
            try:
                await self._pool.run(partial(self._together, batch))
            except Exception as error:
                # Without a connection nothing was taken: who waits longest is told, and the next try is for the others.
                _fail(batch or self._taken(1), error)

    def _taken(self, most: int) -> list[_Waiting[S]]:
        taken: list[_Waiting[S]] = []
        while self._waiting and len(taken) < most:
            one = self._waiting.popleft()
            if not one.outcome.done():
                one.is_taken = True
                taken.append(one)
        return taken

    async def _together(self, batch: list[_Waiting[S]], session: S) -> None:
        """Take what waits, unless this is another attempt after a collision, and run it."""
        if not batch:
            free = max(self._pool.width - self._busy, 1)
            batch += self._taken(min(-(-len(self._waiting) // free), _TOGETHER_MAX))
        self._busy += 1
        try:
            await self._run_batch(batch, session)
        finally:
            self._busy -= 1

    async def _run_batch(self, batch: list[_Waiting[S]], session: S) -> None:
        if len(batch) > 1:
            try:
                await self._execute(session, self._separator.join(one.job.text(session) for one in batch), "")
            except Collided:
                raise
            except DatabaseRefused:
                pass  # by one of them, and all was rolled back: each by itself tells whose it was
            else:
                _done(batch)
                return
        while batch:
            await self._alone(session, batch[0])
            batch.pop(0)

    async def _alone(self, session: S, one: _Waiting[S]) -> None:
        try:
            await self._execute(session, one.job.text(session), one.job.secret)
        except Collided:
            raise
        except DatabaseRefused as error:
            _fail([one], error)
        else:
            _done([one])


def _done(batch: Sequence[_Waiting[S]]) -> None:
    for one in batch:
        if not one.outcome.done():
            one.outcome.set_result(None)


def _fail(batch: Sequence[_Waiting[S]], error: Exception) -> None:
    for one in batch:
        if not one.outcome.done():
            one.outcome.set_exception(error)
