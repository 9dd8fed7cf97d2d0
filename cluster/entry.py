"""The replicated command: the write sets of many requests, in one Raft entry (group commit).

Format: one byte of version, then msgpack: a list of sets, each a list of writes, each a list that starts with its
kind. Decoding admits exactly that, so that what a peer sends is either these types or refused.
"""

from collections.abc import Sequence
from typing import Final

import msgpack

from cluster.store import Check, Delete, Put, Write

FORMAT_VERSION: Final = 1

# Longer paths are refused at the edge; here the bound keeps a foreign entry from filling the key index.
KEY_BYTES_MAX: Final = 64 * 1024
# Raft indexes are counted in 8 bytes on disk.
INDEX_MAX: Final = 2**64 - 1

_PUT: Final = 0
_DELETE: Final = 1
_CHECK: Final = 2

_SHAPE: Final = "a write has an unknown shape"

# Kind, array header, length headers of key and value, and an index of 9 bytes: never less than what msgpack uses.
_WRITE_OVERHEAD_BYTES: Final = 24


def encode(sets: Sequence[Sequence[Write]]) -> bytes:
    """The command that makes these sets true, each whole or not at all, in this order.

    Raises:
        ValueError: A key is empty, over KEY_BYTES_MAX, or not text that UTF-8 can hold; or an index is out of range.
    """
    packed: bytes = msgpack.packb([[_fields(write) for write in writes] for writes in sets])
    return bytes((FORMAT_VERSION,)) + packed


def decode(data: bytes) -> list[list[Write]]:
    """The sets of a command.

    Raises:
        ValueError: Anything but what `encode` makes. The message holds nothing of the data.
    """
    if not data or data[0] != FORMAT_VERSION:
        raise ValueError("the entry has an unknown format version")
    try:
        sets = msgpack.unpackb(memoryview(data)[1:], use_list=True, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        # `from None`: msgpack keeps the offending bytes in its exceptions, and they would end up in a log.
        raise ValueError("the entry is not valid msgpack") from None
    if not isinstance(sets, list):
        raise ValueError("the entry is not a list of write sets")
    return [_set(writes) for writes in sets]


def encoded_size(writes: Sequence[Write]) -> int:
    """An upper bound, in bytes, of what this set adds to an entry. Cheap: nothing is encoded."""
    size = 5
    for write in writes:
        # A character is 1 to 4 bytes; canonical paths are ASCII nearly always, and isascii() is a flag check.
        size += _WRITE_OVERHEAD_BYTES + len(write.key) * (1 if write.key.isascii() else 4)
        if isinstance(write, Put):
            size += len(write.value)
    return size


def _fields(write: Write) -> tuple[object, ...]:
    _require_key(write.key)
    if write.seen_index is not None and not 0 <= write.seen_index <= INDEX_MAX:
        raise ValueError("a seen_index is out of range")
    if isinstance(write, Put):
        return (_PUT, write.key, write.value, write.seen_index)
    if isinstance(write, Delete):
        return (_DELETE, write.key, write.seen_index)
    return (_CHECK, write.key, write.seen_index)


def _set(writes: object) -> list[Write]:
    if not isinstance(writes, list):
        raise ValueError("a write set is not a list")
    return [_write(fields) for fields in writes]


def _write(fields: object) -> Write:
    # Exact types throughout: True is an int to Python, but not to the format. Runs for every write on every node, and
    # plain comparisons take a third of the time that patterns do.
    if type(fields) is list and len(fields) == 4:
        kind, key, value, seen_index = fields
        if (
            type(kind) is int
            and kind == _PUT
            and type(key) is str
            and type(value) is bytes
            and (seen_index is None or (type(seen_index) is int and seen_index >= 0))
        ):
            _require_key(key)
            return Put(key, value, seen_index)
    if type(fields) is not list or len(fields) != 3 or type(fields[0]) is not int:
        raise ValueError(_SHAPE)
    kind, key, seen_index = fields[0], fields[1], fields[-1]
    if type(key) is not str or not (seen_index is None or (type(seen_index) is int and seen_index >= 0)):
        raise ValueError(_SHAPE)
    _require_key(key)
    if kind == _DELETE:
        return Delete(key, seen_index)
    if kind == _CHECK and seen_index is not None:
        return Check(key, seen_index)
    raise ValueError(_SHAPE)


def _require_key(key: str) -> None:
    # Four bytes a character at most: only keys near the bound have to be measured exactly.
    if not key or (len(key) * 4 > KEY_BYTES_MAX and len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX):
        raise ValueError("a key is empty or too long")
