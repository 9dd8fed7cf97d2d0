"""The way of lines to one sink, in their order and within a bounded time.

A sink that is quick is written at once: a write to a file's page cache costs less than anything that would gather lines
or wait for them. One that may block, or has just been slow, is written by a thread of its own, the lines of one turn of
the event loop together, so that it delays neither requests nor other sinks.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.audit.sinks import LinesRefused, Sink
from node.sources import Sources
from node.telemetry.meters import DeviceMeters, NodeMeters

logger = logging.getLogger(__name__)

RECORD_TIMEOUT_S: Final = 5.0  # a device that has not taken a record by then counts as failed for it
QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024  # lines that wait for one blocked device; what is beyond fails at once
SLOW_WRITE_S: Final = 0.01  # a write that takes longer would show in the tail of every request's latency
_REOPEN: Final = "reopen"
_CLOSE: Final = "close"
QUICK_AGAIN_S: Final = 30.0  # how long after its last slow write a sink is trusted on the event loop again


class Record:
    """The fate of one line over all devices: true with the first that has it, false when the last has failed."""

    __slots__ = ("_future", "is_response", "left", "outcome")

    def __init__(self, devices: int, *, is_response: bool = False) -> None:
        self.left = devices
        self.is_response = is_response
        self.outcome: bool | None = None if devices else True  # without a device there is nothing to record
        self._future: asyncio.Future[bool] | None = None

    def succeeded(self) -> None:
        """A device has it."""
        self._settle(True)

    def failed(self) -> None:
        """A device will not have it."""
        self.left -= 1
        if self.left <= 0:
            self._settle(False)

    async def wait(self) -> bool:
        """The outcome, once it is certain."""
        if self.outcome is None:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        return bool(self.outcome)

    def _settle(self, outcome: bool) -> None:
        if self.outcome is None:
            self.outcome = outcome
            if self._future is not None and not self._future.done():
                self._future.set_result(outcome)


@dataclass(slots=True)
class _Batch:
    lines: list[bytes]
    records: list[Record]
    size: int = 0
    deadline: asyncio.TimerHandle | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    error: OSError | None
    seconds: float


class Channel:
    """One device's queue. All methods are called on the event loop."""

    def __init__(self, name: str, sink: Sink, sources: Sources, meters: DeviceMeters | None = None) -> None:
        self.name = name
        self._meters = meters or NodeMeters().of_device(name)
        self.problem = ""  # why the device fails now; empty while it works
        self._sink = sink
        self._sources = sources
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._records: list[Record] = []
        self._waiting_bytes = 0
        self._outstanding = 0
        self._worker: queue.SimpleQueue[_Batch | str] | None = None
        self._is_slow = False
        self._slow_at_s = 0.0
        self._is_late = False
        self._is_closed = False
        try:
            sink.open()
        except OSError as error:
            self._note(error)

    def send(self, line: bytes, record: Record) -> None:
        """Take a line; `record` learns what became of it."""
        if self._is_closed or self._is_late or self._waiting_bytes + len(line) > QUEUE_BYTES_MAX:
            self._failed(record)
        elif self._is_on_loop():
            self._write_now((line,), (record,))
        else:
            if not self._lines:
                self._loop.call_soon(self._flush)
            self._waiting_bytes += len(line)
            self._lines.append(line)
            self._records.append(record)

    def send_both(self, lines: tuple[bytes, bytes], records: tuple[Record, Record]) -> None:
        """As `send` of one and then the other, in one write where that may be: a system call less."""
        if not (self._is_closed or self._is_late) and self._is_on_loop():
            self._write_now(lines, records)
        else:
            for line, record in zip(lines, records, strict=True):
                self.send(line, record)

    def reopen(self) -> None:
        """Let the sink begin a new file, after everything that was sent before."""
        self._flush()
        if self._is_on_loop():
            self._reopen()
        else:
            self._hand_over(_REOPEN)

    def close(self) -> None:
        """Write what was sent, then close the sink; what comes later fails."""
        self._flush()
        self._is_closed = True
        if self._worker is None:
            self._sink.close()
        else:
            self._worker.put(_CLOSE)

    def _write_now(self, lines: Sequence[bytes], records: Sequence[Record]) -> None:
        clock = self._sources.monotonic_s
        started_s = clock()
        try:
            self._sink.write(lines)
        except OSError as error:
            self._note(error)
            self._tell_of(error, records, clock() - started_s)
        else:
            for record in records:
                self._took(record, clock() - started_s)
            if self.problem:
                self._note(None)
        if clock() - started_s > SLOW_WRITE_S:
            self._is_slow, self._slow_at_s = True, started_s

    def _flush(self) -> None:
        if not self._lines:
            return
        batch = _Batch(self._lines, self._records, sum(map(len, self._lines)))
        self._lines, self._records = [], []
        batch.deadline = self._loop.call_later(RECORD_TIMEOUT_S, self._late, batch)
        self._hand_over(batch)

    def _is_on_loop(self) -> bool:
        """Whether the sink is this thread's to use. A worker that has work left keeps it, so that order holds."""
        if self._outstanding or self._lines or self._sink.may_block:
            return False
        return not self._is_slow or self._sources.monotonic_s() - self._slow_at_s > QUICK_AGAIN_S

    def _hand_over(self, work: "_Batch | str") -> None:
        if self._worker is None:
            self._worker = queue.SimpleQueue()
            name = f"audit {self.name}"
            threading.Thread(target=self._work, args=(self._worker,), name=name, daemon=True).start()
        self._outstanding += 1
        self._worker.put(work)

    def _work(self, work: "queue.SimpleQueue[_Batch | str]") -> None:
        """The worker's life. A daemon thread, because one that hangs in a write must not keep the process."""
        while (item := work.get()) != _CLOSE:
            if isinstance(item, _Batch):
                self._tell(self._handled, item, _written(self._sink, item.lines, self._sources))
            else:
                self._reopen()
                self._tell(self._reopened)
        self._sink.close()

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the outcome
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _reopened(self) -> None:
        self._outstanding -= 1

    def _handled(self, batch: _Batch, outcome: _Outcome) -> None:
        self._outstanding -= 1
        self._waiting_bytes -= batch.size
        self._is_late = False
        if batch.deadline is not None:
            batch.deadline.cancel()
        self._settle(batch, outcome)

    def _late(self, batch: _Batch) -> None:
        batch.is_late = self._is_late = True
        self._note(TimeoutError(0, f"nothing was taken for {RECORD_TIMEOUT_S:.0f} s"))
        self._fail(batch)

    def _settle(self, batch: _Batch, outcome: _Outcome) -> None:
        if outcome.seconds > SLOW_WRITE_S:
            self._is_slow, self._slow_at_s = True, self._sources.monotonic_s()
        error = outcome.error
        if error is not None or self.problem:
            self._note(error)
        if batch.is_late:
            return
        if error is None:
            for record in batch.records:
                self._took(record, outcome.seconds)
        else:
            self._tell_of(error, batch.records, outcome.seconds)

    def _tell_of(self, error: OSError, records: Sequence[Record], took_s: float) -> None:
        """What a write that failed, wholly or in part, means for its lines."""
        for place, record in enumerate(records):
            if isinstance(error, LinesRefused) and place not in error.failed:
                self._took(record, took_s)
            else:
                self._failed(record)

    def _took(self, record: Record, took_s: float) -> None:
        self._meters.took(is_response=record.is_response, took_s=took_s)
        record.succeeded()

    def _failed(self, record: Record) -> None:
        self._meters.failed(is_response=record.is_response)
        record.failed()

    def _fail(self, batch: _Batch) -> None:
        for record in batch.records:
            self._failed(record)

    def _reopen(self) -> None:
        try:
            self._sink.reopen()
        except OSError as error:
            logger.error("audit device %s could not be reopened: %s", self.name, _text_of(error))

    def _note(self, error: OSError | None) -> None:
        problem = "" if error is None else _text_of(error)
        if problem and not self.problem:
            logger.error("audit device %s cannot record: %s", self.name, problem)
        elif self.problem and not problem:
            logger.warning("audit device %s records again", self.name)
        self.problem = problem


def _written(sink: Sink, lines: list[bytes], sources: Sources) -> _Outcome:
    started_s = sources.monotonic_s()
    try:
        sink.write(lines)
    except Exception as error:
        # Whatever goes wrong, the lines are not recorded, and the thread must live on to take the next ones.
        problem = error if isinstance(error, OSError) else OSError(0, type(error).__name__)
        return _Outcome(problem, sources.monotonic_s() - started_s)
    return _Outcome(None, sources.monotonic_s() - started_s)


def _text_of(error: OSError) -> str:
    return error.strerror or type(error).__name__
