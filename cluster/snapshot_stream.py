"""The whole state, in chunks, for a follower that is behind the leader's log.

One chunk is on its way at a time, so memory is bounded by its size on both sides and heartbeats pass between chunks. A
lost link costs one chunk: the follower keeps what it has and names the offset at which it goes on.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cluster.disk import Disk, DiskFile
from cluster.errors import SnapshotDamaged

if TYPE_CHECKING:
    from cluster.links import Links


class SnapshotSource(Protocol):
    """One consistent copy of the state, being read."""

    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    def chunks(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class SnapshotSender:
    """Streams one snapshot to one follower."""

    def __init__(
        self, source: SnapshotSource, snapshot_id: str, raft_term: int, node_id: str, links: "Links", resend_ns: int
    ) -> None:
        self.index = source.index
        self.failed = False
        self._source = source
        self._snapshot_id = snapshot_id
        self._raft_term = raft_term
        self._node_id = node_id
        self._links = links
        self._resend_ns = resend_ns
        self._chunks = source.chunks()
        self._offset = 0
        self._chunk = self._read() or b""
        self._next_chunk = self._read()
        self._sent_ns = 0
        self._is_out = False

    def pump(self, now_ns: int) -> None:
        """Send the current chunk, again if it stayed unanswered for long."""
        if self.failed or (self._is_out and now_ns - self._sent_ns < self._resend_ns):
            return
        self._is_out = self._links.send(
            self._node_id,
            {
                "type": "snapshot_chunk",
                "term": self._raft_term,
                "snapshot_id": self._snapshot_id,
                "offset": self._offset,
                "data": self._chunk,
                "last": self._next_chunk is None,
                "index": self._source.index,
                "snapshot_term": self._source.term,
            },
        )
        self._sent_ns = now_ns

    def on_ack(self, snapshot_id: str, offset: int, ok: bool) -> None:
        """The follower has everything below offset; not ok: it cannot use what it has, begin again."""
        if snapshot_id != self._snapshot_id:
            return
        if not ok:
            self.failed = True
        elif self._next_chunk is not None and offset == self._offset + len(self._chunk):
            self._offset = offset
            self._chunk = self._next_chunk
            self._next_chunk = self._read()
            self._is_out = False

    def close(self) -> None:
        self._source.close()

    def _read(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except SnapshotDamaged:
            self.failed = True  # the database has outgrown this view of it; the next stream has a new one
            return None


@dataclass(frozen=True, slots=True)
class Received:
    """A complete snapshot file, not yet verified."""

    file: Path
    index: int
    term: int


class SnapshotReceiver:
    """Gathers the chunks of one snapshot at a time in a file."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._path = folder / "incoming"
        self._disk = disk
        self._file: DiskFile | None = None
        self._snapshot_id = ""
        self._size = 0

    def on_chunk(self, message: Mapping[str, Any], answer: Callable[[int, bool], None]) -> Received | None:
        """Take a chunk and answer (offset, ok); returns the snapshot once its last chunk is there.

        Raises:
            OSError: The disk refused it. The caller stops the node.
        """
        if message["snapshot_id"] != self._snapshot_id or self._file is None:
            if message["offset"] != 0:
                answer(0, False)
                return None
            self._begin(message["snapshot_id"])
        assert self._file is not None
        if message["offset"] > self._size:
            answer(0, False)
            return None
        if message["offset"] == self._size:
            self._file.append(message["data"])
            self._size += len(message["data"])
        if not message["last"] or message["offset"] + len(message["data"]) != self._size:
            answer(self._size, True)
            return None
        self._file.sync()
        self._end()
        return Received(self._path, message["index"], message["snapshot_term"])

    def discard(self) -> None:
        """Forget what was received, and its file."""
        self._end()
        with contextlib.suppress(FileNotFoundError):
            self._disk.remove(self._path)

    def _begin(self, snapshot_id: str) -> None:
        self.discard()
        self._file = self._disk.open_append(self._path)
        self._snapshot_id = snapshot_id
        self._size = 0

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._snapshot_id = ""
