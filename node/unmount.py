"""Taking a mount away with everything it stored, in steps that a crash can interrupt anywhere.

What an engine must take back in the outside world it is asked for first, while it can still be asked. Then, as an
invariant: the row leaves the table in the same entry that leaves a task under `sys/unmount/<uuid>`. From then on
nothing of the mount can be reached; the task goes last, when the tokens that the mount issued are revoked and its
storage is empty. The active node continues what it finds there.
"""

from typing import Final

import msgpack

from engines.common.context import Caller
from engines.common.plan import Delete, Put
from node.mounts import Mount, decode_mounts, encode_mounts
from node.quotas.moves import moved
from node.unsealed import Unsealed

TASKS: Final = "sys/unmount/"
_FORMAT: Final = b"\x01"
BATCH: Final = 256  # keys in one entry: about 30 KB


async def unmount(node: Unsealed, mount: Mount, table_key: str) -> None:
    """Revoke what the mount issued, remove it and empty its storage.

    Raises:
        InvalidRequest: A secret could not be revoked; nothing but those that could is gone.
        ClusterError: What Store.commit raises; Conflict when the table has changed.
    """
    if node.engine_of(mount).revoke is not None:
        await node.ledger.leases.revoke_prefix(mount.path, is_sync=True)
    await close_mount(node, mount)
    seen = node.opened.get(table_key)
    assert seen is not None, "the tables are written at init"
    rows = tuple(row for row in decode_mounts(seen.value) if row.uuid != mount.uuid)
    task = Put(TASKS + mount.uuid, _FORMAT + bytes(msgpack.packb((mount.path, mount.storage_prefix))))
    await node.opened.commit(
        "", (Put(table_key, encode_mounts(rows), seen.index), task, *moved(node.opened, mount.path, None))
    )
    await _finish(node, task.key, task.value)


async def close_mount(node: Unsealed, mount: Mount) -> None:
    """Let the engine take back what it has begun outside. Raises OutsideFailed when it cannot."""
    mounted = node.router.by_path.get(mount.path)
    if mounted is not None and mounted.engine.close is not None:
        await mounted.engine.close(node.context(mounted, Caller()))


async def continue_unmounts(node: Unsealed) -> None:
    """Finish what a crash or a change of leader interrupted."""
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
