"""Replacing the state of a whole cluster by a snapshot: the log entry that says so, and what it takes on each node.

The entry names a table that is staged beside the state. Invariant: a log that holds the entry has the table, whole and
synced; a follower that lacks it does not take the entry (cluster/follower.py) and gets the state as a stream instead.
So applying never waits and never fails for want of it, on whichever node leads. docs/decisions/0011 says why.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import lmdb

from cluster.disk import RealDisk
from cluster.errors import SnapshotDamaged, SnapshotRefused
from cluster.snapshot import records, verify
from cluster.table import Table

# A snapshot is never worth the room that the log needs to go on.
DISK_RESERVE_BYTES: Final = 128 * 1024 * 1024

# The entry follows the staging within seconds. A node that restarts in between must still be able to take it: were it
# needed for the majority, the leader would wait for ever.
STAGED_S_MAX: Final = 3600.0

_FORMAT_VERSION: Final = 2  # of an entry; 1 is a list of write sets (cluster/entry.py)
_NAME: Final = re.compile(r"[0-9]{1,20}-[0-9a-f]{64}")
_PREFIX: Final = "vault.db.restore-"
_CHUNK_BYTES: Final = 1 << 20


def name_of(index: int, digest: str) -> str:
    """The name of a restore: the index reserved for its rows, and the SHA-256 of its stream in hexadecimal."""
    return f"{index}-{digest}"


def encode_restore(name: str) -> bytes:
    """The body of the entry."""
    return bytes((_FORMAT_VERSION,)) + name.encode()


def restored_name(body: bytes) -> str | None:
    """The name in the body of a restore; None for any other entry."""
    if body[:1] != bytes((_FORMAT_VERSION,)):
        return None
    name = body[1:].decode(errors="replace")
    return name if _NAME.fullmatch(name) else None


def require_room(folder: Path, size: int) -> None:
    """Raises SnapshotRefused if the disk would have less than DISK_RESERVE_BYTES left after this many bytes."""
    if shutil.disk_usage(folder).free < size + DISK_RESERVE_BYTES:
        raise SnapshotRefused(
            f"the disk that holds {folder} has no room for {size >> 20} MiB beside the {DISK_RESERVE_BYTES >> 20} MiB "
            "kept free for the log; nothing was changed"
        )


class StagedRestores:
    """The tables that wait beside the state for an entry that names them. `stage` may run in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where the table of this name is, or would be."""
        return self._folder / (_PREFIX + name)

    def holds(self, name: str) -> bool:
        """Whether it is there, whole."""
        return self.path(name).is_dir()

    def stage(self, name: str, stream: Path) -> None:
        """Unpack a stream, so that it outlasts a crash. One that is there already stays.

        Raises:
            SnapshotDamaged: It is not the stream of this name, or is damaged.
            SnapshotRefused: The disk has no room or failed.
        """
        if self.holds(name):
            return
        partial = self._folder / (_PREFIX + "partial")
        try:
            require_room(self._folder, 2 * stream.stat().st_size)
            if _NAME.fullmatch(name) is None or _digest(stream) != name.partition("-")[2]:
                raise SnapshotDamaged("the stream is not the one that was announced; nothing was changed")
            meta = verify(stream)
            if partial.exists():
                shutil.rmtree(partial)
            Table.create(partial)
            table = Table(partial)
            try:
                table.load(records(stream), meta)
            finally:
                table.close()
            RealDisk().sync_folder(partial)
            partial.rename(self.path(name))
            RealDisk().sync_folder(self._folder)
        except (lmdb.Error, OSError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SnapshotRefused(f"the snapshot could not be unpacked ({reason}); nothing was changed") from error

    def discard(self, *, keep: Collection[str]) -> None:
        """Remove all but these names."""
        kept = {self.path(name) for name in keep}
        for path in self._folder.glob(_PREFIX + "*"):
            if path not in kept:
                shutil.rmtree(path)

    def discard_old(self, *, keep: Collection[str]) -> None:
        """At start: remove what an entry that is still on its way can no longer name."""
        oldest_s = time.time() - STAGED_S_MAX
        young = {
            path.name.removeprefix(_PREFIX)
            for path in self._folder.glob(_PREFIX + "*")
            if path.stat().st_mtime > oldest_s
        }
        self.discard(keep=young.union(keep))


def rows_at(index: int, stream: Path, changed: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    """The rows of a verified stream, as written at this index, with the changed values in place of theirs."""
    return ((key, index, changed.get(key, value)) for key, _, value in records(stream))


def _digest(stream: Path) -> str:
    digest = hashlib.sha256()
    with stream.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
