"""A thread of its own for a snapshot: it writes for minutes, and must hold up neither the loop nor the shared pool."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from node.autosnap.errors import AutoSnapshotFailed

T = TypeVar("T")


class Stop:
    """Tells the thread that nobody waits for its snapshot any more. Safe between threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From now on the snapshot is given up."""
        self._event.set()

    def guard(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises AutoSnapshotFailed between two of them once nobody waits for more."""
        for chunk in chunks:
            if self._event.is_set():
                raise AutoSnapshotFailed("interrupted: the node stopped or leads no more")
            yield chunk


async def in_thread(work: Callable[[], T]) -> T:
    """The result of blocking work. Whoever is cancelled here does not wait for it; nor does the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # without an error it is the result of the work

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="snapshot-auto", daemon=True).start()
    return await done
