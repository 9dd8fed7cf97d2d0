"""The thread of one snapshot: its result, its error, and that giving it up is heard."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from node.autosnap.errors import AutoSnapshotFailed
from node.autosnap.worker import Stop, in_thread


async def test_result_and_error() -> None:
    """Both come back, from a thread that the end of the process does not wait for."""
    assert await in_thread(lambda: threading.current_thread().daemon) is True

    def fails() -> None:
        raise AutoSnapshotFailed("full")

    with pytest.raises(AutoSnapshotFailed, match="full"):
        await in_thread(fails)


async def test_giving_up() -> None:
    """Whoever is cancelled goes on at once; the thread hears of it at the next chunk."""
    stop, ended, first = Stop(), threading.Event(), threading.Event()
    said: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"1"
        first.set()
        assert go_on.wait(20)
        yield b"2"

    def work() -> None:
        try:
            for _ in stop.guard(chunks()):
                pass
        except AutoSnapshotFailed as error:
            said.append(str(error))
        ended.set()

    go_on = threading.Event()
    task = asyncio.get_running_loop().create_task(in_thread(work))
    await asyncio.to_thread(first.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stop.set()
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 20)
    assert said == ["interrupted: the node stopped or leads no more"]
