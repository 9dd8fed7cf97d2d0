"""Taking a mount away with everything it stored, in steps that a crash can interrupt anywhere.

Invariant: the row leaves the table first, in the same entry that leaves a task under `sys/unmount/<uuid>`. From then on
nothing of the mount can be reached; the task goes last, when its storage is empty. The active node continues what it
finds there.
"""

from typing import Final

from engines.common.plan import Delete, Put
from node.mounts import Mount, decode_mounts, encode_mounts
from node.unsealed import Unsealed

TASKS: Final = "sys/unmount/"
BATCH: Final = 256  # keys in one entry: about 30 KB


async def unmount(node: Unsealed, mount: Mount, table_key: str) -> None:
    """Remove the mount and empty its storage. Raises what Store.commit raises; Conflict when the table has changed."""
    seen = node.opened.get(table_key)
    assert seen is not None, "the tables are written at init"
    rows = tuple(row for row in decode_mounts(seen.value) if row.uuid != mount.uuid)
    # Revoked first, while the engine can still be asked; what it refuses is dropped with the mount's storage.
    await node.ledger.leases.revoke_prefix(mount.path, is_forced=False, is_sync=True)
    task = Put(TASKS + mount.uuid, mount.storage_prefix.encode())
    await node.opened.commit("", (Put(table_key, encode_mounts(rows), seen.index), task))
    await _empty(node, task.key, mount.storage_prefix)


async def continue_unmounts(node: Unsealed) -> None:
    """Finish what a crash or a change of leader interrupted."""
    for key in node.opened.keys(TASKS):
        task = node.opened.get(key)
        if task is not None:
            await _empty(node, key, task.value.decode())


async def _empty(node: Unsealed, task_key: str, prefix: str) -> None:
    while keys := node.opened.keys(prefix, limit=BATCH):
        await node.opened.commit("", [Delete(key) for key in keys])
    await node.opened.commit("", [Delete(task_key)])
