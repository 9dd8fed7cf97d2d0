"""Moving a mount to another path, in steps that a crash can interrupt anywhere. Nothing that is stored moves.

First the row is closed, in the entry that leaves the migration's record: from then on nothing of the mount can be
reached. Then everything it issued is revoked, under its old path. Last, the row gets its new path and the migration
its result, in one entry. The active node continues what it finds in progress.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

import msgpack

from cluster.errors import Conflict
from engines.common.errors import EngineError
from engines.common.plan import Delete, Put, Write
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, decode_mounts, encode_mounts, with_mount
from node.quotas.moves import moved
from node.unsealed import Unsealed

logger = logging.getLogger(__name__)

MIGRATIONS: Final = "sys/remount/"
MIGRATIONS_MAX: Final = 256  # kept to be asked for; the oldest that have ended go first
IN_PROGRESS: Final = "in-progress"
SUCCESS: Final = "success"
FAILURE: Final = "failure"
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Migration:
    """A move and how it stands. Paths end in "/"."""

    mount_uuid: str
    source: str
    target: str
    status: str
    begun_ms: int

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb((self.mount_uuid, self.source, self.target, self.status, self.begun_ms)))

    @staticmethod
    def of_bytes(record: bytes) -> Migration:
        """Undo `to_bytes`."""
        if record[:1] != _FORMAT:
            raise ValueError("unknown format of a stored record")
        return Migration(*msgpack.unpackb(record[1:]))


def table_key(path: str) -> str:
    """The mount table that a path is in."""
    return AUTH_KEY if path.startswith("auth/") else MOUNTS_KEY


def read_migration(node: Unsealed, migration_id: str) -> Migration | None:
    """A migration that is under way or ended not long ago."""
    seen = node.opened.get(MIGRATIONS + migration_id)
    return None if seen is None else Migration.of_bytes(seen.value)


def begin_writes(node: Unsealed, migration_id: str, mount: Mount, target: str) -> tuple[Write, ...]:
    """The writes after which the mount is closed and `finish` moves it."""
    key = table_key(mount.path)
    seen = node.opened.get(key)
    assert seen is not None, "the tables are written at init"
    rows = with_mount(decode_mounts(seen.value), replace(mount, closed=True))
    migration = Migration(mount.uuid, mount.path, target, IN_PROGRESS, node.sources.now_ms())
    return (
        Put(key, encode_mounts(rows), seen.index),
        Put(MIGRATIONS + migration_id, migration.to_bytes(), 0),
        *_old_migrations(node),
    )


def _old_migrations(node: Unsealed) -> list[Write]:
    ended: list[tuple[int, str]] = []
    for key in node.opened.keys(MIGRATIONS):
        seen = node.opened.get(key)
        found = Migration.of_bytes(seen.value) if seen is not None else None
        if found is not None and found.status != IN_PROGRESS:
            ended.append((found.begun_ms, key))
    return [Delete(key) for _, key in sorted(ended)[: max(0, len(ended) - MIGRATIONS_MAX + 1)]]


async def finish(node: Unsealed, migration_id: str) -> None:
    """Work a migration off. Doing it twice, or from its start after a crash, does no harm.

    Raises:
        ClusterError: This node cannot write any more; the next active one goes on.
    """
    migration = read_migration(node, migration_id)
    if migration is None or migration.status != IN_PROGRESS:
        return
    try:
        await node.ledger.leases.revoke_prefix(migration.source, is_sync=True)
    except EngineError as error:
        # The mount opens again where it was: what is still issued can only be revoked by it.
        logger.warning("%s is not moved to %s: %s", migration.source, migration.target, error)
        await _end(node, migration_id, migration, FAILURE, migration.source)
        return
    await _end(node, migration_id, migration, SUCCESS, migration.target)


async def _end(node: Unsealed, migration_id: str, migration: Migration, status: str, path: str) -> None:
    key = table_key(migration.source)
    while True:
        seen = node.opened.get(key)
        rows = decode_mounts(seen.value) if seen is not None else ()
        row = next((one for one in rows if one.uuid == migration.mount_uuid), None)
        ended = replace(migration, status=status if row is not None else FAILURE)
        writes: list[Write] = [Put(MIGRATIONS + migration_id, ended.to_bytes())]
        if seen is not None and row is not None:
            opened = encode_mounts(with_mount(rows, replace(row, path=path, closed=False), row.path))
            writes.append(Put(key, opened, seen.index))
            if path != row.path:
                writes += moved(node.opened, row.path, path)
        try:
            await node.opened.commit("", writes)
        except Conflict:
            continue
        return


async def continue_migrations(node: Unsealed) -> None:
    """Finish what a crash or a change of leader interrupted."""
    for key in node.opened.keys(MIGRATIONS):
        await finish(node, key.removeprefix(MIGRATIONS))
