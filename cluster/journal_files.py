"""The segment files of the journal: reading them back at start, appending frames, rolling and deleting.

Names are numbers that only grow ("0000000000000001.seg"). Nothing is ever written in place. Because a frame is
written only after the previous one was synced, only the last frame of the last segment can be torn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog

from cluster.disk import Disk, DiskFile
from cluster.errors import DataFolderRefused
from cluster.journal_format import Cut, Frame, Keep, LogEntry, Record, Reset, find_frame, frame, read_frame

# Small enough that compaction gives space back soon, large enough that new files (two fsyncs more) are rare.
SEGMENT_BYTES_MAX: Final = 16 * 1024 * 1024

_SUFFIX: Final = ".seg"
REMEDY: Final = (
    "Entries that this node has acknowledged may be lost, so it does not start. Restore the file, or remove "
    "the node from the cluster (operator raft remove-peer), empty its data folder and let it join again"
)

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Replayed:
    """What the segments say: the live entries, and the commit index noted last."""

    entries: list[LogEntry] = field(default_factory=list, repr=False)
    commit_index: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What one flush writes. Made on the event loop, so that the worker thread reads nothing that changes."""

    records: Sequence[bytes] = field(repr=False)
    commit_index: int
    first_index: int  # of the entries that are live after this batch; 0: none is
    highest_index: int  # of the entries in this batch, behind its last reset; 0: none
    resets: bool


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int = 0
    # Highest index of an entry in this file that no reset has voided: the file stays while that entry is needed.
    highest: int = 0


class Segments:
    """The segment files of one journal. Used by one thread at a time."""

    def __init__(self, folder: Path, disk: Disk, *, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        self._folder = folder
        self._disk = disk
        self._segment_bytes_max = segment_bytes_max
        self._segments: list[_Segment] = []
        self._file: DiskFile | None = None
        self.tail_was_cut = False  # by `load`

    def load(self) -> Replayed:
        """Read every segment back; a torn tail is cut with a warning.

        Raises:
            DataFolderRefused: A frame that was synced is damaged, or a segment is missing. Nothing was changed.
        """
        replayed = Replayed()
        numbers = self._numbers()
        for number in numbers:
            self._load_segment(number, replayed, is_last=number == numbers[-1])
        return replayed

    def write(self, batch: Batch) -> None:
        """Write one frame and return once it is durable; then delete the segments that nothing needs any more.

        Raises OSError, after which nothing may be written again.
        """
        is_new = self._open_for_append()
        segment, file = self._segments[-1], self._file
        assert file is not None
        data = frame(segment.number, segment.size, batch.commit_index, batch.records)
        file.append(data)
        file.sync()
        if is_new:
            self._disk.sync_folder(self._folder)
        segment.size += len(data)
        self._note(batch)
        self._prune(batch.first_index)

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _note(self, batch: Batch) -> None:
        if batch.resets:
            for segment in self._segments:
                segment.highest = 0
        self._segments[-1].highest = max(self._segments[-1].highest, batch.highest_index)

    def _prune(self, first_index: int) -> None:
        """Delete segments, oldest first, that hold only entries below first_index."""
        removed = False
        while len(self._segments) > 1 and self._segments[0].highest < first_index:
            self._disk.remove(self._segments.pop(0).path)
            removed = True
        if removed:
            self._disk.sync_folder(self._folder)

    def _open_for_append(self) -> bool:
        """Have a file open that takes one more frame; says whether its name is new."""
        last = self._segments[-1] if self._segments else None
        if last is None or last.size >= self._segment_bytes_max:
            self.close()
            number = last.number + 1 if last else 1
            self._segments.append(_Segment(number, self._folder / f"{number:016d}{_SUFFIX}"))
        if self._file is None:
            self._file = self._disk.open_append(self._segments[-1].path)
        return self._segments[-1].size == 0

    def _numbers(self) -> list[int]:
        numbers = []
        for name in self._disk.names(self._folder):
            stem = name.removesuffix(_SUFFIX)
            if stem == name or not stem.isdecimal() or len(stem) != 16:
                raise DataFolderRefused(f"{self._folder / name} is no journal segment. Move it out of the folder")
            numbers.append(int(stem))
        for number, following in pairwise(numbers):
            if following != number + 1:
                raise DataFolderRefused(f"journal segment {number + 1} is missing in {self._folder}. {REMEDY}")
        return numbers

    def _load_segment(self, number: int, replayed: Replayed, *, is_last: bool) -> None:
        path = self._folder / f"{number:016d}{_SUFFIX}"
        data = self._disk.read(path)
        segment = _Segment(number, path)
        self._segments.append(segment)
        while segment.size < len(data):
            found = read_frame(data, number, segment.size)
            if found is None:
                self._cut_torn_tail(segment, data, is_last=is_last)
                return
            self._replay(found, segment, replayed)
            segment.size = found.end

    def _cut_torn_tail(self, segment: _Segment, data: bytes, *, is_last: bool) -> None:
        intact = find_frame(data, segment.number, segment.size + 1)
        if not is_last or intact is not None:
            where = f"{segment.path} is damaged at offset {segment.size}"
            proof = "an intact frame follows it" if intact is not None else "a later segment follows it"
            raise DataFolderRefused(f"{where}, and {proof}, so it had been written whole. {REMEDY}")
        lost = len(data) - segment.size
        _log.warning("cut a torn write off the journal", file=str(segment.path), offset=segment.size, bytes=lost)
        self._disk.truncate(segment.path, segment.size)
        self.tail_was_cut = True

    def _replay(self, found: Frame, segment: _Segment, replayed: Replayed) -> None:
        replayed.commit_index = found.commit_index
        for record in found.records:
            try:
                self._replay_record(record, segment, replayed.entries)
            except ValueError as error:
                raise DataFolderRefused(f"{segment.path}, offset {segment.size}: {error}. {REMEDY}") from None

    def _replay_record(self, record: Record, segment: _Segment, entries: list[LogEntry]) -> None:
        match record:
            case Reset():
                entries.clear()
                for earlier in self._segments:
                    earlier.highest = 0
            case Keep(index):
                drop_below(entries, index)
            case Cut(index):
                drop_from(entries, index)
            case (_, index, _):
                drop_from(entries, index)
                if entries and index != entries[-1][1] + 1:
                    raise ValueError(f"entry {entries[-1][1] + 1} is missing before entry {index}")
                entries.append(record)
                segment.highest = max(segment.highest, index)


def drop_from(entries: list[LogEntry], index: int) -> None:
    """Remove the entries from index on."""
    if entries and index <= entries[-1][1]:
        del entries[max(0, index - entries[0][1]) :]


def drop_below(entries: list[LogEntry], index: int) -> None:
    """Remove the entries below index."""
    if entries and index > entries[0][1]:
        del entries[: index - entries[0][1]]
