"""Saving the whole store as an archive, and replacing it by one (API documentation: sys/storage/raft/snapshot).

A restore touches nothing until the archive is here whole, matches its sums, and every node that has to be is ready to
take it over in one step; that step is one entry of the log (docs/decisions/0011-restore.md).
"""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cluster.disk import open_private
from cluster.errors import NoLeader, SnapshotDamaged, SnapshotRefused
from cluster.restore import name_of, require_room, rows_at
from cluster.snapshot import SnapshotReader, encoded, records, verify
from cluster.table import Meta
from node.barrier import Barrier, open_keyring
from node.core import Core
from node.errors import BarrierDamaged, RequestTooLarge, SealRefused, SealUnavailable, WrongKey
from node.keyring import Keyring
from node.limits import SNAPSHOT_BYTES_MAX
from node.seal_state import (
    AUTHORITY_KEY,
    KEYRING_KEY,
    ROOT_KEY_KEY,
    SEAL_CONFIG_KEY,
    SealConfig,
    open_under_root_key,
    seal_under_root_key,
)
from node.snapshot_archive import Unpacked, create, pack, sums_of, unpack
from node.sources import new_uuid
from node.storage import RaftStorage
from node.upload import Upload

logger = logging.getLogger(__name__)

SUMS_PURPOSE: Final = b"strongroom/snapshot/sums"
_ARCHIVE_VERSION: Final = 1
_WRITE_BYTES: Final = 1 << 20
# What unsealing takes: without them the restored cluster could never be opened again.
_NEEDED: Final = (SEAL_CONFIG_KEY, ROOT_KEY_KEY, KEYRING_KEY, AUTHORITY_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spooled:
    """state.bin on disk, already without a name: it is gone with the file object, at the latest."""

    file: BinaryIO
    size: int
    digest: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of the store, which is packed while `chunks` are read, in a thread. `close` it in any case."""

    chunks: Iterator[bytes]
    _file: BinaryIO

    def close(self) -> None:
        """Give up its room on the disk."""
        self._file.close()


class Snapshots:
    """Save and restore on the active node; one of each at a time, because each may take as much disk as the store."""

    def __init__(self, core: Core, storage: RaftStorage) -> None:
        self._core = core
        self._storage = storage
        self._folder = storage.raft.snapshots_folder
        self._saving = asyncio.Lock()
        self._restoring = asyncio.Lock()

    # -- save

    async def save(self) -> AsyncIterator[bytes]:
        """Write the store as of now to disk, and return the archive of it, which is packed while it is read.

        Raises:
            SnapshotRefused: No room on the disk, or another save is at work.
        """
        if self._saving.locked():
            raise SnapshotRefused("another snapshot is being taken; try again once it is done")
        return _in_thread(await self.take())

    async def take(self) -> Taken:
        """Write the store as of now to disk, after whoever is at it.

        Raises:
            SnapshotRefused: No room on the disk.
            NoLeader: This node may no longer lead.
        """
        async with self._saving:
            root_key = self._root_key()
            try:
                with await self._storage.raft.export() as reader:
                    spooled = await asyncio.to_thread(self._spool, reader)
            except OSError as error:
                raise SnapshotRefused(f"the disk refused the snapshot: {error.strerror}") from error
        try:
            # This node leads still, so nothing that the view lacks had been acknowledged when it was taken.
            self._storage.store.require_lease()
            sources = self._core.sources
            meta = self._meta(spooled)
            sums = sums_of(meta, spooled.digest)
            sealed = seal_under_root_key(root_key, SUMS_PURPOSE, sums, sources.random)
        except BaseException:
            spooled.file.close()
            raise
        logger.info("a snapshot of index %d is being saved (%d bytes)", spooled.meta.index, spooled.size)
        spooled.file.seek(0)
        chunks = pack(meta, spooled.file, spooled.size, sums, sealed, sources.now_ms() // 1000)
        return Taken(chunks, spooled.file)

    def _spool(self, reader: SnapshotReader) -> _Spooled:
        path = self._folder / f"save-{new_uuid(self._core.sources)}"
        file = create(path)
        path.unlink()
        try:
            size, digest = _write(file.fileno(), iter(reader), self._folder)
        except BaseException:
            file.close()
            raise
        return _Spooled(file=file, size=size, digest=digest, meta=reader.meta)

    def _meta(self, spooled: _Spooled) -> bytes:
        at = spooled.meta
        shown = {
            "ID": f"{at.raft_term}-{at.index}-{self._core.sources.now_ms()}",
            "Index": at.index,
            "Size": spooled.size,
            "Term": at.raft_term,
            "Version": _ARCHIVE_VERSION,
        }
        return json.dumps(shown).encode() + b"\n"

    # -- restore

    async def restore(self, upload: Upload, *, force: bool) -> None:
        """Replace the state of the whole cluster by an archive.

        Raises:
            SnapshotDamaged, RequestTooLarge: The archive cannot be used.
            WrongKey: It was sealed by other keys, and force was not asked for.
            SnapshotRefused: There is no room, or too few nodes could take it. In all these cases nothing was changed.
            NoLeader: Leadership was lost first; nothing was changed.
            OutcomeUnknown: Leadership or time was lost; it may yet take effect.
        """
        if self._restoring.locked():
            raise SnapshotRefused("another snapshot is being restored; wait until it is done")
        async with self._restoring:
            names = [self._folder / f"{part}-{new_uuid(self._core.sources)}" for part in ("upload", "state", "restore")]
            try:
                await self._restore(upload, force, *names)
            except OSError as error:
                raise SnapshotRefused(
                    f"the disk refused the snapshot: {error.strerror}; nothing was changed"
                ) from error
            finally:
                for path in names:
                    path.unlink(missing_ok=True)

    async def _restore(self, upload: Upload, force: bool, archive: Path, state: Path, stream: Path) -> None:
        await self._receive(upload, archive)
        unpacked = await asyncio.to_thread(unpack, archive, state, SNAPSHOT_BYTES_MAX, self._require_room)
        archive.unlink()
        if not force:
            self._require_own(unpacked)
        rows = await asyncio.to_thread(_checked, state)
        changed = await self._kept_authority(rows)
        index = await self._storage.raft.reserve_index()
        digest = await asyncio.to_thread(self._rewrite, state, stream, index, changed)
        state.unlink()
        name = name_of(index, digest)
        logger.warning("restoring the snapshot %s", name)
        await self._storage.restore(name, stream)

    async def _receive(self, upload: Upload, archive: Path) -> None:
        descriptor = open_private(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        size = 0
        gathered = bytearray()
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in upload:
                size += len(chunk)
                if size > SNAPSHOT_BYTES_MAX:
                    raise RequestTooLarge
                gathered += chunk
                if len(gathered) >= _WRITE_BYTES:
                    self._require_room(len(gathered))
                    await asyncio.to_thread(file.write, gathered)
                    gathered = bytearray()
            await asyncio.to_thread(file.write, gathered)

    def _require_own(self, unpacked: Unpacked) -> None:
        try:
            sums = open_under_root_key(self._root_key(), SUMS_PURPOSE, unpacked.sealed_sums)
        except WrongKey:
            raise WrongKey(
                "could not verify hash file, possibly the snapshot is using a different set of unseal keys; "
                "use the snapshot-force API to bypass this check"
            ) from None
        if sums != unpacked.sums:
            raise SnapshotDamaged("the snapshot's sums are not those that were sealed when it was taken")

    async def _kept_authority(self, rows: Mapping[str, bytes]) -> Mapping[bytes, bytes]:
        """This cluster's TLS authority, sealed by the snapshot's keys, if they can be had here.

        Where they cannot (another cluster's, with key shares) the snapshot's authority comes with it.
        """
        own = self._core.require_unsealed().opened.get(AUTHORITY_KEY)
        keyring = await self._keyring_of(rows)
        if keyring is None or own is None:
            return {}
        barrier = Barrier(self._core.sources.random)
        barrier.unsealed(keyring)
        try:
            barrier.open(AUTHORITY_KEY, rows[AUTHORITY_KEY])
        except BarrierDamaged:
            raise SnapshotDamaged("the snapshot's keyring does not open its own entries") from None
        return {AUTHORITY_KEY.encode(): barrier.seal(AUTHORITY_KEY, own.value)}

    async def _keyring_of(self, rows: Mapping[str, bytes]) -> Keyring | None:
        try:
            return open_keyring(self._root_key(), rows[KEYRING_KEY])
        except WrongKey:
            pass
        seal = self._core.seal
        try:
            if seal.is_auto and SealConfig.from_bytes(rows[SEAL_CONFIG_KEY]).type == seal.type:
                return open_keyring(await seal.unwrap(rows[ROOT_KEY_KEY]), rows[KEYRING_KEY])
        except (WrongKey, SealRefused, SealUnavailable, ValueError):
            logger.warning("the seal of this node does not open the snapshot's keys")
        return None

    def _rewrite(self, state: Path, stream: Path, index: int, changed: Mapping[bytes, bytes]) -> str:
        self._require_room(state.stat().st_size)
        descriptor = open_private(stream, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            return _write(descriptor, encoded(Meta(), rows_at(index, state, changed)), self._folder)[1]
        finally:
            os.close(descriptor)

    def _require_room(self, size: int) -> None:
        require_room(self._folder, size)

    def _root_key(self) -> bytes:
        if self._core.root_key is None:
            raise NoLeader("this node is sealing; nothing was changed")
        return self._core.root_key


def _checked(state: Path) -> dict[str, bytes]:
    """Read state.bin to its end; the records that unsealing takes. Raises SnapshotDamaged."""
    verify(state)
    wanted = {key.encode(): key for key in _NEEDED}
    found = {wanted[key]: value for key, _, value in records(state) if key in wanted}
    if found.keys() != set(_NEEDED):
        raise SnapshotDamaged("the snapshot is not that of an initialised cluster")
    return found


def _write(descriptor: int, chunks: Iterator[bytes], folder: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was written. Raises SnapshotRefused, OSError."""
    digest = hashlib.sha256()
    size = 0
    gathered = bytearray()
    with os.fdopen(os.dup(descriptor), "wb", buffering=0) as file:
        for chunk in chunks:
            gathered += chunk
            if len(gathered) >= _WRITE_BYTES:
                require_room(folder, len(gathered))
                _write_all(file.fileno(), gathered)
                digest.update(gathered)
                size += len(gathered)
                gathered = bytearray()
        _write_all(file.fileno(), gathered)
        digest.update(gathered)
    return size + len(gathered), digest.hexdigest()


def _write_all(descriptor: int, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def _in_thread(taken: Taken) -> AsyncIterator[bytes]:
    """The chunks, each made in a thread, so that packing holds up nothing."""
    try:
        while (chunk := await asyncio.to_thread(next, taken.chunks, None)) is not None:
            if chunk:
                yield chunk
    finally:
        taken.close()
