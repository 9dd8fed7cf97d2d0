"""The thread that writes a state's overlay to LMDB, and the moment at which it starts to."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

import lmdb

from cluster.meters import clock
from cluster.overlay import Overlay
from cluster.table import Meta, Table

# LMDB rewrites a page for each key it touches: writes that wait for others share pages and one sync. With 8,192 keys a
# write costs a third of what it does with 1,024 (docs/performance.md). A restart replays as many from the journal.
FLUSH_BYTES: Final = 8 * 1024 * 1024
FLUSH_KEYS: Final = 8192
FLUSH_AFTER_S: Final = 1.0


class Flight:
    """An overlay on its way to LMDB."""

    def __init__(self, overlay: Overlay, meta: Meta, file_bytes: int) -> None:
        self.overlay = overlay
        self.meta = meta
        self.file_bytes = file_bytes
        self.done = threading.Event()
        self.error: Exception | None = None
        self.created_s = self.took_s = 0.0

    def write(self, table: Table) -> None:
        """Write it in one transaction; `error` says if that failed. Any thread, one flight at a time."""
        began_s = clock()
        try:
            table.write(self.overlay.sorted_items(), self.meta, self.file_bytes)
        except (lmdb.Error, OSError) as error:
            self.error = error
        self.took_s = clock() - began_s
        self.done.set()


def is_full(overlay: Overlay) -> bool:
    """Whether the overlay should be written without waiting for more."""
    return overlay.size >= FLUSH_BYTES or len(overlay.entries) >= FLUSH_KEYS


class Flusher:
    """One thread that writes flights, and waits for the next one in between. Its methods are the event loop's."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], begin: Callable[[], None]) -> None:
        """`begin` is called on the event loop's thread FLUSH_AFTER_S after `begin_later`."""
        self._call_soon = call_soon
        self._begin = begin
        self._waits = False
        self._hurry = threading.Event()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin_later(self) -> None:
        """Have `begin` called in a while; once, however often this is asked for meanwhile."""
        if not self._waits:
            self._waits = True
            self._hurry.clear()
            self._put(self._wait)

    def submit(self, flight: Flight, table: Table, land: Callable[[Flight], None]) -> None:
        """Write the flight now, then call `land` with it on the event loop's thread."""

        def write() -> None:
            flight.write(table)
            self._call_soon(lambda: land(flight))

        self._hurry.set()
        self._put(write)

    def stop(self) -> None:
        """End the thread, after what was submitted."""
        self._hurry.set()
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _put(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="state-flush", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _wait(self) -> None:
        self._hurry.wait(FLUSH_AFTER_S)
        self._call_soon(self._waited)

    def _waited(self) -> None:
        self._waits = False
        self._begin()
