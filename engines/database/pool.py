"""A bounded pool of sessions with one database, and the time limit that every use of one has.

The drivers' own pools open connections behind the caller's back: a wrong password shows only as a time-out there. This
one opens them in the caller's turn, so each caller learns what was wrong with it (docs/decisions/0012).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from engines.common.errors import InvalidRequest
from engines.database.errors import Collided, DatabaseUnreachable
from engines.database.turns import Turns

OPERATION_S_MAX: Final = 10.0  # waiting for a session, logging in and the statements together
_OPEN_DEFAULT: Final = 4  # the documented default of max_open_connections
_OPEN_MAX: Final = 1024
_ALONE_S: Final = 30.0  # for which work goes one at a time after a collision: what collided once does so again
_IDLE_S_MAX: Final = 60.0  # then a session is closed that nobody needed: a node that leads long is not to hold them all


class Session(Protocol):
    """One connection."""

    def is_usable(self) -> bool:
        """Whether it may be used again: still open, and the server has not said goodbye."""

    def hang_up(self) -> None:
        """Cut the connection: whoever waits on it learns that it is lost. Never waits."""

    async def close(self) -> None:
        """Close it in good order. Never raises."""


S = TypeVar("S", bound=Session)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many sessions, how many of them idle, and how old one may get (seconds; 0: any age)."""

    open_max: int
    idle_max: int
    lifetime_s: int

    @staticmethod
    def of(open_max: int, idle_max: int, lifetime_s: int) -> PoolLimits:
        """From the settings as documented: 0 takes the default, a negative idle number keeps none.

        Raises InvalidRequest.
        """
        if open_max > _OPEN_MAX:
            raise InvalidRequest(f"max_open_connections may not be more than {_OPEN_MAX}")
        # Documented as unlimited; here bounded, so that no burst of requests takes every connection of a database.
        opened = _OPEN_MAX if open_max < 0 else open_max or _OPEN_DEFAULT
        idle = 0 if idle_max < 0 else min(idle_max or opened, opened)
        return PoolLimits(opened, idle, max(lifetime_s, 0))


@dataclass(slots=True)
class _Idle(Generic[S]):
    session: S
    born_s: float
    since_s: float


class Pool(Generic[S]):
    """Sessions with one database. `connect` opens one and raises what the caller shall see."""

    def __init__(self, connect: Callable[[], Awaitable[S]], limits: PoolLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._turns = Turns(limits.open_max)
        self._idle: list[_Idle[S]] = []
        self._is_closed = False
        self._closing: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.TimerHandle | None = None

    @property
    def width(self) -> int:
        """How many sessions may be at work at once now."""
        return self._turns.width

    async def run(self, work: Callable[[S], Coroutine[Any, Any, T]]) -> T:
        """Do the work on a session of its own; again, and alone, where it collided with another's.

        Drivers take their time to give up what they are cancelled in (they ask the server first), and a server that
        hangs makes that for ever. So work is never cancelled: when time is over, its connection is cut under it.

        Raises:
            DatabaseUnreachable: The time was over. Besides this, what `connect` and the work raise.
        """
        deadline_s = _now_s() + OPERATION_S_MAX
        while True:
            try:
                return await self._in_turn(work, deadline_s)
            except Collided:
                # Were the others let go on beside it, work that collided once could do so until its time is over: each
                # time it waits for the winner's commit, and the next one has begun meanwhile.
                self._turns.narrow(_ALONE_S)
                if _now_s() >= deadline_s:
                    raise

    async def _in_turn(self, work: Callable[[S], Coroutine[Any, Any, T]], deadline_s: float) -> T:
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._turns.acquire()
        except TimeoutError:
            raise DatabaseUnreachable("all connections to the database are in use") from None
        try:
            return await self._run(work, deadline_s)
        finally:
            self._turns.release()

    async def _run(self, work: Callable[[S], Coroutine[Any, Any, T]], deadline_s: float) -> T:
        used = self._take()
        if used is None:
            try:
                async with asyncio.timeout_at(deadline_s):
                    used = _Idle(await self._connect(), _now_s(), 0)
            except TimeoutError:
                raise DatabaseUnreachable(f"the database did not answer within {OPERATION_S_MAX:.0f} s") from None
        task = asyncio.get_running_loop().create_task(work(used.session))
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline_s - _now_s())
        except asyncio.CancelledError:
            self._abandon(used.session, task)
            raise
        if not done:
            self._abandon(used.session, task)
            raise DatabaseUnreachable(f"the database did not answer within {OPERATION_S_MAX:.0f} s")
        self._give_back(used)
        return task.result()

    def _abandon(self, session: S, task: asyncio.Task[T]) -> None:
        session.hang_up()

        async def forget() -> None:
            await asyncio.gather(task, return_exceptions=True)
            await session.close()

        self._later(forget())

    def _take(self) -> _Idle[S] | None:
        while self._idle:
            idle = self._idle.pop()
            if idle.session.is_usable() and not self._is_old(idle):
                return idle
            self._later(idle.session.close())
        return None

    def _is_old(self, idle: _Idle[S]) -> bool:
        return bool(self._limits.lifetime_s) and _now_s() - idle.born_s > self._limits.lifetime_s

    def _give_back(self, used: _Idle[S]) -> None:
        is_kept = not self._is_closed and len(self._idle) < self._limits.idle_max
        if not is_kept or not used.session.is_usable() or self._is_old(used):
            self._later(used.session.close())
            return
        used.since_s = _now_s()
        self._idle.append(used)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(_IDLE_S_MAX, self._reap)

    def _reap(self) -> None:
        """Close what has been idle for long. The list is oldest first, as sessions are taken from its end."""
        self._reaper = None
        before_s = _now_s() - _IDLE_S_MAX
        while self._idle and self._idle[0].since_s <= before_s:
            self._later(self._idle.pop(0).session.close())
        if self._idle:
            wait_s = self._idle[0].since_s + _IDLE_S_MAX - _now_s()
            self._reaper = asyncio.get_running_loop().call_later(max(wait_s, 1.0), self._reap)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        idle, self._idle = self._idle, []
        for one in idle:
            self._later(one.session.close())
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=1.0)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
