"""Bytes of the journal: frames and the records within them. Pure; knows no files.

A frame is what was written in one go and is proven by one fdatasync:

    magic "SRJ1" | payload length (8) | CRC32C (4) | payload

The checksum also covers the number of the segment and the offset of the frame, so that bytes which are valid
somewhere else (an old block, a value that imitates a frame) are not valid here. The payload is the commit index
(8, a hint) and records, each starting with its kind:

    entry  1 | index (8) | term (8) | length (8) | command
    reset  2                            everything before is void
    keep   3 | index (8)                entries below index are void
    cut    4 | index (8)                entries from index on are void

Numbers are little-endian.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

import google_crc32c

MAGIC: Final = b"SRJ1"

_FRAME: Final = Struct("<4sQI")
_POSITION: Final = Struct("<QQQ")
_COMMIT: Final = Struct("<Q")
_ENTRY: Final = Struct("<BQQQ")
_INDEX: Final = Struct("<BQ")

FRAME_HEADER_BYTES: Final = _FRAME.size

_KIND_ENTRY: Final = 1
_KIND_RESET: Final = 2
_KIND_KEEP: Final = 3
_KIND_CUT: Final = 4

RESET: Final = bytes((_KIND_RESET,))

# What PySyncObj keeps in its log: command, index, term.
LogEntry = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class Reset:
    """Everything before is void."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Entries below index are void."""

    index: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Entries from index on are void."""

    index: int


Record = LogEntry | Reset | Keep | Cut


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was read back and whose checksum holds; end is the offset behind it."""

    commit_index: int
    records: Sequence[Record] = field(repr=False)
    end: int


def entry_record(command: bytes, index: int, raft_term: int) -> bytes:
    """The record of one log entry."""
    return _ENTRY.pack(_KIND_ENTRY, index, raft_term, len(command)) + command


def keep_record(index: int) -> bytes:
    """The record that voids entries below index."""
    return _INDEX.pack(_KIND_KEEP, index)


def cut_record(index: int) -> bytes:
    """The record that voids entries from index on."""
    return _INDEX.pack(_KIND_CUT, index)


def frame(segment: int, offset: int, commit_index: int, records: Sequence[bytes]) -> bytes:
    """The frame of these records, for exactly this offset of this segment."""
    payload = b"".join((_COMMIT.pack(commit_index), *records))
    return _FRAME.pack(MAGIC, len(payload), _checksum(segment, offset, payload)) + payload


def read_frame(data: bytes, segment: int, offset: int) -> Frame | None:
    """The frame at this offset of a segment's bytes, or None if there is no valid one."""
    if len(data) - offset < FRAME_HEADER_BYTES:
        return None
    magic, length, checksum = _FRAME.unpack_from(data, offset)
    start = offset + FRAME_HEADER_BYTES
    if magic != MAGIC or not _COMMIT.size <= length <= len(data) - start:
        return None
    payload = data[start : start + length]
    if _checksum(segment, offset, payload) != checksum:
        return None
    return Frame(_COMMIT.unpack_from(payload)[0], tuple(_records(payload)), start + length)


def find_frame(data: bytes, segment: int, offset: int) -> int | None:
    """The offset of the first valid frame at or behind offset, wherever it starts."""
    while (found := data.find(MAGIC, offset)) >= 0:
        if read_frame(data, segment, found) is not None:
            return found
        offset = found + 1
    return None


def _checksum(segment: int, offset: int, payload: bytes) -> int:
    seed = google_crc32c.value(_POSITION.pack(segment, offset, len(payload)))
    checksum: int = google_crc32c.extend(seed, payload)
    return checksum


def _records(payload: bytes) -> Iterator[Record]:
    # The checksum holds, so what is read here was written by `frame`; anything else is a bug, not damage.
    at = _COMMIT.size
    while at < len(payload):
        kind = payload[at]
        if kind == _KIND_ENTRY:
            _, index, raft_term, length = _ENTRY.unpack_from(payload, at)
            at += _ENTRY.size
            yield payload[at : at + length], index, raft_term
            at += length
        elif kind == _KIND_RESET:
            yield Reset()
            at += 1
        elif kind in (_KIND_KEEP, _KIND_CUT):
            _, index = _INDEX.unpack_from(payload, at)
            yield Keep(index) if kind == _KIND_KEEP else Cut(index)
            at += _INDEX.size
        else:
            raise AssertionError(f"journal record of unknown kind {kind}")
