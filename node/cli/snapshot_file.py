"""A snapshot file: a gzip tar of meta.json, state.bin, SHA256SUMS and SHA256SUMS.sealed.

state.bin is the stream that cluster/snapshot.py describes. Everything here reads files that may come from anywhere:
sizes are bounded, nothing is unpacked to disk, and a member's name is never used as a path.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import IO, Final

from node.cli.errors import CliError

META: Final = "meta.json"
STATE: Final = "state.bin"
SUMS: Final = "SHA256SUMS"
SEALED_SUMS: Final = "SHA256SUMS.sealed"
SMALL_BYTES_MAX: Final = 1 << 20
"""For meta.json and the sums, which take a few hundred bytes."""
KEY_BYTES_MAX: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 18
_MAGIC: Final = b"SRSNAP01"
_LENGTH: Final = Struct("<I")
_ROW: Final = Struct("<QI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What meta.json says."""

    id: str
    size_bytes: int
    index: int
    raft_term: int
    version: str


def check_complete(path: Path) -> None:
    """Read the archive to its end and hold its members against their sums.

    Raises:
        CliError: Something is missing or altered. OSError for what cannot be read.
    """
    found: dict[str, str] = {}
    listed: dict[str, str] = {}
    with _archive(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name == SUMS:
                listed = _parse_sums(_small(content))
            else:
                found[member.name] = _digest(content)
    if SEALED_SUMS not in found:
        raise CliError(f"incomplete snapshot: the archive has no {SEALED_SUMS}")
    if set(listed) != {META, STATE} or any(found.get(name) != digest for name, digest in listed.items()):
        raise CliError("damaged snapshot: its content does not match its SHA-256 sums")


def read_summary(path: Path) -> Summary:
    """Read meta.json. Raises CliError when there is none or it makes no sense."""
    with _archive(path) as archive:
        try:
            meta = json.loads(_small(_member(archive, META)))
            return Summary(
                id=str(meta["ID"]),
                size_bytes=int(meta["Size"]),
                index=int(meta["Index"]),
                raft_term=int(meta["Term"]),
                version=str(meta["Version"]),
            )
        except (ValueError, KeyError, TypeError):
            raise CliError(f"damaged snapshot: {META} makes no sense") from None


def count_keys(path: Path, prefix: str, depth: int) -> dict[str, tuple[int, int]]:
    """Number and size in bytes of entries by the first segments of their key; 0 segments means whole keys."""
    counts: dict[str, tuple[int, int]] = {}
    with _archive(path) as archive:
        for key, size in _records(_member(archive, STATE)):
            if not key.startswith(prefix):
                continue
            name = "/".join(key.split("/")[:depth]) if depth > 0 else key
            count, total = counts.get(name, (0, 0))
            counts[name] = (count + 1, total + size)
    return dict(sorted(counts.items(), key=lambda item: (-item[1][1], item[0])))


@contextmanager
def _archive(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            yield archive
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        raise CliError("incomplete snapshot: the file is cut off or no gzip archive") from None
    except OSError as error:
        if error.errno is None:  # what gzip raises for bytes that are none
            raise CliError("incomplete snapshot: the file is cut off or no gzip archive") from None
        raise


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    for member in archive:
        if member.name == name and (content := archive.extractfile(member)) is not None:
            return content
    raise CliError(f"incomplete snapshot: the archive has no {name}")


def _small(content: IO[bytes]) -> bytes:
    data = content.read(SMALL_BYTES_MAX + 1)
    if len(data) > SMALL_BYTES_MAX:
        raise CliError("damaged snapshot: a member that should be small is not")
    return data


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _parse_sums(content: bytes) -> dict[str, str]:
    lines = re.findall(rb"^([0-9a-f]{64})  (\S+)$", content, re.MULTILINE)
    return {name.decode(errors="replace"): digest.decode() for digest, name in lines}


def _records(stream: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Key, and size of key and value, of every record; values are passed over."""
    if _exactly(stream, len(_MAGIC)) != _MAGIC:
        raise CliError(f"damaged snapshot: {STATE} was not written by this program")
    _skip(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0])
    while length := _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]:
        _, key_bytes = _ROW.unpack(_exactly(stream, _ROW.size))
        size = length - _ROW.size
        if not 0 < key_bytes <= min(size, KEY_BYTES_MAX):
            raise CliError("damaged snapshot: a record makes no sense")
        key = _exactly(stream, key_bytes).decode(errors="replace")
        _skip(stream, size - key_bytes)
        yield key, size


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise CliError(f"incomplete snapshot: {STATE} is cut off")
    return data


def _skip(stream: IO[bytes], size: int) -> None:
    while size:
        chunk = _exactly(stream, min(size, _CHUNK_BYTES))
        size -= len(chunk)
