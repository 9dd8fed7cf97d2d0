"""The state and the journal of a simulated node: production classes, with memory below and virtual time beside them."""

import asyncio
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cluster.errors import StorageFailed
from cluster.journal import Journal, _InFlight
from cluster.journal_format import LogEntry
from cluster.overlay import Overlay
from cluster.snapshot import records, verify
from cluster.state import State
from cluster.store import Stored
from cluster.table import Meta
from tests.cluster.simulator.disk import MemoryDisk, PowerLoss

_SEGMENT_BYTES = 4096


class Vault:
    """What the LMDB file of a node holds: it outlives the node's lives, and changes as a whole or not at all."""

    def __init__(self) -> None:
        self.data: dict[str, Stored] = {}
        self.meta = Meta()
        self.local: dict[str, bytes] = {}


class MemoryTable:
    """`cluster.table.Table` over a Vault."""

    def __init__(self, vault: Vault, disk: MemoryDisk) -> None:
        self._vault = vault
        self._disk = disk

    def close(self) -> None:
        """Nothing is held."""

    def renew(self) -> None:
        """Reads are always current here."""

    def grow(self) -> None:
        """There is always room."""

    def make_room(self, count: int, size: int) -> int:
        return 0

    def meta(self) -> Meta:
        return self._vault.meta

    def get(self, key: str) -> Stored | None:
        return self._vault.data.get(key)

    def first_at(self, position: str) -> str | None:
        return min((key for key in self._vault.data if key >= position), default=None)

    def items_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        return iter(sorted((key, stored) for key, stored in self._vault.data.items() if key >= position))

    def begin_read(self) -> "MemoryRows":
        return MemoryRows(self._vault)

    def write(self, changes: Any, meta: Meta, file_bytes: int) -> None:
        self._disk.require_writable()
        for key, stored in changes:
            if stored is None:
                self._vault.data.pop(key, None)
            else:
                self._vault.data[key] = stored
        self._vault.meta = meta

    def local_get(self, name: str) -> bytes | None:
        return self._vault.local.get(name)


class MemoryRows:
    """`cluster.table.Rows`: one point in time."""

    def __init__(self, vault: Vault) -> None:
        self.meta = vault.meta
        self._rows = iter(sorted(vault.data.items()))

    def next(self) -> tuple[bytes, int, bytes] | None:
        for key, stored in self._rows:
            return key.encode(), stored.index, stored.value
        return None

    def abort(self) -> None:
        self._rows = iter(())


class MemoryState(State):
    """`cluster.state.State` over a Vault: overlays, flights and apply are the real ones."""

    def __init__(
        self,
        folder: Path,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threaded: bool = True,
        vault: Vault,
        disk: MemoryDisk,
        flush_s: float,
    ) -> None:
        self._flush_s = flush_s
        self._vault = vault
        self._disk = disk
        self._prepared: Vault | None = None
        self._flush_is_due = False
        super().__init__(folder, call_soon, threaded=False)

    def _open_table(self) -> Any:
        return MemoryTable(self._vault, self._disk)

    def _begin_later(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_later(self._flush_s, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_is_due = False
        self._begin_flush()

    def prepare_import(self, path: Path) -> None:
        data = self._disk.read(path)
        file: Any = SimpleNamespace(stat=lambda: SimpleNamespace(st_size=len(data)), open=lambda mode: io.BytesIO(data))
        prepared = Vault()
        prepared.meta = verify(file)
        prepared.data = {key.decode(): Stored(value, index) for key, index, value in records(file)}
        try:
            self._disk.require_writable()
        except OSError as error:
            raise StorageFailed(f"the snapshot could not be unpacked beside the state: {error}") from error
        self._prepared = prepared

    def finish_import(self) -> None:
        assert self._prepared is not None
        self._vault.data, self._vault.meta = self._prepared.data, self._prepared.meta
        self._prepared = None
        self._active = Overlay()
        self._durable = self._applied = replace(self._vault.meta)
        self._wake()
        self._tell(())


class SimJournal(Journal):
    """`cluster.journal.Journal` whose syncs take virtual time, as if in its worker thread."""

    def __init__(
        self,
        folder: Path,
        disk: Any,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threaded: bool = True,
        sync_delay_s: Callable[[], float] = lambda: 0.0,
        on_entry: Callable[[LogEntry, int], None] = lambda entry, prev_term: None,
    ) -> None:
        # The highest index on the medium, whatever the journal says: what the witness counts.
        self.durable_index = 0
        self._sync_delay_s = sync_delay_s
        self._on_entry = on_entry
        self._resetting = False
        super().__init__(folder, disk, call_soon, threaded=False, clock=lambda: 0.0)
        self._segments._segment_bytes_max = _SEGMENT_BYTES
        self.durable_index = self._last_index

    def add(self, command: bytes, idx: int, term: int) -> None:
        super().add(command, idx, term)
        if not self._resetting and len(self._entries) > 1:
            self._on_entry(self._entries[-1], self._entries[-2][2])

    def reset_to(self, prev_entry: LogEntry, last_entry: LogEntry) -> None:
        self._resetting = True  # the entries of a snapshot stand for others
        try:
            super().reset_to(prev_entry, last_entry)
        finally:
            self._resetting = False

    def flush(self) -> None:
        self._require_working()
        if not self._pending or self._in_flight is not None:
            return
        delay_s = self._sync_delay_s()
        flight = self._take_pending()
        if delay_s == 0:
            self._write(flight)
            self._settle(flight)
        else:
            asyncio.get_running_loop().call_later(delay_s, self._land, flight)

    def sync_now(self) -> None:
        if self._in_flight is not None and not self._in_flight.done.is_set():
            self._write(self._in_flight)
        super().sync_now()

    def die(self, rng: random.Random, disk: MemoryDisk) -> None:
        """The process ends: what was being written is not there, in part there, or there and nobody knows."""
        flight = self._in_flight
        if flight is None or flight.done.is_set() or disk.gave_error or disk.is_off:
            return
        fate = rng.randrange(3)
        if fate == 0:
            return
        disk.power_off_in = 0 if fate == 1 else None
        try:
            self._write(flight)
        except PowerLoss:
            return

    def _land(self, flight: _InFlight) -> None:
        if not flight.settled:
            if not flight.done.is_set():
                self._write(flight)
            self._settle_and_go_on(flight)

    def _write(self, flight: _InFlight) -> None:
        super()._write(flight)
        if flight.error is None:
            self.durable_index = flight.last_index

    def _forget_synced_above(self, index: int) -> None:
        super()._forget_synced_above(index)
        self.durable_index = min(self.durable_index, index)
