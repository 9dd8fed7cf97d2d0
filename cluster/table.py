"""The LMDB file of one node: replicated keys, what is known about the log they come from, and a local table.

LMDB pages have no checksum, so each record carries a fingerprint and the file their sum (cluster/integrity.py).
Reads belong to one thread. `write` may run in another, one at a time; no resize may happen while it does.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any, Final

import lmdb
import msgpack

from cluster.disk import FILE_MODE, FOLDER_MODE
from cluster.errors import DataFolderRefused, SnapshotDamaged
from cluster.integrity import (
    APPLIED_KEY,
    FINGERPRINT_BYTES,
    SUM_KEY,
    TABLES,
    as_sum,
    check_beside,
    fingerprint,
    fingerprint_in,
    pack_sum,
    sealed_local,
    unpack_sum,
)
from cluster.keys import SHORT_BYTES, STORED_LONG_BYTES, key_bytes, key_text, stored_key
from cluster.lmdb_check import REMEDY, FileDamaged, Transaction, newest_transaction, require_sound
from cluster.store import Stored

# Address space, not memory or disk; grown by doubling, at most MAP_GROWTH_BYTES_MAX at a time.
MAP_BYTES_MIN: Final = 64 * 1024 * 1024
MAP_GROWTH_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
_MIB: Final = 1024 * 1024

_INDEX: Final = Struct("<Q")
_LENGTH: Final = Struct("<I")
_HEAD_BYTES: Final = _INDEX.size + FINGERPRINT_BYTES


@dataclass(frozen=True, slots=True)
class Meta:
    """What the replicated keys reflect: the last two applied entries, and the peers as of the last."""

    index: int = 0
    raft_term: int = 0
    prev_index: int = 0
    prev_raft_term: int = 0
    peers: bytes | None = field(default=None, repr=False)

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb((self.index, self.raft_term, self.prev_index, self.prev_raft_term, self.peers))
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> "Meta":
        """Raises ValueError for anything that `pack` does not make."""
        match msgpack.unpackb(data, use_list=True):
            case [int(index), int(raft_term), int(prev_index), int(prev_raft_term), (bytes() | None) as peers]:
                return cls(index, raft_term, prev_index, prev_raft_term, peers)
        raise ValueError("not what is known of the applied log")


Change = tuple[str, Stored | None]


class Table:
    """An open LMDB environment in `folder` (data.mdb, lock.mdb)."""

    def __init__(self, folder: Path) -> None:
        """Open it. Raises DataFolderRefused if the file is damaged."""
        self._file = folder / "data.mdb"
        require_sound(self._file)
        size = self._file.stat().st_size
        self._map_bytes = MAP_BYTES_MIN
        while self._map_bytes < 2 * size:
            self._map_bytes = _grown(self._map_bytes)
        try:
            self._env = _open(folder, self._map_bytes)
            (folder / "lock.mdb").chmod(FILE_MODE)
            with self._env.begin(write=True) as txn:
                self._data = self._env.open_db(b"data", txn)
                self._meta = self._env.open_db(b"meta", txn)
                self._local = self._env.open_db(b"local", txn)
                _, self._sum = _read_meta(txn, self._meta)
        except (lmdb.Error, FileDamaged) as error:
            raise DataFolderRefused(f"{self._file} cannot be opened: {error}. {REMEDY}") from None
        self._page_bytes: int = self._env.stat()["psize"]
        self._txn = self._env.begin()
        self._group: tuple[bytes, list[bytes]] = (b"", [])

    @staticmethod
    def create(folder: Path) -> None:
        """Make an empty one, synced. The folder itself is not yet: its parent must be synced after a rename."""
        folder.mkdir(mode=FOLDER_MODE)
        folder.chmod(FOLDER_MODE)
        env = _open(folder, MAP_BYTES_MIN)
        with env.begin(write=True) as txn:
            tables = {name: env.open_db(name.encode(), txn) for name in TABLES}
            _put_meta(txn, tables["meta"], Meta(), 0)
        env.sync(True)
        env.close()
        for name in ("data.mdb", "lock.mdb"):
            (folder / name).chmod(FILE_MODE)

    def close(self) -> None:
        """Give everything back."""
        self._txn.abort()
        self._env.close()

    # Reading -----------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Let reads see what has been written since the last time."""
        self._txn.abort()
        self._txn = self._env.begin()
        self._group = (b"", [])

    def begin_read(self) -> "Rows":
        """A view of this moment that outlasts later writes; abort it soon, as it keeps old pages alive."""
        return Rows(self._env.begin(), self._data, self._meta)

    def begin_check(self) -> "Check":
        """A view of this moment, to be checked in a thread. Nothing may be written until it returns. Raises OSError."""
        return Check(self._env.begin(), self._file)

    def meta(self) -> Meta:
        """What is known about the applied log."""
        return _read_meta(self._txn, self._meta)[0]

    def get(self, key: str) -> Stored | None:
        """The value at exactly this key."""
        raw = key_bytes(key)
        if not raw:
            return None
        record = self._txn.get(stored_key(raw), db=self._data)
        return _stored(record, len(raw)) if record is not None else None

    def first_at(self, position: str) -> str | None:
        """The smallest key that is not less than position."""
        want = key_bytes(position)
        with self._txn.cursor(self._data) as cursor:
            found = cursor.set_range(want if len(want) <= SHORT_BYTES else want[:SHORT_BYTES] + b"\0")
            while found:
                raw = bytes(cursor.key())
                if len(raw) != STORED_LONG_BYTES:
                    return key_text(raw)
                beginning = raw[:SHORT_BYTES]
                if self._group[0] != beginning:
                    self._group = (beginning, sorted(_group_at(cursor)))
                group = self._group[1]
                at = bisect_left(group, want)
                if at < len(group):
                    return key_text(group[at])
                found = cursor.set_range(beginning + b"\x01")
        return None

    def items_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        """Every key that is not less than position, in key order. Ends with the next `renew`."""
        want = key_bytes(position)
        with self._txn.cursor(self._data) as cursor:
            found = cursor.set_range(want if len(want) <= SHORT_BYTES else want[:SHORT_BYTES] + b"\0")
            while found:
                raw = bytes(cursor.key())
                if len(raw) != STORED_LONG_BYTES:
                    yield key_text(raw), _stored(cursor.value(), len(raw))
                    found = cursor.next()
                    continue
                group = sorted(_group_at(cursor))
                for key in group[bisect_left(group, want) :]:
                    yield key_text(key), _stored(self._txn.get(stored_key(key), db=self._data), len(key))
                found = cursor.set_range(raw[:SHORT_BYTES] + b"\x01")

    # Writing -----------------------------------------------------------------------------------------------------

    def make_room(self, count: int, size: int) -> int | None:
        """See to it that the map can take `count` changes of `size` bytes; nothing may be written meanwhile.

        Returns:
            The bytes that the file must have for them, or None if the map is too small: `grow` it then.
        """
        used = self._env.info()["last_pgno"] + 1
        # A change touches its leaf page; new pages come from splits and from values too large for a leaf.
        pages = used + min(count, used) + count // 8 + 2 * (size // self._page_bytes) + 64 + used // 256
        needed: int = pages * self._page_bytes
        return needed if needed <= self._map_bytes else None

    def grow(self) -> None:
        """Map more of the file. Every view taken with `begin_read` must be aborted before."""
        self._txn.abort()
        self._map_bytes = _grown(self._map_bytes)
        self._env.set_mapsize(self._map_bytes)
        self._txn = self._env.begin()

    def write(self, changes: Iterable[Change], meta: Meta, file_bytes: int) -> None:
        """Make the changes and the meta true in one synced transaction. Raises lmdb.Error or OSError."""
        # LMDB may leave pages at the end unwritten that it counts as its own. Extended first, the file is never
        # shorter than what the meta page says, and `require_sound` can take a shorter one for truncated.
        if self._file.stat().st_size < file_bytes:
            os.truncate(self._file, (file_bytes + _MIB - 1) // _MIB * _MIB)
        total = self._sum
        with self._env.begin(write=True, db=self._data) as txn:
            for key, stored in changes:
                raw = key_bytes(key)
                if stored is None:
                    before = txn.pop(stored_key(raw))
                else:
                    at, record = stored_key(raw), record_of(raw, stored.index, stored.value)
                    before = txn.replace(at, record)
                    total += fingerprint_in(record)
                if before is not None:
                    total -= fingerprint_in(before)
            total = as_sum(total)
            _put_meta(txn, self._meta, meta, total)
        self._sum = total

    def load(self, rows: Iterable[tuple[bytes, int, bytes]], meta: Meta) -> None:
        """Fill an empty table with (key, index, value) in the order `Rows` has. Raises SnapshotDamaged."""
        batch: list[tuple[bytes, bytes]] = []
        size = 0
        for key, index, value in rows:
            batch.append((stored_key(key), record_of(key, index, value)))
            size += len(key) + len(value)
            if size > 8 * _MIB or len(batch) > 32_768:
                self._load_batch(batch, size)
                batch, size = [], 0
        self._load_batch(batch, size)
        with self._env.begin(write=True) as txn:
            _put_meta(txn, self._meta, meta, self._sum)
        self._env.sync(True)

    def _load_batch(self, batch: list[tuple[bytes, bytes]], size: int) -> None:
        while (file_bytes := self.make_room(len(batch), size)) is None:
            self.grow()
        os.truncate(self._file, max(file_bytes, self._file.stat().st_size))
        with self._env.begin(write=True, db=self._data) as txn:
            for key, record in batch:
                if not txn.put(key, record, overwrite=False):
                    raise SnapshotDamaged("the snapshot has a key twice")
                self._sum = as_sum(self._sum + fingerprint_in(record))

    # Local table -------------------------------------------------------------------------------------------------

    def local_get(self, name: str) -> bytes | None:
        """The value of a name in the local table."""
        found: bytes | None = self._txn.get(name.encode(), db=self._local)
        return found[FINGERPRINT_BYTES:] if found is not None else None

    def local_items(self) -> list[tuple[bytes, bytes]]:
        """Everything in the local table."""
        with self._txn.cursor(self._local) as cursor:
            return [(name, record[FINGERPRINT_BYTES:]) for name, record in _pairs(cursor)]

    def local_write(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put, or delete where the value is None; durable when it returns. Nothing else may be written meanwhile."""
        changes = list(items)
        while self.make_room(len(changes), sum(len(value or b"") for _, value in changes)) is None:
            self.grow()
        with self._env.begin(write=True, db=self._local) as txn:
            for name, value in changes:
                if value is None:
                    txn.delete(name)
                else:
                    txn.put(name, sealed_local(name, value))
        self.renew()


class Check:
    """A point in time of a file, to be held against its fingerprints and the format while the file is in use."""

    def __init__(self, txn: lmdb.Transaction, file: Path) -> None:
        self._txn: lmdb.Transaction | None = txn
        self._fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._transaction: Transaction = newest_transaction(self._fd)
        except BaseException:
            os.close(self._fd)
            raise

    def run(self) -> None:
        """Read all of it, slowly, without LMDB. In a thread, once. Raises FileDamaged, OSError."""
        try:
            check_beside(self._fd, self._transaction, lambda: self._txn is not None)
        finally:
            os.close(self._fd)

    def close(self) -> None:
        """Let go of the old pages; `run` ends soon and finds nothing. On the thread that reads the table."""
        if self._txn is not None:
            self._txn.abort()
            self._txn = None


class Rows:
    """A point in time of a table, in the order of its LMDB keys. Any thread, one at a time."""

    def __init__(self, txn: lmdb.Transaction, data: Any, meta: Any) -> None:
        self._txn = txn
        self._data = data
        self.meta, self._left = _read_meta(txn, meta)
        self._cursor = txn.cursor(data)
        self._more: bool = self._cursor.first()

    def next(self) -> tuple[bytes, int, bytes] | None:
        """The next (key, index, value); None behind the last.

        Raises:
            FileDamaged: What was read is not what was written: nobody may make anything of it.
        """
        if not self._more:
            if self._left:
                raise FileDamaged("records are missing, or are back as they were before")
            return None
        raw = bytes(self._cursor.key())
        record = bytes(self._cursor.value())
        self._more = self._cursor.next()
        self._left = as_sum(self._left - fingerprint_in(record))
        if record[_INDEX.size : _HEAD_BYTES] != fingerprint(raw, record[: _INDEX.size], record[_HEAD_BYTES:]):
            raise FileDamaged("a record is damaged")
        index: int = _INDEX.unpack_from(record)[0]
        if len(raw) != STORED_LONG_BYTES:
            return raw, index, record[_HEAD_BYTES:]
        key = _long_key(record)
        return key, index, record[_HEAD_BYTES + _LENGTH.size + len(key) :]

    def abort(self) -> None:
        """Let go of the old pages."""
        self._more = False
        self._txn.abort()


def record_of(key: bytes, index: int, value: bytes) -> bytes:
    """What is stored under `stored_key(key)`: index | fingerprint | value, behind the key itself if that is long."""
    packed = _INDEX.pack(index)
    if len(key) > SHORT_BYTES:
        value = _LENGTH.pack(len(key)) + key + value
        key = stored_key(key)
    return packed + fingerprint(key, packed, value) + value


def _long_key(record: bytes) -> bytes:
    begin = _HEAD_BYTES + _LENGTH.size
    return record[begin : begin + _LENGTH.unpack_from(record, _HEAD_BYTES)[0]]


def _stored(record: Any, key_length: int) -> Stored:
    skipped = _HEAD_BYTES if key_length <= SHORT_BYTES else _HEAD_BYTES + _LENGTH.size + key_length
    return Stored(record[skipped:], _INDEX.unpack_from(record)[0])


def _read_meta(txn: lmdb.Transaction, table: Any) -> tuple[Meta, int]:
    """What is known about the applied log, and the sum of all fingerprints. Raises FileDamaged."""
    packed, total = txn.get(APPLIED_KEY, db=table), txn.get(SUM_KEY, db=table)
    # Transactions are opened without buffers, so these are bytes; the type stubs allow for both.
    applied = bytes(packed) if packed is not None else b""
    found = unpack_sum(bytes(total) if total is not None else b"", applied)
    return Meta.unpack(applied), found


def _put_meta(txn: lmdb.Transaction, table: Any, meta: Meta, total: int) -> None:
    packed = meta.pack()
    txn.put(APPLIED_KEY, packed, db=table)
    txn.put(SUM_KEY, pack_sum(total, packed), db=table)


def _group_at(cursor: lmdb.Cursor) -> Iterator[bytes]:
    """The whole keys of all long ones that begin as the one under the cursor does."""
    beginning = bytes(cursor.key())[:SHORT_BYTES] + b"\0"
    for raw, record in _pairs(cursor):
        if len(raw) != STORED_LONG_BYTES or not raw.startswith(beginning):
            return
        yield _long_key(record)


def _pairs(cursor: lmdb.Cursor) -> Iterator[tuple[bytes, bytes]]:
    # Transactions are opened without buffers, so these are bytes; the type stubs allow for both.
    return iter(cursor)  # type: ignore[arg-type]


def _open(folder: Path, map_bytes: int) -> lmdb.Environment:
    # Not writemap: a full disk must be an error, not a signal. readahead off: reads are random, and memory is scarce.
    return lmdb.open(str(folder), map_size=map_bytes, max_dbs=3, mode=FILE_MODE, readahead=False)


def _grown(map_bytes: int) -> int:
    return map_bytes + min(map_bytes, MAP_GROWTH_BYTES_MAX)
