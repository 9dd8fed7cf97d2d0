"""Whether a state file holds what was written to it: a fingerprint for each record, and their sum for all of them.

The sum is kept in the same transaction as the records, so a record that is gone, or that is back as it was before, does
not go unseen, whatever the file looks like otherwise. `lmdb_walk` proves besides that LMDB finds each record that is
there. Against somebody who writes the file this proves nothing: whoever can do that can also put an old file back.
docs/decisions/0014 has the alternatives and what it costs.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Final

from cluster.lmdb_check import FileDamaged, Transaction, newest_transaction
from cluster.lmdb_walk import Row, Walk

FINGERPRINT_BYTES: Final = 16
APPLIED_KEY: Final = b"applied"
SUM_KEY: Final = b"sum"
TABLES: Final = ("data", "meta", "local")

_FORMAT_VERSION: Final = 1
_VERSION_BYTE: Final = bytes((_FORMAT_VERSION,))
_MASK: Final = (1 << 8 * FINGERPRINT_BYTES) - 1
_INDEX_BYTES: Final = 8
_number: Final = int.from_bytes
_HEAD_BYTES: Final = _INDEX_BYTES + FINGERPRINT_BYTES
# A check beside the event loop works this long and rests four times as long.
_WORK_S: Final = 0.001
_REST: Final = 4


def fingerprint(key: bytes, index: bytes, rest: bytes) -> bytes:
    """Of a record: its LMDB key, the packed index and what follows.

    The byte that ends the key is in no UTF-8; in a long key, which ends in a hash, it may be, but all of these are of
    one length.
    """
    return blake2b(key + b"\xff" + index + rest).digest()[:FINGERPRINT_BYTES]


def fingerprint_in(record: bytes) -> int:
    """The one that this record carries, as a number to add or to take away."""
    return _number(record[_INDEX_BYTES:_HEAD_BYTES], "little")


def as_sum(total: int) -> int:
    """What was added up, as it is kept."""
    return total & _MASK


def pack_sum(total: int, applied: bytes) -> bytes:
    """The record of the sum; it vouches for the one of the applied log too."""
    data = _VERSION_BYTE + total.to_bytes(FINGERPRINT_BYTES, "little")
    return data + blake2b(data + applied).digest()[:FINGERPRINT_BYTES]


def unpack_sum(record: bytes, applied: bytes) -> int:
    """The sum.

    Raises:
        FileDamaged: It is damaged, missing, does not belong to this record of the applied log, or is of a newer format.
    """
    if not record or not applied:
        raise FileDamaged("the record of what it reflects is missing")
    if record[:1] != _VERSION_BYTE:
        raise FileDamaged("it is of another format than this version of the program writes")
    total = int.from_bytes(record[1 : 1 + FINGERPRINT_BYTES], "little")
    if record != pack_sum(total, applied):
        raise FileDamaged("the record of what it reflects is damaged")
    return total


def sealed_local(name: bytes, value: bytes) -> bytes:
    """A record of the local table."""
    return fingerprint(name, b"", value) + value


def opened_local(name: bytes, record: bytes) -> bytes:
    """The value of a record of the local table. Raises FileDamaged."""
    value = record[FINGERPRINT_BYTES:]
    if record != sealed_local(name, value):
        raise FileDamaged("a record of the local table is damaged")
    return value


def check_file(path: Path) -> None:
    """Read a state file that nothing writes meanwhile to its end. Raises FileDamaged, OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in _pages(fd, newest_transaction(fd)):
            pass
    finally:
        os.close(fd)


def check_beside(fd: int, transaction: Transaction, is_wanted: Callable[[], bool]) -> None:
    """The same for one that is in use, in a thread and slowly; `is_wanted` says whether its pages are still held.

    Raises:
        FileDamaged: It is damaged, unless it is not wanted any more: then nothing it finds counts.
    """
    begun_s = time.monotonic()
    try:
        for _ in _pages(fd, transaction):
            if not is_wanted():
                return
            if time.monotonic() - begun_s > _WORK_S:
                time.sleep(_REST * _WORK_S)
                begun_s = time.monotonic()
    except FileDamaged:
        if is_wanted():
            raise


def _pages(fd: int, transaction: Transaction) -> Iterator[None]:
    """Check page after page."""
    walk = Walk(fd, transaction)
    walk.free_pages()
    tables = walk.databases()
    if set(tables) != set(TABLES):
        raise FileDamaged("its tables are not those of this program")
    total = 0
    for rows in walk.rows(tables["data"]):
        total = _sum_of(rows, total)
        yield
    meta = dict(chain.from_iterable(walk.rows(tables["meta"])))
    if unpack_sum(meta.get(SUM_KEY, b""), meta.get(APPLIED_KEY, b"")) != total:
        raise FileDamaged("records are missing, or are back as they were before")
    for name, record in chain.from_iterable(walk.rows(tables["local"])):
        opened_local(name, record)


def _sum_of(rows: Sequence[Row], total: int) -> int:
    for key, record in rows:
        if record[_INDEX_BYTES:_HEAD_BYTES] != fingerprint(key, record[:_INDEX_BYTES], record[_HEAD_BYTES:]):
            raise FileDamaged("a record is damaged")
        total += fingerprint_in(record)
    return as_sum(total)
