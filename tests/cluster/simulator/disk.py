"""A disk in memory: it forgets what was not synced, tears what was on its way, fills up, and fails a sync for good."""

import errno
import random
from pathlib import Path


class PowerLoss(BaseException):
    """The machine ends in the middle of a disk operation. No Exception: production code must not catch it."""


class Damage(BaseException):
    """Production code did what it promised never to do to a disk. No Exception: it must not catch this either."""


class _Content:
    __slots__ = ("data", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0  # bytes from the beginning that survive


class MemoryDisk:
    """`cluster.disk.Disk` of one node. It outlives the node's lives."""

    def __init__(self, rng: random.Random) -> None:
        self.is_full = False
        self.fails_sync = False
        self.gave_error = False  # from then on nothing may be written until the next start
        self.power_off_in: int | None = None  # operations until PowerLoss
        self.is_off = False
        self._rng = rng
        self._names: dict[Path, _Content] = {}
        self._durable_names: dict[Path, _Content] = {}

    def lose_power(self) -> None:
        """Forget what was not synced: names as a whole or not at all, of each file's end an arbitrary part."""
        if self._rng.random() < 0.5:
            self._names = dict(self._durable_names)
        for content in self._names.values():
            unsynced = len(content.data) - content.synced
            if unsynced:
                kept = content.synced + self._rng.randint(0, unsynced)
                del content.data[kept:]
                if self._rng.random() < 0.3 and kept > content.synced:
                    # The size was written, the last block was not.
                    hole = self._rng.randint(1, kept - content.synced)
                    content.data[kept - hole :] = bytes(hole)
                content.synced = kept
        self._durable_names = dict(self._names)
        self.repair()

    def repair(self) -> None:
        """Work again, as before the next start."""
        self.is_full = self.fails_sync = self.gave_error = self.is_off = False
        self.power_off_in = None

    def wipe(self) -> None:
        """A new, empty disk."""
        self._names, self._durable_names = {}, {}
        self.repair()

    def require_writable(self) -> None:
        """Raises OSError as a full or broken disk does."""
        if self.is_full:
            self.gave_error = True
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fails_sync:
            self.gave_error = True
            raise OSError(errno.EIO, "Input/output error")

    # cluster.disk.Disk

    def make_folder(self, path: Path) -> None:
        """Folders need no making here."""

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self._names if path.parent == folder)

    def read(self, path: Path) -> bytes:
        if path not in self._names:
            raise FileNotFoundError(path)
        return bytes(self._names[path].data)

    def open_append(self, path: Path) -> "_File":
        self._operate()
        return _File(self, self._names.setdefault(path, _Content()))

    def write(self, path: Path, data: bytes) -> None:
        self._operate()
        content = self._names[path] = _Content()
        self.grow(content, data)
        self.sync(content)

    def truncate(self, path: Path, size: int) -> None:
        self._operate()
        content = self._names[path]
        del content.data[size:]
        content.synced = min(content.synced, size)
        self.sync(content)

    def rename(self, old: Path, new: Path) -> None:
        self._operate()
        self._names[new] = self._names.pop(old)

    def remove(self, path: Path) -> None:
        self._operate()
        if path not in self._names:
            raise FileNotFoundError(path)
        del self._names[path]

    def sync_folder(self, folder: Path) -> None:
        self._operate()
        for path in [path for path in self._durable_names if path.parent == folder]:
            del self._durable_names[path]
        self._durable_names.update({path: found for path, found in self._names.items() if path.parent == folder})

    def grow(self, content: _Content, data: bytes) -> None:
        if self.gave_error:
            raise Damage("wrote to a disk that had given an error")
        if self.is_full:
            content.data += data[: self._rng.randrange(len(data) + 1)]
            self.require_writable()
        if self.power_off_in == 0:
            content.data += data[: self._rng.randrange(len(data) + 1)]
            self.is_off = True
            raise PowerLoss
        content.data += data

    def sync(self, content: _Content) -> None:
        self._operate()
        if self.gave_error:
            raise Damage("tried to sync again after a failed sync")
        if self.fails_sync:
            self.require_writable()
        content.synced = len(content.data)

    def _operate(self) -> None:
        if self.power_off_in is not None:
            self.power_off_in -= 1
            if self.power_off_in < 0:
                self.is_off = True
                raise PowerLoss


class _File:
    __slots__ = ("_content", "_disk")

    def __init__(self, disk: MemoryDisk, content: _Content) -> None:
        self._disk = disk
        self._content = content

    def append(self, data: bytes) -> None:
        self._disk.grow(self._content, data)

    def sync(self) -> None:
        self._disk.sync(self._content)

    def close(self) -> None:
        """Nothing is held."""
