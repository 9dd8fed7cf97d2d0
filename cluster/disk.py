"""The few file operations the journal is made of, so that a simulator or a faulty twin can stand in for the disk.

All of them block, all raise OSError, and none of them is ever retried: after a failed fsync the kernel may have
dropped what it could not write, so a second one that succeeds proves nothing.
"""

import os
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class DiskFile(Protocol):
    """A file opened for appending."""

    def append(self, data: bytes) -> None:
        """Write all of data at the end. After an error the file may end in a part of it."""

    def sync(self) -> None:
        """Return once everything appended, and the size, is on stable storage."""

    def close(self) -> None:
        """Give the file back; syncs nothing."""


class Disk(Protocol):
    """Names and files below one folder."""

    def make_folder(self, path: Path) -> None:
        """Create the folder for the owner alone, durably; one that exists is left as it is."""

    def names(self, folder: Path) -> list[str]:
        """The names in the folder, sorted."""

    def read(self, path: Path) -> bytes:
        """The whole file. Raises FileNotFoundError."""

    def open_append(self, path: Path) -> DiskFile:
        """Open for appending; a new file is readable for its owner alone. Its name is durable after sync_folder."""

    def write(self, path: Path, data: bytes) -> None:
        """Make the file hold exactly data, synced. Not atomic: write to a temporary name and rename."""

    def truncate(self, path: Path, size: int) -> None:
        """Cut the file to size bytes, synced."""

    def rename(self, old: Path, new: Path) -> None:
        """Rename, replacing what bore the new name; durable after sync_folder."""

    def remove(self, path: Path) -> None:
        """Remove the name; durable after sync_folder."""

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in the folder are on stable storage."""


class RealFile:
    """A file of the operating system, opened for appending."""

    def __init__(self, path: Path) -> None:
        self._fd = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def append(self, data: bytes) -> None:
        write_all(self._fd, data)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class RealDisk:
    """The operating system's files."""

    def make_folder(self, path: Path) -> None:
        if not path.is_dir():
            path.mkdir(mode=FOLDER_MODE)
            path.chmod(FOLDER_MODE)
            self.sync_folder(path.parent)

    def names(self, folder: Path) -> list[str]:
        return sorted(entry.name for entry in folder.iterdir())

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def open_append(self, path: Path) -> DiskFile:
        return RealFile(path)

    def write(self, path: Path, data: bytes) -> None:
        fd = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, path: Path, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def open_private(path: Path, flags: int) -> int:
    """Open a file of ours; a new one gets FILE_MODE whatever the umask is."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    os.fchmod(fd, FILE_MODE)
    return fd


def write_all(fd: int, data: bytes) -> None:
    """Write all of data: the operating system may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
