"""Replacing the folder of the LMDB file such that a crash at any step leaves the old or the new one, whole.

Steps: the new one is built and synced as `vault.db.new`; the old one becomes `vault.db.old`; the new one becomes
`vault.db`; the old one is removed. Only a complete new one ever meets a missing `vault.db`, so that is the sign by
which `recover` knows that the swap had begun.
"""

import shutil
from pathlib import Path

from cluster.disk import RealDisk

CURRENT = "vault.db"
NEW = "vault.db.new"
OLD = "vault.db.old"


def recover(folder: Path) -> bool:
    """Finish or undo an interrupted swap; says whether there is a current one."""
    current, new, old = folder / CURRENT, folder / NEW, folder / OLD
    if not current.exists() and old.exists():
        # Between the two renames. A new one that is missing here was removed by hand: the old one is as good.
        (new if new.exists() else old).rename(current)
        RealDisk().sync_folder(folder)
    discard(folder)
    return current.exists()


def discard(folder: Path) -> None:
    """Remove what an import that did not come to its swap has built, and what a swap has left."""
    for path in (folder / NEW, folder / OLD):
        if path.exists():
            shutil.rmtree(path)


def swap_in(folder: Path, new: Path) -> None:
    """Put the new one, complete and synced, in the place of the old one, if there is one.

    A new one under another name than NEW (a staged restore) is left as it was by a crash before its own rename.
    """
    disk = RealDisk()
    current, old = folder / CURRENT, folder / OLD
    disk.sync_folder(new)
    if current.exists():
        disk.rename(current, old)
        # Each rename is durable before the next, so that no crash shows them in another order.
        disk.sync_folder(folder)
    disk.rename(new, current)
    disk.sync_folder(folder)
    if old.exists():
        shutil.rmtree(old)
