"""A disk in memory that can lose power, fill up, fail an fsync or be slow: the twin of `cluster.disk.RealDisk`."""

import errno
from collections.abc import Callable
from pathlib import Path


class _Content:
    def __init__(self) -> None:
        self.written = b""
        self.synced = b""


class FaultyDisk:
    """Bytes survive `lose_power` once their file is synced, names once their folder is."""

    def __init__(self) -> None:
        self.capacity: int | None = None  # bytes; what goes over is ENOSPC, after the part that fits
        self.fail_sync = False
        self.sync_calls = 0
        self.on_sync: Callable[[], object] = lambda: None
        self._names: dict[Path, _Content] = {}
        self._durable_names: dict[Path, _Content] = {}

    def lose_power(self, *, keep_unsynced: int = 0) -> None:
        """Forget what was not synced, but for the first keep_unsynced bytes of each file."""
        self._names = dict(self._durable_names)
        for content in self._names.values():
            kept = len(content.synced) + keep_unsynced
            content.written = content.written[:kept] if content.written.startswith(content.synced) else content.synced
            content.synced = content.written
        self.capacity, self.fail_sync = None, False

    def flip(self, path: Path, offset: int, bit: int = 0) -> None:
        """Damage one bit on the medium."""
        data = bytearray(self._names[path].written)
        data[offset] ^= 1 << bit
        self.put(path, bytes(data))

    def put(self, path: Path, data: bytes) -> None:
        """Have a file hold exactly this, durably."""
        content = _Content()
        content.written = content.synced = data
        self._names[path] = self._durable_names[path] = content

    def paths(self) -> list[Path]:
        """Every file, sorted."""
        return sorted(self._names)

    # cluster.disk.Disk

    def make_folder(self, path: Path) -> None:
        """Folders need no making here."""

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self._names if path.parent == folder)

    def read(self, path: Path) -> bytes:
        if path not in self._names:
            raise FileNotFoundError(path)
        return self._names[path].written

    def open_append(self, path: Path) -> "_File":
        return _File(self, self._names.setdefault(path, _Content()))

    def write(self, path: Path, data: bytes) -> None:
        content = self._names[path] = _Content()
        self.grow(content, data)
        self.sync(content)

    def truncate(self, path: Path, size: int) -> None:
        content = self._names[path]
        content.written = content.written[:size]
        self.sync(content)

    def rename(self, old: Path, new: Path) -> None:
        self._names[new] = self._names.pop(old)

    def remove(self, path: Path) -> None:
        del self._names[path]

    def sync_folder(self, folder: Path) -> None:
        for path in [path for path in self._durable_names if path.parent == folder]:
            del self._durable_names[path]
        self._durable_names.update({path: found for path, found in self._names.items() if path.parent == folder})

    def grow(self, content: _Content, data: bytes) -> None:
        used = sum(len(other.written) for other in self._names.values())
        room = len(data) if self.capacity is None else max(0, self.capacity - used)
        content.written += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def sync(self, content: _Content) -> None:
        self.sync_calls += 1
        self.on_sync()
        if self.fail_sync:
            raise OSError(errno.EIO, "Input/output error")
        content.synced = content.written


class _File:
    def __init__(self, disk: FaultyDisk, content: _Content) -> None:
        self._disk = disk
        self._content = content

    def append(self, data: bytes) -> None:
        self._disk.grow(self._content, data)

    def sync(self) -> None:
        self._disk.sync(self._content)

    def close(self) -> None:
        """Nothing is held."""
