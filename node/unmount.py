"""Taking a mount away with everything it stored, in steps that a crash can interrupt anywhere.

First the row is closed, in the entry that leaves a record under `sys/closing/<uuid>`: from then on nothing is issued,
so what is revoked next is all there is. What an engine must take back in the outside world it is asked for while it
can still be asked; if it cannot, the mount opens again. Then, as an invariant: the row leaves the table in the same
entry that leaves a task under `sys/unmount/<uuid>`. From then on nothing of the mount can be reached; the task goes
last, when the tokens that the mount issued are revoked and its storage is empty. The active node continues what it
finds there, and so does whoever disables the mount again.
"""

import logging
from dataclasses import replace
from typing import Final

import msgpack

from cluster.errors import Conflict
from engines.common.context import Caller
from engines.common.errors import EngineError, InvalidRequest
from engines.common.plan import Delete, Put
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, decode_mounts, encode_mounts, with_mount
from node.quotas.moves import moved
from node.unsealed import Unsealed

logger = logging.getLogger(__name__)

CLOSING: Final = "sys/closing/"
TASKS: Final = "sys/unmount/"
_FORMAT: Final = b"\x01"
BATCH: Final = 256  # keys in one entry: about 30 KB


async def unmount(node: Unsealed, mount: Mount, table_key: str) -> None:
    """Revoke what the mount issued, remove it and empty its storage.

    Raises:
        EngineError: A secret could not be revoked, or the mount is being moved; nothing but what was revoked is gone.
        ClusterError: What Store.commit raises; Conflict when the table has changed and nothing was done.
    """
    engine = node.engine_of(mount)
    is_closing = node.opened.get(CLOSING + mount.uuid) is not None
    if mount.closed and not is_closing:
        raise InvalidRequest(f"'{mount.path}' is being moved")
    if not is_closing and (engine.revoke is not None or engine.close is not None):
        seen = node.opened.get(table_key)
        assert seen is not None, "the tables are written at init"
        rows = with_mount(decode_mounts(seen.value), replace(mount, closed=True))
        await node.opened.commit(
            "", (Put(table_key, encode_mounts(rows), seen.index), Put(CLOSING + mount.uuid, _FORMAT, 0))
        )
    await _remove(node, mount.uuid, table_key)


async def _remove(node: Unsealed, uuid: str, table_key: str) -> None:
    """From a closed row to nothing, or to an open one when the engine cannot take back what it issued."""
    mount = _row(node, uuid, table_key)
    if mount is None:
        return
    try:
        if node.engine_of(mount).revoke is not None:
            await node.ledger.leases.revoke_prefix(mount.path, is_sync=True)
        await close_mount(node, mount)
    except EngineError:
        await _reopen(node, uuid, table_key)
        raise
    task = Put(TASKS + uuid, _FORMAT + bytes(msgpack.packb((mount.path, mount.storage_prefix))))
    while True:
        seen = node.opened.get(table_key)
        assert seen is not None, "the tables are written at init"
        rows = tuple(row for row in decode_mounts(seen.value) if row.uuid != uuid)
        left = (Put(table_key, encode_mounts(rows), seen.index), Delete(CLOSING + uuid), task)
        try:
            await node.opened.commit("", (*left, *moved(node.opened, mount.path, None)))
        except Conflict:
            continue  # another mount has changed; this one is closed
        break
    await _finish(node, task.key, task.value)


async def _reopen(node: Unsealed, uuid: str, table_key: str) -> None:
    while True:
        seen = node.opened.get(table_key)
        mount = _row(node, uuid, table_key)
        if seen is None or mount is None:
            return
        rows = encode_mounts(with_mount(decode_mounts(seen.value), replace(mount, closed=False)))
        try:
            await node.opened.commit("", (Put(table_key, rows, seen.index), Delete(CLOSING + uuid)))
        except Conflict:
            continue
        return


def _row(node: Unsealed, uuid: str, table_key: str) -> Mount | None:
    seen = node.opened.get(table_key)
    return None if seen is None else next((row for row in decode_mounts(seen.value) if row.uuid == uuid), None)


async def close_mount(node: Unsealed, mount: Mount) -> None:
    """Let the engine take back what it has begun outside. Raises OutsideFailed when it cannot."""
    mounted = node.router.by_path.get(mount.path)
    if mounted is not None and mounted.engine.close is not None:
        await mounted.engine.close(node.context(mounted, Caller()))


async def continue_unmounts(node: Unsealed) -> None:
    """Finish what a crash or a change of leader interrupted."""
    for key in node.opened.keys(CLOSING):
        uuid = key.removeprefix(CLOSING)
        for table_key in (MOUNTS_KEY, AUTH_KEY):
            try:
                await _remove(node, uuid, table_key)
            except EngineError as error:
                logger.warning("a mount that was to be disabled is open again: %s", error)
    for key in node.opened.keys(TASKS):
        task = node.opened.get(key)
        if task is not None:
            await _finish(node, key, task.value)


async def _finish(node: Unsealed, task_key: str, record: bytes) -> None:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
    path, prefix = msgpack.unpackb(record[1:])
    await node.ledger.leases.revoke_prefix(path, is_sync=True)
    while keys := node.opened.keys(prefix, limit=BATCH):
        await node.opened.commit("", [Delete(key) for key in keys])
    await node.opened.commit("", [Delete(task_key)])
