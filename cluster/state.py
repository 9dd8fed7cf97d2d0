"""The state machine of one node: what the applied Raft entries say, in LMDB and in front of it in memory.

Applying an entry touches memory only. What has gathered is written to LMDB in one synced transaction, together with
the index it reflects, in a thread; after a crash the journal replays what LMDB has not seen. `apply` never raises for
what an entry says. All methods belong to the event loop's thread, but for `prepare_import` and reading a snapshot.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final
from weakref import WeakSet

import lmdb

from cluster import swap
from cluster.errors import DataFolderRefused, StorageFailed
from cluster.flusher import Flight, Flusher, is_full
from cluster.integrity import check_file
from cluster.keys import behind, names_below
from cluster.lmdb_check import REMEDY, FileDamaged
from cluster.outcome import APPLIED, Applied, Outcome, Rejected, first_conflict
from cluster.overlay import Overlay
from cluster.snapshot import SnapshotReader, records, verify
from cluster.store import Check, Put, Stored, Write
from cluster.table import Check as FileCheck
from cluster.table import Meta, Table
from cluster.watchers import Watchers

__all__ = ["Applied", "Rejected", "State"]

# Where the disk is slower than the log for so long, applying waits for it: memory must not grow without end.
BACKLOG_BYTES_MAX: Final = 64 * 1024 * 1024

# Rows that `scan` reads at a time: what an entry applied between two of them changes is seen by the later ones.
_SCAN_ROWS: Final = 256


class State:
    """Replicated keys, the peers, and the local table.

    Invariant: LMDB, the overlay in flight and the active overlay, in this order, are the entries up to
    `applied_index`; LMDB alone is those up to `durable_index`.
    """

    def __init__(
        self,
        folder: Path,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threaded: bool = True,
    ) -> None:
        """Open or create `vault.db` in folder; finishes an import that a crash has cut off.

        Args:
            call_soon: Runs a function soon on the event loop's thread; is called from the flusher's too.
            threaded: False writes on the calling thread, when an overlay is full or on `flush_now` (the simulation).

        Raises:
            DataFolderRefused: The LMDB file is damaged: it was read to its end, without LMDB, before LMDB maps it.
        """
        self.on_failed: Callable[[StorageFailed], None] = lambda error: None
        # Called with the seconds that gathering applied entries took, and writing them.
        self.on_flushed: Callable[[float, float], None] = lambda created_s, persisted_s: None
        self._folder = folder
        self._threaded = threaded
        self._failure: StorageFailed | None = None
        self._watchers = Watchers()
        self._call_soon = call_soon
        # Views of the file that a larger map or another file would make useless: closed before.
        self._views: WeakSet[SnapshotReader | FileCheck] = WeakSet()
        self._table = self._open_table()
        self._durable = self._applied = self._table.meta()
        self._active = Overlay()
        self._flight: Flight | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._flusher = Flusher(call_soon, self._begin_flush)

    def _open_table(self) -> Table:
        """The table below this state. The simulation has one in memory."""
        if not swap.recover(self._folder):
            Table.create(self._folder / swap.NEW)
            swap.swap_in(self._folder, self._folder / swap.NEW)
        file = self._folder / swap.CURRENT / "data.mdb"
        try:
            check_file(file)
        except (FileDamaged, OSError) as error:
            raise DataFolderRefused(f"{file} is damaged: {error}. {REMEDY}") from None
        return Table(self._folder / swap.CURRENT)

    # Applying ----------------------------------------------------------------------------------------------------

    @property
    def applied_index(self) -> int:
        """Index of the last entry whose effect reads show."""
        return self._applied.index

    @property
    def applied(self) -> Meta:
        """The last two applied entries, and the peers as of the last."""
        return self._applied

    @property
    def durable_index(self) -> int:
        """Index of the last entry in LMDB: the journal may drop the entries up to it, as replay begins behind it."""
        return self._durable.index

    def apply(self, index: int, term: int, sets: Iterable[Sequence[Write]]) -> list[Outcome]:
        """Apply an entry: its sets in order, each whole or not at all. An entry already applied changes nothing.

        Raises:
            StorageFailed: The local disk failed before. Never for what the entry says.
        """
        self._require_working()
        if index <= self._applied.index:
            return [APPLIED for _ in sets]
        outcomes: list[Outcome] = []
        changed: list[str] = []
        for writes in sets:
            conflict = first_conflict(writes, self._index_of)
            if conflict is not None:
                outcomes.append(Rejected(conflict))
                continue
            for write in writes:
                if isinstance(write, Check):
                    continue
                self._active.set(write.key, Stored(write.value, index) if isinstance(write, Put) else None)
                changed.append(write.key)
            outcomes.append(APPLIED)
        self._advance(index, term)
        if changed:
            self._tell(changed)
        return outcomes

    def note_applied(self, index: int, term: int) -> None:
        """Count an entry that carries no writes (a no-op, a change of peers). Raises StorageFailed as `apply` does."""
        self._require_working()
        if index > self._applied.index:
            self._advance(index, term)

    def set_peers(self, data: bytes) -> None:
        """Store the peers as of the entry that the next `note_applied` or `apply` counts, in the same turn."""
        self._applied = replace(self._applied, peers=data)

    def peers(self) -> bytes | None:
        """The peers last set."""
        return self._applied.peers

    def watch(self, callback: Callable[[Collection[str]], None], below: Sequence[str] = ()) -> Callable[[], None]:
        """As Store.watch."""
        return self._watchers.add(callback, below)

    def _advance(self, index: int, term: int) -> None:
        last = self._applied
        self._applied = Meta(index, term, last.index, last.raft_term, last.peers)
        if self._active.size >= BACKLOG_BYTES_MAX:
            self.flush_now()
        elif is_full(self._active):
            self._begin_flush()
        else:
            self._begin_later()

    def _tell(self, keys: Collection[str]) -> None:
        self._watchers.tell(keys)

    # Reading -----------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Stored | None:
        """The value at exactly this key."""
        if key in self._active.entries:
            return self._active.entries[key]
        if self._flight is not None and key in self._flight.overlay.entries:
            return self._flight.overlay.entries[key]
        try:
            return self._table.get(key)
        except lmdb.Error as error:  # a page that is damaged
            self._fail(error)
            self._require_working()
            raise

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names directly below prefix, greater than `after`, at most `limit`, sorted by bytes; folders end in "/"."""
        return names_below(self._first_at, prefix, after=after, limit=limit)

    def scan(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        """Every key that starts with prefix, in key order, with its value."""
        position: str | None = prefix
        while position is not None:
            rows = list(islice(self._rows_from(position), _SCAN_ROWS))
            position = behind(rows[-1][0]) if len(rows) == _SCAN_ROWS else None
            for key, stored in rows:
                if not key.startswith(prefix):
                    return
                if stored is not None:
                    yield key, stored

    def _index_of(self, key: str) -> int:
        stored = self.get(key)
        return stored.index if stored else 0

    def _overlays(self) -> tuple[Overlay, ...]:
        """Newest first."""
        return (self._active,) if self._flight is None else (self._active, self._flight.overlay)

    def _first_at(self, position: str) -> str | None:
        """The smallest key there is, not less than position."""
        candidates = [overlay.first_at(position) for overlay in self._overlays()]
        candidates.append(self._table.first_at(position))
        key = min((candidate for candidate in candidates if candidate is not None), default=None)
        # One that only LMDB has needs no look at its value.
        if key is None or not self._is_deleted(key):
            return key
        # What was worked off from the front of an index is many deleted keys in a row: one walk passes over them all.
        return next((key for key, stored in self._rows_from(behind(key)) if stored is not None), None)

    def _is_deleted(self, key: str) -> bool:
        for overlay in self._overlays():
            if key in overlay.entries:
                return overlay.entries[key] is None
        return False

    def _rows_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        """Every key not less than position, as the newest layer has it: None where it was deleted."""
        layers = [overlay.items_from(position) for overlay in self._overlays()]
        layers.append(self._table.items_from(position))
        last: str | None = None
        # merge is stable: of equal keys the one of the newest layer comes first.
        for key, stored in heapq.merge(*layers, key=itemgetter(0)):
            if key != last:
                yield key, stored
            last = key

    # Flushing ----------------------------------------------------------------------------------------------------

    def flush_now(self) -> None:
        """Write everything applied to LMDB; durable when it returns. Blocks. Raises StorageFailed."""
        self._finish_flight()
        if self._applied is not self._durable:
            flight = self._take_off()
            flight.write(self._table)
            self._land(flight)
        self._require_working()

    async def flush(self) -> None:
        """Return once everything applied by now is in LMDB. Raises StorageFailed."""
        self._require_working()
        if self._applied is self._durable:
            return
        landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._applied.index, landed))
        self._begin_flush()
        await landed

    def _begin_flush(self) -> None:
        if self._flight is not None or self._failure is not None or self._applied is self._durable:
            return
        flight = self._take_off()
        if self._threaded:
            self._flusher.submit(flight, self._table, self._land)
            return
        flight.write(self._table)
        self._land(flight)

    def _take_off(self) -> Flight:
        began_s = time.perf_counter()
        self._flight = Flight(self._active, self._applied, self._room_for(len(self._active.entries), self._active.size))
        self._flight.created_s = time.perf_counter() - began_s
        self._active = Overlay()
        return self._flight

    def _room_for(self, count: int, size: int) -> int:
        while (file_bytes := self._table.make_room(count, size)) is None:
            self._grow()
        return file_bytes

    def _grow(self) -> None:
        # No view may be open while the map changes. It doubles, so this is rare, and a snapshot can be repeated.
        self._close_views()
        self._table.grow()

    def _close_views(self) -> None:
        for view in self._views:
            view.close()

    def _land(self, flight: Flight) -> None:
        """Take over the result of a flush, once, on the event loop's thread."""
        if self._flight is not flight:
            return
        if isinstance(flight.error, lmdb.MapFullError):
            # The room was estimated too low; nothing was written. Here and now, as no other flight may overtake.
            self._grow()
            self._flight = Flight(flight.overlay, flight.meta, flight.file_bytes)
            self._flight.write(self._table)
            self._land(self._flight)
            return
        if flight.error is not None:
            self._fail(flight.error)  # the overlay stays: reads go on until the process ends
            return
        self._table.renew()
        self._flight = None
        self.on_flushed(flight.created_s, flight.took_s)
        self._durable = flight.meta
        self._wake()
        if self._waiters or is_full(self._active):
            self._begin_flush()
        elif self._applied is not self._durable:
            self._begin_later()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for index, landed in waiters:
            if index > self._durable.index:
                self._waiters.append((index, landed))
            elif not landed.done():
                landed.set_result(None)

    def _finish_flight(self) -> None:
        self._require_working()
        if self._flight is not None:
            flight = self._flight
            flight.done.wait()
            self._land(flight)
        if self._flight is not None:  # landing has begun the next one
            self._finish_flight()

    def _fail(self, error: Exception) -> None:
        if self._failure is not None:
            return
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._failure = StorageFailed(
            f"the state in {self._folder / swap.CURRENT} is damaged: {reason}; the node stops. {REMEDY}"
            if isinstance(error, FileDamaged | lmdb.CorruptedError | lmdb.PageNotFoundError)
            else f"the state could not be written to {self._folder / swap.CURRENT} ({reason}); the node stops. "
            "Check the disk and its free space, then start the node again"
        )
        for _, landed in self._waiters:
            if not landed.done():
                landed.set_exception(StorageFailed(*self._failure.args))
        self._waiters = []
        self.on_failed(self._failure)

    def _require_working(self) -> None:
        if self._failure is not None:
            raise StorageFailed(*self._failure.args)

    def _begin_later(self) -> None:
        if self._threaded and self._flight is None:
            self._flusher.begin_later()

    # Snapshots ---------------------------------------------------------------------------------------------------

    def export(self) -> SnapshotReader:
        """A snapshot of everything applied. Flushes first, which blocks: await `flush` before. Close the reader."""
        self.flush_now()
        try:
            reader = SnapshotReader(self._table.begin_read(), self._damaged)
        except (FileDamaged, lmdb.Error) as error:
            self._fail(error)
            self._require_working()
            raise
        self._views.add(reader)
        return reader

    def _damaged(self, error: FileDamaged) -> None:
        self._call_soon(lambda: self._fail(error))

    # Checking ----------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Read the file to its end, in a thread and slowly; the node stops if it is damaged.

        A check that is cut off, as the file was replaced or mapped anew, finds nothing: the next one does.
        """
        self._finish_flight()  # the view has to be of the newest transaction, so none may be under way
        try:
            view = self._table.begin_check()
        except (FileDamaged, OSError) as error:
            self._fail(error)
            return
        self._views.add(view)
        try:
            await asyncio.to_thread(view.run)
        except (FileDamaged, OSError) as error:
            self._fail(error)
        finally:
            view.close()

    def prepare_import(self, path: Path) -> None:
        """Verify a received snapshot and build the new LMDB file beside the old one. May run in a thread.

        Raises:
            SnapshotDamaged: It is short or altered; nothing was touched.
            StorageFailed: The disk is full or failed; the state is as it was.
        """
        meta = verify(path)
        try:
            swap.discard(self._folder)
            Table.create(self._folder / swap.NEW)
            table = Table(self._folder / swap.NEW)
            try:
                table.load(records(path), meta)
            finally:
                table.close()
        except (lmdb.Error, OSError) as error:
            raise StorageFailed(f"the snapshot could not be unpacked beside the state: {error}") from error

    def finish_import(self) -> None:
        """Replace the state by the prepared one, durably. Keeps the local table. Raises StorageFailed."""
        self._replace_by(self._folder / swap.NEW, None)

    def apply_restore(self, index: int, term: int, staged: Path) -> None:
        """Apply an entry that puts a staged table in the place of everything but the peers and the local table.

        Cut off at any step, it is done again from the log: until the last rename the staged folder keeps its name.

        Raises:
            StorageFailed: The disk failed, or the staged table is not there.
        """
        self._require_working()
        last = self._applied
        if index > last.index:
            self._replace_by(staged, Meta(index, term, last.index, last.raft_term, last.peers))

    def _replace_by(self, folder: Path, meta: Meta | None) -> None:
        if self._flight is not None:
            self._finish_flight()
        self._close_views()
        try:
            new = Table(folder)
            if meta is not None:
                new.write((), meta, 0)
            new.local_write(self._table.local_items())
            new.close()
            self._table.close()
            swap.swap_in(self._folder, folder)
            self._table = Table(self._folder / swap.CURRENT)
        except (lmdb.Error, OSError) as error:
            self._fail(error)
            self._require_working()
        self._active = Overlay()
        self._durable = self._applied = self._table.meta()
        self._wake()
        self._tell(())

    def import_from(self, path: Path) -> None:
        """`prepare_import` and `finish_import` in one: for where blocking does not matter."""
        self.prepare_import(path)
        self.finish_import()

    # Local table -------------------------------------------------------------------------------------------------

    def local_get(self, name: str) -> bytes | None:
        """The value of a name in the table that is not replicated and outlives an import."""
        return self._table.local_get(name)

    def local_put(self, name: str, value: bytes) -> None:
        """Set it; durable when it returns. Blocks. Raises StorageFailed."""
        self._local_write(name, value)

    def local_delete(self, name: str) -> None:
        """Remove it; durable when it returns. Blocks. Raises StorageFailed."""
        self._local_write(name, None)

    def _local_write(self, name: str, value: bytes | None) -> None:
        self._finish_flight()
        self._room_for(1, len(name) + len(value or b""))
        try:
            self._table.local_write([(name.encode(), value)])
        except (lmdb.Error, OSError) as error:
            self._fail(error)
            self._require_working()

    def close(self, *, flush: bool = True) -> None:
        """Write what is applied, unless told not to (a crash, for tests: the journal has it), and close."""
        try:
            if self._failure is None:
                self._finish_flight()
                if flush:
                    self.flush_now()
        except StorageFailed:
            pass  # on_failed was told, and the journal replays what is missing
        finally:
            self._flusher.stop()
            self._close_views()
            self._table.close()
