"""Whether an LMDB file is whole enough to be mapped: LMDB itself answers a truncated one with SIGBUS.

Facts of the format (LMDB 0.9, mdb.c): pages 0 and 1 are meta pages; a page starts with its number (8), padding (2),
flags (2) and bounds (4); a meta page goes on with magic (4), version (4), address (8), map size (8), two database
records of 48 bytes (the one of free pages, whose first field is the page size, and the one of names), last page (8),
txn id (8). A database record is: padding (4), flags (2), depth (2), numbers of branch, leaf and overflow pages and of
entries (8 each), root page (8).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

from cluster.errors import DataFolderRefused

PAGE_HEADER: Final = Struct("<QHHHH")  # number, padding, flags, and where free room begins and ends
DATABASE: Final = Struct("<IHHQQQQQ")
_META: Final = Struct("<IIQQ48s48sQQ")
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_META_FLAG: Final = 0x08
_TREE_FLAGS: Final = 0x01 | 0x02  # branch, leaf
NO_ROOT: Final = 2**64 - 1
REMEDY: Final = (
    "Remove the node from the cluster (operator raft remove-peer), empty its data folder and let it join again, "
    "or restore the folder"
)


class FileDamaged(Exception):
    """The file is not what LMDB or this program wrote. The message says where."""


@dataclass(frozen=True, slots=True)
class Database:
    """A tree of pages, as its record describes it."""

    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, data: bytes) -> "Database":
        """From its record of 48 bytes."""
        return cls(*DATABASE.unpack(data)[1:])


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one meta page says: a state of the file that a transaction has left."""

    number: int
    page_bytes: int
    last_page: int
    free: Database
    names: Database


def newest_transaction(fd: int) -> Transaction:
    """The newest state that the two meta pages name. Raises FileDamaged, OSError."""
    first = _transaction(os.pread(fd, PAGE_HEADER.size + _META.size, 0), 0)
    second = _transaction(os.pread(fd, PAGE_HEADER.size + _META.size, first.page_bytes), 1)
    if second.page_bytes != first.page_bytes:
        raise FileDamaged("its meta pages contradict each other")
    return max(first, second, key=lambda transaction: transaction.number)


def require_sound(file: Path) -> None:
    """Return if both meta pages are valid, every page they count on is in the file, and the roots are there.

    Raises:
        DataFolderRefused: It is truncated or not an LMDB file.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = newest_transaction(fd)
            require_length(fd, found)
            for database in (found.free, found.names):
                if database.root != NO_ROOT:
                    at = database.root * found.page_bytes
                    _require_root(os.pread(fd, PAGE_HEADER.size, at), database.root, found.last_page)
        finally:
            os.close(fd)
    except (FileDamaged, OSError) as error:
        raise DataFolderRefused(f"{file} is damaged: {error}. {REMEDY}") from None


def require_length(fd: int, transaction: Transaction) -> None:
    """Raises FileDamaged if the file is shorter than the transaction left it."""
    size, least = os.fstat(fd).st_size, (transaction.last_page + 1) * transaction.page_bytes
    if size < least:
        raise FileDamaged(f"it is truncated to {size} of at least {least} bytes")


def _transaction(page: bytes, number: int) -> Transaction:
    if len(page) < PAGE_HEADER.size + _META.size:
        raise FileDamaged(f"its meta page {number} is cut off")
    page_number, _, flags, _, _ = PAGE_HEADER.unpack_from(page)
    magic, version, _, _, free, names, last_page, transaction = _META.unpack_from(page, PAGE_HEADER.size)
    if page_number != number or not flags & _META_FLAG or magic != _MAGIC or version != _VERSION:
        raise FileDamaged(f"its meta page {number} is not one of LMDB 0.9")
    page_bytes = DATABASE.unpack(free)[0]
    if page_bytes not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536) or last_page < 1:
        raise FileDamaged(f"its meta page {number} makes no sense")
    return Transaction(transaction, page_bytes, last_page, Database.unpack(free), Database.unpack(names))


def _require_root(page: bytes, root: int, last_page: int) -> None:
    if root > last_page or len(page) < PAGE_HEADER.size:
        raise FileDamaged("a root page is beyond its end")
    number, _, flags, _, _ = PAGE_HEADER.unpack_from(page)
    if number != root or not flags & _TREE_FLAGS:
        raise FileDamaged("a root page is overwritten")
