"""The current Raft term and the vote given in it: what a node must never forget, or it could vote twice.

The file is replaced as a whole (temporary name, fsync, rename, fsync of the folder), so it is always the old or the
new one. A damaged one is refused: a node that took it for empty could give its vote a second time.
"""

from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

import google_crc32c

from cluster.disk import Disk
from cluster.errors import DataFolderRefused

_HEADER: Final = Struct("<8sIQB")
_MAGIC: Final = b"SRVOTE01"
_REMEDY: Final = (
    "The node cannot know whom it has voted for. Remove it from the cluster (operator raft remove-peer), empty its "
    "data folder and let it join again"
)


@dataclass(frozen=True, slots=True)
class Vote:
    """A Raft term and the node id that got this node's vote in it."""

    raft_term: int = 0
    node_id: str | None = None


class VoteFile:
    """The vote on disk."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".new")
        self._disk = disk

    def load(self) -> Vote | None:
        """The last vote stored, or None if there never was one. Raises DataFolderRefused if it is damaged."""
        try:
            data = self._disk.read(self._path)
        except FileNotFoundError:
            return None
        if len(data) < _HEADER.size:
            raise DataFolderRefused(f"{self._path} is truncated. {_REMEDY}")
        magic, checksum, raft_term, voted = _HEADER.unpack_from(data)
        body = data[_HEADER.size - 9 :]
        if magic != _MAGIC or checksum != google_crc32c.value(body):
            raise DataFolderRefused(f"{self._path} is damaged (its checksum is wrong). {_REMEDY}")
        return Vote(raft_term, data[_HEADER.size :].decode() if voted else None)

    def store(self, vote: Vote) -> None:
        """Replace the vote; it is durable when this returns. Raises OSError, after which nothing may be assumed."""
        voted = vote.node_id is not None
        body = _HEADER.pack(_MAGIC, 0, vote.raft_term, voted)[-9:] + (vote.node_id or "").encode()
        header = _HEADER.pack(_MAGIC, google_crc32c.value(body), vote.raft_term, voted)
        self._disk.write(self._temporary, header[:-9] + body)
        self._disk.rename(self._temporary, self._path)
        self._disk.sync_folder(self._path.parent)

    def refuse_missing(self) -> DataFolderRefused:
        """The refusal for a journal that proves that there was a vote, when there is none."""
        return DataFolderRefused(f"{self._path} is missing although the journal has entries of elections. {_REMEDY}")
