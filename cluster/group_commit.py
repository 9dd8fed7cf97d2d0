"""Group commit: while an entry is on its way, the write sets of all other requests gather for the next one."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from cluster.entry import encode, encoded_size
from cluster.errors import Conflict, EntryTooLarge, NoLeader, OutcomeUnknown
from cluster.outcome import Outcome, Rejected
from cluster.pysyncobj_seams import Refusal
from cluster.raft_settings import RaftSettings
from cluster.store import Write

NOT_LEADER: Final = "this node is not the active node of the cluster; nothing was written"
_TOO_SLOW: Final = "the cluster is too slow to take the write; nothing was written"
_UNKNOWN: Final = "leadership changed or time ran out before the write was confirmed; it may still take effect"


# With two, the leader gathers and encodes while the followers write; more would only make entries smaller.
_IN_FLIGHT_MAX: Final = 2


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
    deadline_s: float
    is_sent: bool = False


@dataclass(slots=True, eq=False)
class _Sent:
    body: bytes
    batch: list[_Waiting]


class GroupCommit:
    """Gathers write sets and hands them on as entries, a few at a time."""

    def __init__(
        self,
        settings: RaftSettings,
        propose: Callable[[bytes, Callable[[object], None]], None],
        wake: Callable[[], None],
    ) -> None:
        """Begin with nothing gathered.

        Args:
            propose: Takes an entry, and calls back with an AppliedEntry or a Refusal.
            wake: Has `collect` called at the end of this turn of the event loop: until then more may join.
        """
        self._settings = settings
        self._propose = propose
        self._wake = wake
        self._gathered: deque[_Waiting] = deque()
        self._gathered_bytes = 0
        self._in_flight: list[_Sent] = []
        self._give_up: asyncio.TimerHandle | None = None
        self._clearing: asyncio.TimerHandle | None = None

    async def commit(self, writes: Sequence[Write]) -> int:
        """As Store.commit. The caller has made sure that this node leads."""
        size = encoded_size(writes)
        if size > self._settings.max_entry_size:
            raise EntryTooLarge(f"the write is over max_entry_size ({self._settings.max_entry_size} bytes)")
        if self._gathered_bytes + size > self._settings.gathered_bytes_max:
            raise NoLeader("too many writes are waiting; nothing was written")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(writes, size, loop.create_future(), loop.time() + self._settings.commit_timeout_s)
        if self._clearing is None:
            self._clear_later(loop)
        self._gathered.append(waiting)
        self._gathered_bytes += size
        self._wake()
        try:
            return await waiting.answer
        finally:
            waiting.answer.cancel()  # whoever no longer waits is not sent either

    def _clear_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._clearing = loop.call_later(self._settings.commit_timeout_s / 20, self._clear_late, loop)

    def _clear_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell those whose time is over. One timer for all: a timer for each would cost as much as the commit."""
        now_s = loop.time()
        for waiting in (*self._gathered, *chain.from_iterable(sent.batch for sent in self._in_flight)):
            if waiting.deadline_s <= now_s:
                _fail(waiting, OutcomeUnknown(_UNKNOWN) if waiting.is_sent else NoLeader(_TOO_SLOW))
        self._clearing = None
        if self._gathered or self._in_flight:
            self._clear_later(loop)

    def collect(self) -> None:
        """Propose what has gathered, unless as many entries as may be are on their way."""
        while self._gathered and len(self._in_flight) < _IN_FLIGHT_MAX:
            batch = self._take()
            body = self._encoded(batch)
            if body is None:
                continue
            for waiting in batch:
                waiting.is_sent = True
            sent = _Sent(body, batch)
            self._in_flight.append(sent)
            self._propose(body, partial(self._done, sent))

    def own_sets(self, body: bytes) -> list[Sequence[Write]] | None:
        """The sets in an entry that was proposed here and is on its way: nobody needs to decode it here."""
        for sent in self._in_flight:
            if sent.body == body:
                return [waiting.writes for waiting in sent.batch]
        return None

    def refuse_gathered(self) -> None:
        """What gathered will never be sent."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, deque(), 0
        for waiting in gathered:
            _fail(waiting, NoLeader(NOT_LEADER))

    def lost_leadership(self) -> None:
        """What gathered will never be sent; what was sent may still be decided by the next leader, for a while."""
        self.refuse_gathered()
        if self._in_flight and self._give_up is None:
            loop = asyncio.get_running_loop()
            self._give_up = loop.call_later(self._settings.outcome_timeout_s, self._abandon)

    def stop(self) -> None:
        """Raft stops: nobody will hear of the outcome here."""
        self.lost_leadership()
        self._abandon()

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

    def _encoded(self, batch: list[_Waiting]) -> bytes | None:
        """The entry of a batch, without the sets that cannot be encoded; None when nothing is left."""
        try:
            return encode([waiting.writes for waiting in batch]) if batch else None
        except ValueError:
            for waiting in list(batch):
                try:
                    encode([waiting.writes])
                except ValueError as error:
                    _fail(waiting, error)
                    batch.remove(waiting)
            return self._encoded(batch)

    def _done(self, sent: _Sent, result: object) -> None:
        """Called by PySyncObj inside a tick: resolves futures, and must not raise."""
        if isinstance(result, AppliedEntry):
            for waiting, outcome in zip(sent.batch, result.outcomes, strict=True):
                if isinstance(outcome, Rejected):
                    _fail(waiting, Conflict(outcome.key))
                elif not waiting.answer.done():
                    waiting.answer.set_result(result.index)
        else:
            for waiting in sent.batch:
                _fail(waiting, NoLeader(NOT_LEADER) if result is Refusal.NEVER else OutcomeUnknown(_UNKNOWN))
        if sent in self._in_flight:
            self._in_flight.remove(sent)
            self._calm_down()
            self._wake()  # after those who were just answered, so that their next writes join

    def _abandon(self) -> None:
        for sent in self._in_flight:
            for waiting in sent.batch:
                _fail(waiting, OutcomeUnknown(_UNKNOWN))
        self._in_flight = []
        self._calm_down()

    def _calm_down(self) -> None:
        if not self._in_flight and self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
