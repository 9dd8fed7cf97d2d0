"""A disk of a few megabytes that can really be full; making one takes root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A tmpfs of this size; None where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of this size, or a skip."""
    with mounted(folder, megabytes) as disk:
        yield required(disk)


def required(disk: Path | None) -> Path:
    """The disk, or a skip."""
    if disk is None:
        pytest.skip("mounting a small tmpfs takes root and the right to mount")
    return disk


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill it but for so many bytes; the file to remove when it is to have room again."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_frsize - leave
    with ballast.open("wb") as file:
        if size > 0:
            os.posix_fallocate(file.fileno(), 0, size)
    return ballast
