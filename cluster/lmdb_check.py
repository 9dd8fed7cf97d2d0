"""Whether an LMDB file is whole enough to be mapped: LMDB itself answers a truncated one with SIGBUS.

Facts of the format (LMDB 0.9, mdb.c): pages 0 and 1 are meta pages; a page starts with its number (8), padding (2),
flags (2) and bounds (4); a meta page goes on with magic (4), version (4), address (8), map size (8), two database
records of 48 bytes (the first starts with the page size, each ends with its root page), last page (8), txn id (8).
"""

import os
from pathlib import Path
from struct import Struct
from typing import Final

from cluster.errors import DataFolderRefused

_PAGE_HEADER: Final = Struct("<QHHI")
_META: Final = Struct("<IIQQI36sQI36sQQQ")
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
_META_FLAG: Final = 0x08
_TREE_FLAGS: Final = 0x01 | 0x02  # branch, leaf
_NO_ROOT: Final = 2**64 - 1
REMEDY: Final = (
    "Remove the node from the cluster (operator raft remove-peer), empty its data folder and let it join again, "
    "or restore the folder"
)


def require_sound(file: Path) -> None:
    """Return if both meta pages are valid, every page they count on is in the file, and the roots are there.

    Raises:
        DataFolderRefused: It is truncated or not an LMDB file.
    """
    try:
        with file.open("rb") as data:
            size = os.fstat(data.fileno()).st_size
            head = data.read(_PAGE_HEADER.size + _META.size)
            page_bytes = _require_meta(head, 0)[1]
            data.seek(page_bytes)
            second = data.read(_PAGE_HEADER.size + _META.size)
            metas = [_require_meta(head, 0), _require_meta(second, 1)]
            _, _, last_page, roots = max(metas)
            if size < (last_page + 1) * page_bytes:
                raise ValueError(f"it is truncated to {size} of at least {(last_page + 1) * page_bytes} bytes")
            for root in roots:
                if root != _NO_ROOT:
                    data.seek(root * page_bytes)
                    _require_root(data.read(_PAGE_HEADER.size), root, last_page)
    except (ValueError, OSError) as error:
        raise DataFolderRefused(f"{file} is damaged: {error}. {REMEDY}") from None


def _require_meta(page: bytes, number: int) -> tuple[int, int, int, list[int]]:
    """(transaction, page size, last page, roots) of a meta page, ordered so that the newest is the greatest."""
    if len(page) < _PAGE_HEADER.size + _META.size:
        raise ValueError(f"its meta page {number} is cut off")
    page_number, _, flags, _ = _PAGE_HEADER.unpack_from(page)
    magic, version, _, _, page_bytes, _, free_root, _, _, main_root, last_page, transaction = _META.unpack_from(
        page, _PAGE_HEADER.size
    )
    if page_number != number or not flags & _META_FLAG or magic != _MAGIC or version != _VERSION:
        raise ValueError(f"its meta page {number} is not one of LMDB 0.9")
    if page_bytes not in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536) or last_page < 1:
        raise ValueError(f"its meta page {number} makes no sense")
    return transaction, page_bytes, last_page, [free_root, main_root]


def _require_root(page: bytes, root: int, last_page: int) -> None:
    if root > last_page or len(page) < _PAGE_HEADER.size:
        raise ValueError("a root page is beyond its end")
    number, _, flags, _ = _PAGE_HEADER.unpack_from(page)
    if number != root or not flags & _TREE_FLAGS:
        raise ValueError("a root page is overwritten")
