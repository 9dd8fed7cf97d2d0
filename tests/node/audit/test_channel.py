"""The way of lines to a sink: order, time and what happens when a sink fails or hangs."""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from node.audit import channel as channels
from node.audit.channel import Channel, Record
from node.audit.options import FileOptions
from node.audit.sinks import File, LinesRefused
from node.sources import SystemSources

WAIT_S = 20.0


class Gate:
    """A sink that hangs in its first write until it is let go."""

    may_block = True

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.go = threading.Event()
        self.entered = threading.Event()
        self.reopened = 0

    def open(self) -> None: ...

    def write(self, lines: Sequence[bytes]) -> None:
        self.entered.set()
        assert self.go.wait(WAIT_S)
        self.batches.append(list(lines))

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None: ...


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def _send(channel: Channel, *lines: bytes) -> list[Record]:
    records = []
    for line in lines:
        record = Record(1)
        channel.send(line, record)
        records.append(record)
    return records


async def test_a_regular_file_is_written_at_once(tmp_path: Path) -> None:
    """When send returns, the record is in the file and its fate known: nothing needs to wait."""
    path = tmp_path / "audit.log"
    channel = Channel("file/", File(FileOptions(path=str(path)), []), SystemSources())
    (record,) = _send(channel, b"1\n")
    assert record.outcome is True
    assert path.read_bytes() == b"1\n"
    channel.close()
    (late,) = _send(channel, b"2\n")
    assert late.outcome is False


async def test_lines_of_one_turn_reach_a_slow_sink_together() -> None:
    """A thread is handed one batch per turn of the loop, in order, and each line learns its fate."""
    sink = Gate()
    sink.go.set()
    channel = Channel("slow/", sink, SystemSources())
    records = _send(channel, b"1\n", b"2\n", b"3\n")
    assert all([await record.wait() for record in records])
    assert sink.batches == [[b"1\n", b"2\n", b"3\n"]]
    channel.close()


async def test_a_hanging_sink_is_given_up_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records fail at the deadline, later ones at once, and when it goes on it is used again."""
    monkeypatch.setattr(channels, "RECORD_TIMEOUT_S", 0.1)
    sink = Gate()
    channel = Channel("hung/", sink, SystemSources())
    (first,) = _send(channel, b"1\n")
    assert await asyncio.wait_for(first.wait(), WAIT_S) is False
    assert "nothing was taken" in channel.problem
    (second,) = _send(channel, b"2\n")
    assert second.outcome is False
    sink.go.set()
    await _until(lambda: not channel.problem)
    (third,) = _send(channel, b"3\n")
    assert await asyncio.wait_for(third.wait(), WAIT_S) is True
    channel.close()


async def test_what_waits_for_a_hanging_sink_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound records fail at once, instead of filling the memory."""
    monkeypatch.setattr(channels, "QUEUE_BYTES_MAX", 10)
    sink = Gate()
    channel = Channel("hung/", sink, SystemSources())
    first, second = _send(channel, b"12345678\n", b"12345678\n")
    assert second.outcome is False
    sink.go.set()
    assert await first.wait() is True
    channel.close()


async def test_one_device_suffices_and_a_hanging_one_delays_nobody(tmp_path: Path) -> None:
    """A record is made with the first device that has it; a pipe that nobody reads holds nothing up."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        hung = Channel("pipe/", File(FileOptions(path=str(pipe)), []), SystemSources())
        good = Channel("file/", File(FileOptions(path=str(tmp_path / "a")), []), SystemSources())
        loop = asyncio.get_running_loop()
        for _ in range(300):  # far more than the pipe holds
            record, started = Record(2), loop.time()
            hung.send(b"x" * 4096 + b"\n", record)
            good.send(b"line\n", record)
            assert record.outcome is True
            assert loop.time() - started < 1
            await asyncio.sleep(0)
        assert (tmp_path / "a").read_bytes().count(b"\n") == 300
        hung.close()
        good.close()
    finally:
        os.close(reader)


async def test_a_full_disk_fails_the_record(tmp_path: Path) -> None:
    """ENOSPC is an answer like any other: the record was not made, and the device says why."""
    channel = Channel("full/", File(FileOptions(path="/dev/full"), []), SystemSources())
    (record,) = _send(channel, b"1\n")
    assert await asyncio.wait_for(record.wait(), WAIT_S) is False
    assert channel.problem == "No space left on device"
    channel.close()


async def test_a_device_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """Its records fail until opening works; then they are made, without anyone's help."""
    folder = tmp_path / "folder"
    folder.write_text("in the way")
    channel = Channel("file/", File(FileOptions(path=str(folder / "a")), []), SystemSources())
    assert channel.problem
    (first,) = _send(channel, b"1\n")
    assert await asyncio.wait_for(first.wait(), WAIT_S) is False
    folder.unlink()
    (second,) = _send(channel, b"2\n")
    assert await asyncio.wait_for(second.wait(), WAIT_S) is True
    assert (folder / "a").read_bytes() == b"2\n"
    assert not channel.problem
    channel.close()


async def test_only_the_lines_that_failed_fail() -> None:
    """A datagram that was too long takes none of its batch with it."""

    class Picky(Gate):
        def write(self, lines: Sequence[bytes]) -> None:
            raise LinesRefused(OSError(90, "Message too long"), frozenset({1}))

    channel = Channel("syslog/", Picky(), SystemSources())
    records = _send(channel, b"1\n", b"2\n", b"3\n")
    assert [await record.wait() for record in records] == [True, False, True]
    channel.close()


async def test_a_sink_that_breaks_fails_its_records_and_no_more() -> None:
    """An unforeseen error in the thread is a failed record, and the next one is taken."""

    class Broken(Gate):
        def write(self, lines: Sequence[bytes]) -> None:
            if not self.batches:
                self.batches.append([])
                raise ZeroDivisionError

    channel = Channel("broken/", Broken(), SystemSources())
    (first,) = _send(channel, b"1\n")
    assert await first.wait() is False
    (second,) = _send(channel, b"2\n")
    assert await second.wait() is True
    channel.close()


async def test_a_slow_file_moves_to_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one write that took long, the event loop no longer waits for that file."""
    monkeypatch.setattr(channels, "SLOW_WRITE_S", -1.0)
    path = tmp_path / "audit.log"
    channel = Channel("file/", File(FileOptions(path=str(path)), []), SystemSources())
    (first,) = _send(channel, b"1\n")
    assert first.outcome is True
    (second,) = _send(channel, b"2\n")
    assert second.outcome is None
    assert await second.wait() is True
    assert path.read_bytes() == b"1\n2\n"
    channel.close()


async def test_reopening_keeps_the_order() -> None:
    """What was sent before SIGHUP goes to the old file."""
    sink = Gate()
    channel = Channel("slow/", sink, SystemSources())
    (before,) = _send(channel, b"1\n")
    channel.reopen()
    assert sink.reopened == 0
    sink.go.set()
    assert await before.wait() is True
    await _until(lambda: sink.reopened == 1)
    channel.close()
