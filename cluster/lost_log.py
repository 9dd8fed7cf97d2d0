"""A node whose disk has lost entries that it had acknowledged: it must not vote, and it must not come back by itself.

Raft rests on a log that a node does not forget. An emptied disk or an old copy under an old node id is such a log, and
looks like that of a slow node. The leader can tell the two apart while it leads: it knows how far the node said that it
had come. It tells the node, and the node stops and leaves a note that keeps it from starting.
"""

from pathlib import Path
from typing import Final

from cluster.disk import Disk
from cluster.errors import DataFolderRefused, StorageFailed

NOTE: Final = "lost-log"
_TEXT: Final = (
    "the log of this node lacks entries that it had acknowledged ({found}): its data folder is an old copy or was "
    "emptied. Remove the node from the cluster (operator raft remove-peer), empty its data folder and let it join again"
)


class LogLost(Exception):
    """The leader says so."""

    def __init__(self, last_index: int, acked_index: int) -> None:
        super().__init__(f"it ends at {last_index}, and the leader was told {acked_index}")


def note(folder: Path, disk: Disk, lost: LogLost) -> StorageFailed:
    """Keep the node from starting again; how it is to stop now. Raises OSError."""
    disk.write(folder / NOTE, str(lost).encode())
    disk.sync_folder(folder)
    return StorageFailed(f"the node stops: {_TEXT.format(found=lost)}")


def require_none(folder: Path, disk: Disk) -> None:
    """Raises DataFolderRefused if a leader has found the log of this folder wanting."""
    try:
        found = disk.read(folder / NOTE).decode(errors="replace")
    except FileNotFoundError:
        return
    raise DataFolderRefused(f"the data folder cannot be used: {_TEXT.format(found=found)}")
