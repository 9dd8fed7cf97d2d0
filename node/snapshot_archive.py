"""The archive that operators keep: a gzip tar of meta.json, state.bin, SHA256SUMS and SHA256SUMS.sealed.

`pack` writes it chunk by chunk, `unpack` takes it apart again into a file and three small members. Archives come from
anywhere: sizes are bounded, names are compared and never used as paths. Everything here blocks; run it in a thread.
"""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from cluster.disk import open_private
from cluster.errors import SnapshotDamaged

META: Final = "meta.json"
STATE: Final = "state.bin"
SUMS: Final = "SHA256SUMS"
SEALED_SUMS: Final = "SHA256SUMS.sealed"

_MEMBERS: Final = frozenset({META, STATE, SUMS, SEALED_SUMS})
_SMALL_BYTES_MAX: Final = 1 << 20  # for all members but state.bin: a few hundred bytes
_CHUNK_BYTES: Final = 1 << 18
_BLOCK: Final = 512
# Stored as it is: sealed values do not get smaller, and trying takes five times as long as reading them from disk.
_LEVEL: Final = 0
_GZIP: Final = 16 + zlib.MAX_WBITS


def sums_of(meta: bytes, state_digest: str) -> bytes:
    """SHA256SUMS: a line for each of the two members that hold anything."""
    return f"{hashlib.sha256(meta).hexdigest()}  {META}\n{state_digest}  {STATE}\n".encode()


def pack(meta: bytes, state: BinaryIO, size: int, sums: bytes, sealed_sums: bytes, now_s: int) -> Iterator[bytes]:
    """The archive, in chunks of a few hundred KiB; `state` is read from where it stands, `size` bytes."""
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    yield squeeze.compress(_member(META, meta, now_s) + _header(STATE, size, now_s))
    left = size
    while left:
        chunk = state.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise SnapshotDamaged("the snapshot ended early while it was packed; start again")
        left -= len(chunk)
        yield squeeze.compress(chunk)
    end = _padding(size) + _member(SUMS, sums, now_s) + _member(SEALED_SUMS, sealed_sums, now_s) + bytes(2 * _BLOCK)
    yield squeeze.compress(end) + squeeze.flush()


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was in an archive: state.bin is in `state`, and matches its sum."""

    meta: bytes
    sums: bytes
    sealed_sums: bytes
    state: Path


def unpack(archive: Path, state: Path, state_bytes_max: int, require_room: Callable[[int], None]) -> Unpacked:
    """Take an archive apart, and hold its members against their sums.

    Args:
        state: The file that state.bin goes to; made here.
        require_room: Raises when the disk cannot take so many bytes more.

    Raises:
        SnapshotDamaged: It is cut off, altered, too large, or no such archive.
    """
    small: dict[str, bytes] = {}
    digest = ""
    try:
        with archive.open("rb") as file:
            inflated = _Inflated(file)
            with tarfile.open(fileobj=cast("IO[bytes]", inflated), mode="r|") as tar:
                for member in tar:
                    content = tar.extractfile(member)
                    is_known = member.name in _MEMBERS and member.name not in small
                    if content is None or not is_known or (member.name == STATE and digest):
                        raise SnapshotDamaged("the archive holds something that does not belong into a snapshot")
                    if member.name != STATE:
                        small[member.name] = _small(content)
                        continue
                    if member.size > state_bytes_max:
                        raise SnapshotDamaged(f"the snapshot is larger than {state_bytes_max >> 30} GiB")
                    require_room(member.size)
                    digest = _extract(content, state)
            inflated.require_end()
    except (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error):
        raise SnapshotDamaged("the snapshot is cut off or no gzip archive") from None
    if small.keys() != _MEMBERS - {STATE} or not digest:
        raise SnapshotDamaged("the snapshot is incomplete: a member is missing")
    if small[SUMS] != sums_of(small[META], digest):
        raise SnapshotDamaged("the snapshot is damaged: its content does not match its SHA-256 sums")
    return Unpacked(small[META], small[SUMS], small[SEALED_SUMS], state)


class _Inflated:
    """The tar inside a gzip file, read as a stream; zlib checks length and checksum at the end of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(_GZIP)

    def read(self, size: int) -> bytes:
        """At most size bytes; none at the end. Raises SnapshotDamaged where the file ends before the stream does."""
        while not self._inflate.eof:
            chunk = self._inflate.unconsumed_tail or self._file.read(_CHUNK_BYTES)
            if not chunk:
                raise SnapshotDamaged("the snapshot is cut off")
            if data := self._inflate.decompress(chunk, size):
                return data
        return b""

    def require_end(self) -> None:
        """Read what is left. Raises SnapshotDamaged unless it is the end of the stream and of the file."""
        while self.read(_CHUNK_BYTES):
            pass
        if self._inflate.unused_data or self._file.read(1):
            raise SnapshotDamaged("the snapshot goes on behind its end")


def _extract(content: IO[bytes], state: Path) -> str:
    digest = hashlib.sha256()
    with create(state) as file:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def create(path: Path) -> BinaryIO:
    """A new file for the owner alone. Raises FileExistsError."""
    return os.fdopen(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")


def _small(content: IO[bytes]) -> bytes:
    data = content.read(_SMALL_BYTES_MAX + 1)
    if len(data) > _SMALL_BYTES_MAX:
        raise SnapshotDamaged("a member of the snapshot that should be small is not")
    return data


def _header(name: str, size: int, now_s: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, now_s
    return info.tobuf(tarfile.GNU_FORMAT)


def _member(name: str, content: bytes, now_s: int) -> bytes:
    return _header(name, len(content), now_s) + content + _padding(len(content))


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
