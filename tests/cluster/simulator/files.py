"""The state of a simulated node on real files: LMDB as in production, with virtual time and a faulty disk around it.

A crash may end in the middle of writing the state: of the pages that a flush would have written any may be on the disk,
but none of those that say which pages count. LMDB writes those last, after a sync.
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from cluster.errors import StorageFailed
from cluster.state import State
from cluster.table import Change, Meta, Table
from tests.cluster.simulator.disk import MemoryDisk

_PAGE_BYTES = 4096
_META_PAGES = 2


class FileState(State):
    """`cluster.state.State` on a folder of its own; its writes fail when the simulated disk does."""

    def __init__(
        self,
        folder: Path,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        threaded: bool = True,
        disk: MemoryDisk,
        flush_s: float,
    ) -> None:
        self._disk = disk
        self._flush_s = flush_s
        self._flush_is_due = False
        super().__init__(folder, call_soon, threaded=False)

    def _open_table(self) -> Table:
        return self._breakable(super()._open_table())

    def _breakable(self, table: Table) -> Table:
        write = table.write

        def written(changes: Iterable[Change], meta: Meta, file_bytes: int) -> None:
            self._disk.require_writable()
            write(changes, meta, file_bytes)

        table.write = written  # type: ignore[method-assign]
        return table

    def _begin_later(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_later(self._flush_s, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_is_due = False
        self._begin_flush()

    def prepare_import(self, path: Path) -> None:
        """The stream was received on the simulated disk."""
        received = self._folder / "received"
        received.write_bytes(self._disk.read(path))
        try:
            self._disk.require_writable()
        except OSError as error:
            raise StorageFailed(f"the snapshot could not be unpacked beside the state: {error}") from error
        super().prepare_import(received)

    def finish_import(self) -> None:
        super().finish_import()
        self._breakable(self._table)

    def lose_power(self, rng: random.Random) -> None:
        """End, in half of the cases in the middle of a flush."""
        file = self._folder / "vault.db" / "data.mdb"
        cut_off = rng.random() < 0.5 and self._applied is not self._durable and self._failure is None
        before = file.read_bytes() if cut_off else b""
        if cut_off:
            self._take_off().write(self._table)
        self._close_views()
        self._table.close()
        if cut_off:
            file.write_bytes(_torn(before, file.read_bytes(), rng))


def _torn(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """The file in the middle of the way from one to the other."""
    torn = bytearray(before)
    if len(after) > len(before) and rng.random() < 0.7:
        torn += bytes(len(after) - len(before))
    share = rng.random()
    for at in range(_META_PAGES * _PAGE_BYTES, len(torn), _PAGE_BYTES):
        if rng.random() < share:
            torn[at : at + _PAGE_BYTES] = after[at : at + _PAGE_BYTES]
    return bytes(torn)


class StateFiles:
    """Where the state of one node is: it outlives the node's lives."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.folder = folder
        self._rng = random.Random(f"{seed} state")  # of its own: a seed does the same to states in memory
        self._state: FileState | None = None
        folder.mkdir()

    def open(self, *arguments: object, disk: MemoryDisk, flush_s: float, threaded: bool) -> FileState:
        """What the store opens as its state."""
        self._state = FileState(*arguments, disk=disk, flush_s=flush_s)  # type: ignore[arg-type]
        return self._state

    def lose_power(self) -> None:
        """The life that had the state open is over."""
        if self._state is not None:
            self._state.lose_power(self._rng)
            self._state = None

    def wipe(self) -> None:
        """A new, empty disk."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
