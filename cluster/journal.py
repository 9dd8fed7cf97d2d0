"""The Raft log of this node: what `pysyncobj.journal.FileJournal` promises, kept.

An entry that `synced_index` covers survives the loss of power; a term or a vote does as soon as `setCurrentTerm`
returns. All methods belong to the event loop's thread. The method names in camel case are PySyncObj's.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, overload

from cluster.disk import Disk
from cluster.errors import DataFolderRefused, StorageFailed
from cluster.journal_files import Batch, Segments
from cluster.journal_format import RESET, LogEntry, cut_record, entry_record, keep_record
from cluster.sync_pace import SyncPace
from cluster.vote import Vote, VoteFile

# Until the first commit is known, PySyncObj counts its own first entry as committed.
_FIRST_COMMIT_INDEX: Final = 1


class _InFlight:
    """A batch that was handed to the worker, and what became of it."""

    def __init__(self, batch: Batch, last_index: int) -> None:
        self.batch = batch
        self.last_index = last_index  # lowered when Raft drops entries meanwhile
        self.done = threading.Event()
        self.error: OSError | None = None
        self.settled = False


class Journal:
    """Entries in memory, and on disk in segments; `flush` starts the one sync that makes all added ones durable.

    Invariant: no frame is written before the previous one was synced, and none after an error.
    """

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threaded: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the journal below folder (`journal/` and `vote`), creating it if need be.

        Args:
            call_soon: Runs a function soon on the event loop's thread; is called from the worker thread too.
            threaded: False syncs on the calling thread always (the simulation: one thread, one order of events).
            clock: Seconds, of which only differences count.

        Raises:
            DataFolderRefused: Something that was durable is damaged or missing. Nothing was changed.
        """
        self.on_synced: Callable[[int], None] = lambda index: None
        self.on_failed: Callable[[StorageFailed], None] = lambda error: None
        # Called with the seconds that a write and its sync took, on the thread that did it.
        self.on_written: Callable[[float], None] = lambda took_s: None
        self.written_records = 0  # in the last of them
        self._call_soon = call_soon
        self._clock = clock
        self._pace = SyncPace(threaded=threaded)
        self._failure: StorageFailed | None = None
        self._pending: list[bytes] = []
        self._pending_highest = 0
        self._pending_resets = False
        self._in_flight: _InFlight | None = None
        self._jobs: SimpleQueue[_InFlight | None] = SimpleQueue()
        self._worker: threading.Thread | None = None

        self._vote_file = VoteFile(folder / "vote", disk)
        self._segments = Segments(folder / "journal", disk)
        try:
            disk.make_folder(folder)
            disk.make_folder(folder / "journal")
            stored = self._vote_file.load()
            replayed = self._segments.load()
        except OSError as error:
            raise DataFolderRefused(f"the journal in {folder} cannot be read: {error}") from error
        self._entries = replayed.entries
        if stored is None and self._entries and self._entries[-1][2] > 0:
            raise self._vote_file.refuse_missing()
        self._vote = stored or Vote()
        self._synced_index = self._last_index
        # A commit index noted with entries that were torn off is true, but not yet ours to act on.
        self._commit_index = max(_FIRST_COMMIT_INDEX, min(replayed.commit_index, self._last_index))

    # Entries -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, item: int) -> LogEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[LogEntry]: ...
    def __getitem__(self, item: int | slice) -> LogEntry | list[LogEntry]:
        return self._entries[item]

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append an entry; one with this index and all behind it are dropped first. Durable after `flush`."""
        self._require_working()
        if self._entries and idx <= self._last_index:
            self.deleteEntriesFrom(max(0, idx - self._entries[0][1]))
        if self._entries and idx != self._last_index + 1:
            raise ValueError(f"entry {idx} does not follow entry {self._last_index}")
        self._entries.append((command, idx, term))
        self._pending.append(entry_record(command, idx, term))
        self._pending_highest = max(self._pending_highest, idx)

    def clear(self) -> None:
        """Drop every entry."""
        self._require_working()
        self._entries.clear()
        self._commit_index = _FIRST_COMMIT_INDEX
        self._pending = [RESET]
        self._pending_highest = 0
        self._pending_resets = True
        self._forget_synced_above(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803 - PySyncObj's names
        """Drop the entries from this position in the list on."""
        self._require_working()
        if entryFrom >= len(self._entries):
            return
        self._pending.append(cut_record(self._entries[entryFrom][1]))
        del self._entries[entryFrom:]
        self._forget_synced_above(self._last_index)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803 - PySyncObj's names
        """Drop the entries before this position in the list; their segments are deleted with the next syncs."""
        self._require_working()
        if entryTo <= 0:
            return
        del self._entries[:entryTo]
        if self._entries:
            self._pending.append(keep_record(self._entries[0][1]))
        else:
            self.clear()

    def reset_to(self, prev_entry: LogEntry, last_entry: LogEntry) -> None:
        """Start over at these two entries (of a snapshot just installed). Durable when it returns."""
        self.clear()
        self.add(*prev_entry)
        self.add(*last_entry)
        self.sync_now()

    # Syncing -----------------------------------------------------------------------------------------------------

    @property
    def synced_index(self) -> int:
        """The highest index up to which every entry is on stable storage."""
        return self._synced_index

    @property
    def tail_was_cut(self) -> bool:
        """Whether the start has cut off the last frame: torn while it was written, or rotten since."""
        return self._segments.tail_was_cut

    def flush(self) -> None:
        """Have everything added so far written and synced; `on_synced` tells when. Once per turn of the event loop.

        Meanwhile what is added gathers for the next sync, which starts by itself if `flush` was called for it.
        """
        self._require_working()
        if not self._pending or self._in_flight is not None:
            return
        flight = self._take_pending()
        if self._pace.wants_inline(self._clock()):
            self._write(flight)
            self._settle(flight)
        else:
            self._start_worker()
            self._jobs.put(flight)

    def sync_now(self) -> None:
        """Return only once everything added is durable. Blocks: the last resort before a commit is counted.

        Raises:
            StorageFailed: It is not, and nothing more can be.
        """
        self._require_working()
        before = self._synced_index
        if self._in_flight is not None:
            self._in_flight.done.wait()
            self._settle(self._in_flight, announce=False)
        if self._pending and self._failure is None:
            flight = self._take_pending()
            self._write(flight)
            self._settle(flight, announce=False)
        self._require_working()
        if self._synced_index != before:
            # Not from here: this may run inside a tick of PySyncObj, and the driver would start another within it.
            self._call_soon(lambda: self.on_synced(self._synced_index))

    def _take_pending(self) -> _InFlight:
        first = self._entries[0][1] if self._entries else 0
        self.written_records = len(self._pending)
        batch = Batch(self._pending, self._commit_index, first, self._pending_highest, self._pending_resets)
        self._pending, self._pending_highest, self._pending_resets = [], 0, False
        self._in_flight = _InFlight(batch, self._last_index)
        return self._in_flight

    def _write(self, flight: _InFlight) -> None:
        started = self._clock()
        try:
            self._segments.write(flight.batch)
        except OSError as error:
            flight.error = error
        took_s = self._clock() - started
        self.on_written(took_s)
        self._pace.note(self._clock(), took_s, inline=threading.current_thread() is not self._worker)
        flight.done.set()

    def _settle(self, flight: _InFlight, *, announce: bool = True) -> None:
        """Take over the result of a batch, once, on the event loop's thread."""
        if flight.settled:
            return
        flight.settled = True
        self._in_flight = None
        if flight.error is not None:
            self._fail(flight.error)
            return
        self._synced_index = flight.last_index
        if announce:
            self.on_synced(self._synced_index)

    def _settle_and_go_on(self, flight: _InFlight) -> None:
        self._settle(flight)
        if self._failure is None:
            self.flush()

    def _forget_synced_above(self, index: int) -> None:
        self._synced_index = min(self._synced_index, index)
        if self._in_flight is not None:
            self._in_flight.last_index = min(self._in_flight.last_index, index)

    def _start_worker(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="journal-sync", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while (flight := self._jobs.get()) is not None:
            self._write(flight)
            self._call_soon(partial(self._settle_and_go_on, flight))

    def _fail(self, error: OSError) -> None:
        if self._failure is None:
            self._failure = StorageFailed(
                f"the journal could not be written ({error.strerror or type(error).__name__}); the node stops. "
                "Check the disk and its free space, then start the node again"
            )
            self.on_failed(self._failure)

    def _require_working(self) -> None:
        if self._failure is not None:
            raise StorageFailed(*self._failure.args)

    @property
    def _last_index(self) -> int:
        return self._entries[-1][1] if self._entries else 0

    # Commit index, term and vote ---------------------------------------------------------------------------------

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803 - PySyncObj's names
        """Note the commit index, as a hint for the next start; never lets one pass that is not durable here."""
        self._commit_index = raftCommitIndex
        if raftCommitIndex > self._synced_index and (self._pending or self._in_flight is not None):
            self.sync_now()

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - PySyncObj's name
        """The commit index noted last; after a restart the last one that was stored along with entries."""
        return self._commit_index

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803 - PySyncObj's names
        """Store term and vote, durable when it returns: before any message that reflects them. Raises StorageFailed."""
        self._require_working()
        try:
            self._vote_file.store(Vote(term, votedForNodeId))
        except OSError as error:
            self._fail(error)
            self._require_working()
        self._vote = Vote(term, votedForNodeId)

    def getCurrentTerm(self) -> int:  # noqa: N802 - PySyncObj's name
        """The Raft term stored last; 0 on a new node."""
        return self._vote.raft_term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - PySyncObj's name
        """Who got this node's vote in the current term."""
        return self._vote.node_id

    # Life --------------------------------------------------------------------------------------------------------

    def onOneSecondTimer(self) -> None:  # noqa: N802 - PySyncObj's name
        """Nothing to do: the commit index is stored along with entries."""

    def _destroy(self) -> None:
        """Make everything durable and close. After a clean end no frame with entries is the last one in the file.

        That closing frame is proof at the next start: damage to the entries before it is told from a torn write.
        """
        try:
            if self._failure is None:
                self._pending.append(b"")
                self.sync_now()
        except StorageFailed:
            pass  # on_failed was told, and what is not durable was never acknowledged
        finally:
            self._jobs.put(None)
            if self._worker is not None:
                self._worker.join()
            self._segments.close()
