"""An event loop on virtual time that knows whose callback each one is: a node can be paused, or die, between any two.

There is no selector, thread or clock in it. Time passes only when nothing is ready, to the next timer exactly.
"""

import asyncio
import contextlib
import heapq
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

_T = TypeVar("_T")


class Life:
    """One run of one node's process, from its start to its crash. Everything it schedules belongs to it."""

    __slots__ = ("context", "dead", "deferred", "node", "paused")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.dead = False
        self.paused = False
        self.deferred: list[_Handle] = []
        self.context: Context = copy_context()
        self.context.run(_LIFE.set, self)


_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class _Handle:
    __slots__ = ("args", "callback", "cancelled_", "context", "when_")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.when_ = when
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_


# Most of an event loop is for sockets, signals and subprocesses, of which there is none here.
_Loop: Any = asyncio.AbstractEventLoop


class SimLoop(_Loop):  # type: ignore[misc]
    """What asyncio and `cluster/` use of a loop, and no more."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.steps = 0
        self.after_step: Callable[[Life], None] = lambda life: None
        # Gets the exception of a callback, and whose callback it was.
        self.on_error: Callable[[BaseException, Life | None], None] = _raise
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        return self.now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(callback, args, copy_context() if context is None else context, self.now_s)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = _Handle(callback, args, copy_context() if context is None else context, when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Futures of the dead that nobody asks: of no interest. What matters goes through `on_error`."""

    def resume(self, life: Life) -> None:
        """Let a paused life go on with everything that would have happened meanwhile."""
        life.paused = False
        self._ready.extend(life.deferred)
        life.deferred = []

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run until main is done, and return its result."""
        asyncio.events._set_running_loop(self)
        try:
            task: asyncio.Task[_T] = self.create_task(main)
            while not task.done():
                self._turn()
            return task.result()
        finally:
            asyncio.events._set_running_loop(None)

    def close(self) -> None:
        """End what is unfinished, here and now: left to the garbage collector it would end in any order."""
        asyncio.events._set_running_loop(self)
        try:
            for task in self._tasks:
                if not task.done():
                    with contextlib.suppress(BaseException), warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # some have not even begun
                        coroutine: Any = task.get_coro()
                        coroutine.close()
        finally:
            asyncio.events._set_running_loop(None)
        self._tasks, self._timers = [], []
        self._ready.clear()

    def _turn(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            if not timers:
                raise AssertionError("nothing will ever happen again")
            self.now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= self.now_s:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled_:
                continue
            context = handle.context
            life = context.get(_LIFE)
            if life is not None:
                if life.dead:
                    continue
                if life.paused:
                    life.deferred.append(handle)
                    continue
            self.steps += 1
            try:
                context.run(handle.callback, *handle.args)
            except BaseException as error:
                self.on_error(error, life)
            if life is not None and not life.dead:
                self.after_step(life)


def _raise(error: BaseException, life: Life | None) -> None:
    raise error
