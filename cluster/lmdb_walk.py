"""Every page of an LMDB file, read from the file itself and held against the format.

LMDB trusts its pages: they have no checksum, a damaged one hides keys or ends the process with a signal. This reads the
same trees without LMDB, so that whatever the file holds, the worst is FileDamaged. Where it finds nothing wrong, LMDB
finds each key that it yields: keys stand in order, also against the branch pages above them, every count is right, and
no page has two owners, of which the list of free pages is one. docs/decisions/0014 says why this is so.

Facts of the format (LMDB 0.9, mdb.c), besides those in `lmdb_check`: behind its header a branch or leaf page has an
offset (2) for each node. A node is: low (2), high (2), flags (2), key length (2), key, data. In a leaf low and high are
the length of the data, which is on overflow pages if flag 1 is set, and a database record if flag 2 is; in a branch
low, high and flags are the page below. Nodes fill the end of the page without a gap, each of an even length.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from cluster.lmdb_check import DATABASE, NO_ROOT, PAGE_HEADER, Database, FileDamaged, Transaction, require_length

Row = tuple[bytes, bytes]

_BRANCH: Final = 0x01
_LEAF: Final = 0x02
_OVERFLOW: Final = 0x04
_NODE: Final = Struct("<HHHH")
_COUNT: Final = Struct("<I")  # the pages of an overflowing value, in place of the two bounds
_COUNT_AT: Final = 12
_PAGE_NUMBER: Final = Struct("<Q")
_BIG_DATA: Final = 0x01
_SUB_DATABASE: Final = 0x02
_DEPTH_MAX: Final = 32
# Its keys are integers.
_FREE_FLAGS: Final = 0x08


class Walk:
    """One pass over the state of a file that a transaction left. The file must not be written below it meanwhile."""

    def __init__(self, fd: int, transaction: Transaction) -> None:
        """Raises FileDamaged."""
        require_length(fd, transaction)
        self._fd = fd
        self._transaction = transaction
        self._page_bytes = transaction.page_bytes
        self._owned = bytearray(transaction.last_page + 1)
        self._owned[0] = self._owned[1] = 1

    def free_pages(self) -> None:
        """Walk the list of free pages. Raises FileDamaged."""
        free = self._transaction.free
        if free.flags != _FREE_FLAGS:
            raise FileDamaged("the list of free pages has flags of another kind of tree")
        for rows in self._tree(free, by_number=True):
            for _, pages in rows:
                count = _PAGE_NUMBER.unpack_from(pages)[0] if len(pages) >= _PAGE_NUMBER.size else -1
                if len(pages) < _PAGE_NUMBER.size * (count + 1) or count < 0:
                    raise FileDamaged("the list of free pages is damaged")
                for (page,) in _PAGE_NUMBER.iter_unpack(pages[_PAGE_NUMBER.size : _PAGE_NUMBER.size * (count + 1)]):
                    self._own(page, 1)

    def databases(self) -> dict[str, Database]:
        """The named databases. Raises FileDamaged."""
        names = self._transaction.names
        if names.flags:
            raise FileDamaged("the list of tables has flags of another kind of tree")
        found: dict[str, Database] = {}
        for rows in self._tree(names, records=True):
            for name, record in rows:
                if len(record) != DATABASE.size:
                    raise FileDamaged("the record of a table is damaged")
                found[name.decode(errors="replace")] = Database.unpack(record)
        return found

    def rows(self, database: Database) -> Iterator[Sequence[Row]]:
        """The rows of a named database in the order of their keys, page by page. Raises FileDamaged."""
        if database.flags:
            raise FileDamaged("a table has flags of another kind of tree")
        return self._tree(database)

    # Trees -------------------------------------------------------------------------------------------------------

    def _tree(self, tree: Database, *, by_number: bool = False, records: bool = False) -> Iterator[Sequence[Row]]:
        if tree.root == NO_ROOT:
            if (tree.depth, tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries) != (0, 0, 0, 0, 0):
                raise FileDamaged("a tree has lost its root")
            return
        branches = leaves = overflows = entries = 0
        last = b""
        ahead = [_Ahead(tree.root, 1, b"", None)]
        while ahead:
            here = ahead.pop()
            page, flags, offsets = self._page(here.page)
            if flags == _BRANCH and here.depth < min(tree.depth, _DEPTH_MAX):
                branches += 1
                ahead += self._children(page, here, offsets, by_number)
                continue
            if flags != _LEAF or here.depth != tree.depth:
                raise FileDamaged(f"page {here.page} is at a depth where its kind cannot be")
            leaves += 1
            rows, more = self._leaf(page, here.page, offsets, wanted=_SUB_DATABASE if records else 0)
            if by_number:
                rows = [(key[::-1], data) for key, data in rows]
            if rows[0][0] < here.low or (here.high is not None and rows[-1][0] >= here.high):
                raise FileDamaged(f"page {here.page} has keys that belong elsewhere")
            for key, _ in rows:
                if key <= last:
                    raise FileDamaged(f"the keys on page {here.page} are out of order")
                last = key
            overflows += more
            entries += len(rows)
            yield rows
        counted = (branches, leaves, overflows, entries)
        if counted != (tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries):
            raise FileDamaged("a tree has another number of pages or entries than it says")

    def _children(self, page: bytes, here: "_Ahead", offsets: Sequence[int], by_number: bool) -> list["_Ahead"]:
        """What is below a branch page, the first one last."""
        found: list[_Ahead] = []
        used = 0
        high = here.high
        for position in range(len(offsets) - 1, -1, -1):
            at = offsets[position]
            lowest, middle, highest, key_length = _NODE.unpack_from(page, at)
            used += _even(_NODE.size + key_length)
            key = page[at + _NODE.size : at + _NODE.size + key_length]
            # The first key of a branch page is not used: its page begins where the page above says.
            low = here.low if position == 0 else key[::-1] if by_number else key
            if low < here.low or (high is not None and low >= high):
                raise FileDamaged(f"the keys on page {here.page} are out of order")
            found.append(_Ahead(lowest | middle << 16 | highest << 32, here.depth + 1, low, high))
            high = low
        _require_packed(page, here.page, offsets, used)
        return found

    def _leaf(self, page: bytes, number: int, offsets: Sequence[int], *, wanted: int) -> tuple[list[Row], int]:
        """The rows of a leaf, and how many overflow pages they have. `wanted` is the kind that its nodes must be of."""
        rows: list[Row] = []
        used = overflows = 0
        for at in offsets:
            low, high, flags, key_length = _NODE.unpack_from(page, at)
            length = low | high << 16
            data_at = at + _NODE.size + key_length
            if flags == wanted:
                used += _even(_NODE.size + key_length + length)
                data = page[data_at : data_at + length]
            elif flags == wanted | _BIG_DATA:
                used += _even(_NODE.size + key_length + _PAGE_NUMBER.size)
                data, pages = self._overflow(page, data_at, length, number)
                overflows += pages
            else:
                raise FileDamaged(f"page {number} has a node of an unknown kind")
            rows.append((page[at + _NODE.size : data_at], data))
        _require_packed(page, number, offsets, used)
        return rows, overflows

    # Pages -------------------------------------------------------------------------------------------------------

    def _page(self, number: int) -> tuple[bytes, int, Sequence[int]]:
        """A branch or leaf page, its kind, and where its nodes are."""
        size = self._page_bytes
        page = self._read(number, size)
        self._own(number, 1)
        own_number, _, flags, lower, upper = PAGE_HEADER.unpack_from(page)
        if own_number != number or not PAGE_HEADER.size < lower <= upper < size or lower % 2:
            raise FileDamaged(f"the header of page {number} is damaged")
        offsets = memoryview(page)[PAGE_HEADER.size : lower].cast("H")
        if min(offsets) != upper or max(offsets) > size - _NODE.size:
            raise FileDamaged(f"page {number} names nodes outside itself")
        return page, flags, offsets

    def _overflow(self, page: bytes, at: int, length: int, number: int) -> tuple[bytes, int]:
        """The value of a node that is on pages of its own, and how many these are."""
        if at + _PAGE_NUMBER.size > len(page):
            raise FileDamaged(f"page {number} names nodes outside itself")
        first: int = _PAGE_NUMBER.unpack_from(page, at)[0]
        data = self._read(first, PAGE_HEADER.size + length)
        own_number, _, flags, _, _ = PAGE_HEADER.unpack_from(data)
        count: int = _COUNT.unpack_from(data, _COUNT_AT)[0]
        # It may have more pages than it needs: a value written twice in a transaction keeps the room of the larger one.
        if own_number != first or flags != _OVERFLOW or count * self._page_bytes < PAGE_HEADER.size + length:
            raise FileDamaged(f"the header of page {first} is damaged")
        self._own(first, count)
        return data[PAGE_HEADER.size :], count

    def _read(self, page: int, size: int) -> bytes:
        at = page * self._page_bytes
        if page < 2 or at + size > len(self._owned) * self._page_bytes:
            raise FileDamaged(f"page {page} is named and is not in the file")
        data = os.pread(self._fd, size, at)
        if len(data) != size:
            raise FileDamaged("it was truncated meanwhile")
        return data

    def _own(self, first: int, count: int) -> None:
        if first < 2 or first + count > len(self._owned):
            raise FileDamaged(f"page {first} is named and is not in the file")
        if any(self._owned[first : first + count]):
            raise FileDamaged(f"page {first} is used twice")
        self._owned[first : first + count] = b"\x01" * count


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A page that is still to be visited: how deep it is, and the bounds of its keys by the pages above it."""

    page: int
    depth: int
    low: bytes
    high: bytes | None


def _require_packed(page: bytes, number: int, offsets: Sequence[int], used: int) -> None:
    if min(offsets) + used != len(page):
        raise FileDamaged(f"the nodes of page {number} overlap or leave gaps")


def _even(size: int) -> int:
    return size + size % 2
