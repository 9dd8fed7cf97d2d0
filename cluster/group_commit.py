"""Group commit: while one entry is on its way, the write sets of all other requests gather for the next one."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cluster.entry import encode, encoded_size
from cluster.errors import Conflict, EntryTooLarge, NoLeader, OutcomeUnknown
from cluster.outcome import Outcome, Rejected
from cluster.pysyncobj_seams import Refusal
from cluster.raft_settings import RaftSettings
from cluster.store import Write

NOT_LEADER: Final = "this node is not the active node of the cluster; nothing was written"
_UNKNOWN: Final = "leadership changed or time ran out before the write was confirmed; it may still take effect"


@dataclass(frozen=True, slots=True)
class AppliedEntry:
    """What apply made of an entry: its index and the outcome of each of its sets."""

    index: int
    outcomes: Sequence[Outcome]


@dataclass(slots=True, eq=False)
class _Waiting:
    writes: Sequence[Write]
    size: int
    answer: asyncio.Future[int]
    is_sent: bool = False


class GroupCommit:
    """Hands one entry at a time to propose, which calls back with an AppliedEntry or a Refusal."""

    def __init__(self, settings: RaftSettings, propose: Callable[[bytes, Callable[[object], None]], None]) -> None:
        self._settings = settings
        self._propose = propose
        self._gathered: deque[_Waiting] = deque()
        self._gathered_bytes = 0
        self._sent: list[_Waiting] = []
        self._give_up: asyncio.TimerHandle | None = None

    async def commit(self, writes: Sequence[Write]) -> int:
        """As Store.commit. The caller has made sure that this node leads."""
        size = encoded_size(writes)
        if size > self._settings.max_entry_size:
            raise EntryTooLarge(f"the write is over max_entry_size ({self._settings.max_entry_size} bytes)")
        if self._gathered_bytes + size > self._settings.gathered_bytes_max:
            raise NoLeader("too many writes are waiting; nothing was written")
        waiting = _Waiting(writes, size, asyncio.get_running_loop().create_future())
        self._gathered.append(waiting)
        self._gathered_bytes += size
        self._send_next()
        try:
            async with asyncio.timeout(self._settings.commit_timeout_s):
                return await waiting.answer
        except TimeoutError:
            if waiting.is_sent:
                raise OutcomeUnknown(_UNKNOWN) from None
            raise NoLeader("the cluster is too slow to take the write; nothing was written") from None
        finally:
            waiting.answer.cancel()  # whoever no longer waits is not sent either

    def lost_leadership(self) -> None:
        """What gathered will never be sent; what was sent may still be decided by the next leader, for a while."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, deque(), 0
        for waiting in gathered:
            _fail(waiting, NoLeader(NOT_LEADER))
        if self._sent and self._give_up is None:
            loop = asyncio.get_running_loop()
            self._give_up = loop.call_later(self._settings.outcome_timeout_s, self._abandon)

    def stop(self) -> None:
        """Raft stops: nobody will hear of the outcome here."""
        self.lost_leadership()
        self._abandon()

    def _send_next(self) -> None:
        if self._sent:
            return
        batch = self._take()
        if not batch:
            return
        self._sent = batch
        for waiting in batch:
            waiting.is_sent = True
        self._propose(encode([waiting.writes for waiting in batch]), lambda result: self._done(batch, result))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._gathered and size + self._gathered[0].size <= self._settings.max_entry_size:
            waiting = self._gathered.popleft()
            self._gathered_bytes -= waiting.size
            if not waiting.answer.done():
                batch.append(waiting)
                size += waiting.size
        return batch

    def _done(self, batch: list[_Waiting], result: object) -> None:
        """Called by PySyncObj inside a tick: resolves futures, and must not raise."""
        if isinstance(result, AppliedEntry):
            for waiting, outcome in zip(batch, result.outcomes, strict=True):
                if isinstance(outcome, Rejected):
                    _fail(waiting, Conflict(outcome.key))
                elif not waiting.answer.done():
                    waiting.answer.set_result(result.index)
        else:
            for waiting in batch:
                _fail(waiting, NoLeader(NOT_LEADER) if result is Refusal.NEVER else OutcomeUnknown(_UNKNOWN))
        if batch is self._sent:
            self._free()
            self._send_next()

    def _abandon(self) -> None:
        for waiting in self._sent:
            _fail(waiting, OutcomeUnknown(_UNKNOWN))
        self._free()

    def _free(self) -> None:
        self._sent = []
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
