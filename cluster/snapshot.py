"""A snapshot as a stream of bytes: what one node sends another that is too far behind, and what operators save.

    magic "SRSNAP01" | length (4) | meta
    records: length (4, not 0) | index (8) | key length (4) | key | value
    end: 0 (4) | number of records (8) | CRC32C of everything before (4)

Numbers are little-endian. Values are sealed bytes, as everywhere in this part.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final

import google_crc32c

from cluster.errors import SnapshotDamaged, StorageFailed
from cluster.lmdb_check import FileDamaged
from cluster.table import Meta, Rows

CHUNK_BYTES_MAX: Final = 256 * 1024

_MAGIC: Final = b"SRSNAP01"
_LENGTH: Final = Struct("<I")
_RECORD: Final = Struct("<IQI")
_ROW: Final = Struct("<QI")  # a record without its length
_COUNT: Final = Struct("<Q")
_END: Final = Struct("<IQI")
_META_BYTES_MAX: Final = 16 * 1024 * 1024


class SnapshotReader:
    """One point in time of the state, as chunks of at most CHUNK_BYTES_MAX. Close it: it keeps old pages alive.

    Chunks may be read in a thread of their own. If the database must be mapped anew meanwhile (it has doubled since
    the snapshot began), the reader is interrupted: the next chunk raises SnapshotDamaged, and a new one is needed.
    """

    def __init__(self, rows: Rows, on_damaged: Callable[[FileDamaged], None]) -> None:
        """`on_damaged` is told, on the reading thread, when the database turns out to be damaged."""
        self.meta = rows.meta
        self._on_damaged = on_damaged
        self._rows: Rows | None = rows
        self._lock = threading.Lock()

    @property
    def index(self) -> int:
        """Index of the last Raft entry whose effect is in the snapshot."""
        return self.meta.index

    @property
    def term(self) -> int:
        """Raft term of that entry."""
        return self.meta.raft_term

    @property
    def peers(self) -> bytes | None:
        """The peers as of that entry."""
        return self.meta.peers

    def __iter__(self) -> Iterator[bytes]:
        """The stream, chunk by chunk.

        Raises:
            SnapshotDamaged: It was interrupted.
            StorageFailed: The database is damaged: whoever took the stream so far must not use it.
        """
        stream = _Encoder(self.meta)
        more = True
        while more:
            with self._lock:
                if self._rows is None:
                    raise SnapshotDamaged("the snapshot was interrupted because the database outgrew it; start again")
                while more and not stream.is_full:
                    row = self._next()
                    if row is None:
                        more = False
                    else:
                        stream.add(*row)
            yield from stream.full_chunks()
        yield from stream.end()

    def _next(self) -> tuple[bytes, int, bytes] | None:
        assert self._rows is not None
        try:
            return self._rows.next()
        except FileDamaged as error:
            self._on_damaged(error)
            raise StorageFailed(f"the state of this node is damaged: {error}; the node stops") from None

    def close(self) -> None:
        """Let go of the point in time; iteration ends with SnapshotDamaged."""
        with self._lock:
            if self._rows is not None:
                self._rows.abort()
                self._rows = None

    def __enter__(self) -> "SnapshotReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Encoder:
    """Gathers records into chunks of CHUNK_BYTES_MAX, with the running checksum and count."""

    def __init__(self, meta: Meta) -> None:
        packed = meta.pack()
        self._gathered = bytearray(_MAGIC + _LENGTH.pack(len(packed)) + packed)
        self._checksum = 0
        self._count = 0

    @property
    def is_full(self) -> bool:
        return len(self._gathered) >= CHUNK_BYTES_MAX

    def add(self, key: bytes, index: int, value: bytes) -> None:
        self._gathered += _RECORD.pack(_ROW.size + len(key) + len(value), index, len(key)) + key + value
        self._count += 1

    def full_chunks(self) -> Iterator[bytes]:
        while self.is_full:
            chunk = bytes(self._gathered[:CHUNK_BYTES_MAX])
            del self._gathered[:CHUNK_BYTES_MAX]
            self._checksum = google_crc32c.extend(self._checksum, chunk)
            yield chunk

    def end(self) -> Iterator[bytes]:
        self._gathered += _END.pack(0, self._count, 0)[: -_LENGTH.size]
        checksum = google_crc32c.extend(self._checksum, bytes(self._gathered))
        last = bytes(self._gathered) + _LENGTH.pack(checksum)
        for at in range(0, len(last), CHUNK_BYTES_MAX):
            yield last[at : at + CHUNK_BYTES_MAX]


def encoded(meta: Meta, rows: Iterable[tuple[bytes, int, bytes]]) -> Iterator[bytes]:
    """The stream of these (key, index, value), chunk by chunk."""
    stream = _Encoder(meta)
    for row in rows:
        stream.add(*row)
        if stream.is_full:
            yield from stream.full_chunks()
    yield from stream.end()


def verify(path: Path) -> Meta:
    """Read a received stream to its end and hold it against its checksum and count.

    Raises:
        SnapshotDamaged: It is short, altered, or no snapshot at all.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        _verify_checksum(stream, size)
        meta = _read_meta(stream)
        for _ in _records(stream):
            pass
        if stream.tell() + _LENGTH.size != size:
            raise SnapshotDamaged("the snapshot goes on behind its end; fetch it again")
    return meta


def records(path: Path) -> Iterator[tuple[bytes, int, bytes]]:
    """Every (key, index, value) of a stream that was verified, in its order."""
    with path.open("rb") as stream:
        _read_meta(stream)
        yield from _records(stream)


def _verify_checksum(stream: BinaryIO, size: int) -> None:
    if size < len(_MAGIC) + _LENGTH.size + _END.size:
        raise SnapshotDamaged("the snapshot is cut off; fetch it again")
    checksum = 0
    left = size - _LENGTH.size
    while left:
        chunk = _read(stream, min(left, CHUNK_BYTES_MAX))
        checksum = google_crc32c.extend(checksum, chunk)
        left -= len(chunk)
    if _LENGTH.pack(checksum) != _read(stream, _LENGTH.size):
        raise SnapshotDamaged("the snapshot is damaged or cut off (its checksum is wrong); fetch it again")
    stream.seek(0)


def _read_meta(stream: BinaryIO) -> Meta:
    if _read(stream, len(_MAGIC)) != _MAGIC:
        raise SnapshotDamaged("this is not a snapshot of this program, or one of another version")
    length = _LENGTH.unpack(_read(stream, _LENGTH.size))[0]
    if length > _META_BYTES_MAX:
        raise SnapshotDamaged("the snapshot's header makes no sense")
    try:
        return Meta.unpack(_read(stream, length))
    except ValueError:
        raise SnapshotDamaged("the snapshot's header makes no sense") from None


def _records(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    count = 0
    while length := _LENGTH.unpack(_read(stream, _LENGTH.size))[0]:
        body = _read(stream, length)
        if length < _ROW.size or _ROW.unpack_from(body)[1] > length - _ROW.size:
            raise SnapshotDamaged("a record of the snapshot makes no sense")
        index, key_length = _ROW.unpack_from(body)
        value_at = _ROW.size + key_length
        yield body[_ROW.size : value_at], index, body[value_at:]
        count += 1
    if _COUNT.unpack(_read(stream, _COUNT.size))[0] != count:
        raise SnapshotDamaged("the snapshot has another number of records than it says")


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise SnapshotDamaged("the snapshot is cut off; fetch it again")
    return data
