"""Recovery from a lost quorum: `raft/peers.json` in the data folder replaces the peer list at the next start.

    [{"id": "n1", "address": "10.0.0.1:8201", "non_voter": false}]

The log stays as it is, so of several survivors the one that has most is elected, and everything that a survivor has
acknowledged is kept. What only the lost nodes had is lost. docs/operations/lost-quorum.md is the procedure.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cluster.disk import RealDisk
from cluster.errors import DataFolderRefused
from cluster.journal import Journal
from cluster.peers import Peer, encode_peers
from cluster.pysyncobj_seams import NO_OP_COMMAND, is_membership
from cluster.state import State

logger = logging.getLogger(__name__)

NAME: Final = "peers.json"
USED_NAME: Final = "peers.json.used"
_BYTES_MAX: Final = 1 << 20


def recover(folder: Path, node_id: str, state: State, journal: Journal) -> None:
    """Take the peer list of the file, if there is one, durably, and rename the file. A crash in between repeats it.

    Raises:
        DataFolderRefused: The file makes no sense, or this node has no data to recover with. Nothing was changed.
    """
    file = folder / NAME
    if not file.exists():
        return
    peers = _read(file, node_id)
    if state.applied_index < 1:
        raise DataFolderRefused(f"{file} is for a node that has data, and this one has none. Remove the file")
    logger.warning("RECOVERY: %s replaces the peer list of this cluster by %s", file, _shown(peers))
    logger.warning("RECOVERY: what only the other nodes had is lost; they must never start on their old data")
    _neutralise_changes(journal, state.applied_index)
    state.set_peers(encode_peers(peers))
    state.flush_now()
    disk = RealDisk()
    disk.rename(file, folder / USED_NAME)
    disk.sync_folder(folder)


def put_alone(folder: Path, node_id: str, address: str) -> None:
    """Write the file that makes this node the only peer, for `recover` or the next start to take."""
    disk, new = RealDisk(), folder / f"{NAME}.new"
    new.write_text(json.dumps([{"id": node_id, "address": address, "non_voter": False}]))
    disk.rename(new, folder / NAME)
    disk.sync_folder(folder)


def _neutralise_changes(journal: Journal, applied_index: int) -> None:
    """Peer changes on their way were decided by nodes that are gone: each becomes an entry that does nothing.

    Index and term stay, and every survivor does the same, so their logs still match.
    """
    tail = [entry for entry in journal[:] if entry[1] > applied_index]
    if not any(is_membership(command) for command, _, _ in tail):
        return
    for command, index, raft_term in tail:
        journal.add(NO_OP_COMMAND if is_membership(command) else command, index, raft_term)
    journal.sync_now()


def _read(file: Path, node_id: str) -> list[Peer]:
    try:
        if file.stat().st_size > _BYTES_MAX:
            raise DataFolderRefused(f"{file} is too large for a peer list")
        rows = json.loads(file.read_bytes())
        peers = [_peer(row) for row in rows]
    except (ValueError, TypeError, KeyError):
        raise DataFolderRefused(
            f'{file} is not a list such as [{{"id": "n1", "address": "10.0.0.1:8201", "non_voter": false}}]. '
            "Correct it, or remove it to start with the peers as they were"
        ) from None
    except OSError as error:
        raise DataFolderRefused(f"{file} cannot be read: {error.strerror}") from None
    if len({peer.node_id for peer in peers}) != len(peers) or len({peer.address for peer in peers}) != len(peers):
        raise DataFolderRefused(f"{file} names a node or an address twice")
    if all(peer.node_id != node_id for peer in peers):
        raise DataFolderRefused(f"{file} does not name this node, {node_id!r}")
    return peers


def _peer(row: object) -> Peer:
    match row:
        case {"id": str(node_id), "address": str(address), **rest} if node_id and ":" in address:
            if rest.get("non_voter", False) is not False:
                raise DataFolderRefused(f"{NAME} names a non-voter, and all members vote here: set non_voter to false")
            return Peer(node_id, address)
    raise ValueError("not a peer")


def _shown(peers: Sequence[Peer]) -> str:
    return ", ".join(f"{peer.node_id} at {peer.address}" for peer in peers)
