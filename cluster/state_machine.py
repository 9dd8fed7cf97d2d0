"""What the log is applied to: write sets and peer changes, into the state. Total, and the same on every node."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cluster.entry import FORMAT_VERSION, decode
from cluster.errors import StorageFailed
from cluster.group_commit import AppliedEntry
from cluster.peers import Peer, PeerChange, decode_peers, encode_peers
from cluster.pysyncobj_seams import Refusal
from cluster.raft_meters import RaftMeters
from cluster.restore import StagedRestores, restored_name
from cluster.snapshot import SnapshotReader
from cluster.state import State
from cluster.store import Write

logger = logging.getLogger(__name__)


class SnapshotChunks:
    """A snapshot of the state, as `snapshot_stream` sends it."""

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader

    @property
    def index(self) -> int:
        return self._reader.index

    @property
    def term(self) -> int:
        return self._reader.term

    def chunks(self) -> Iterator[bytes]:
        """Raises SnapshotDamaged when the database was mapped anew meanwhile."""
        return iter(self._reader)

    def close(self) -> None:
        self._reader.close()


class StateMachine:
    """Raft's view of the state. Apply raises only for a fault of this node."""

    def __init__(
        self,
        state: State,
        staged: StagedRestores,
        meters: RaftMeters,
        own_sets: Callable[[bytes], Sequence[Sequence[Write]] | None],
        *,
        threaded: bool,
    ) -> None:
        """`own_sets` gives what this node has encoded into an entry, if it did and still knows."""
        self.restored_index = 0
        self._own_sets = own_sets
        self._state = state
        self._staged = staged
        self._meters = meters
        self._threaded = threaded

    @property
    def applied_index(self) -> int:
        return self._state.applied_index

    @property
    def durable_index(self) -> int:
        return self._state.durable_index

    def apply_entry(self, index: int, term: int, body: bytes) -> object:
        """Apply the write sets of an entry; an AppliedEntry, or a Refusal if it says nothing that can be done.

        Raises:
            StorageFailed: The local disk failed, or a newer program wrote the entry and this node would fall apart
                from the others by passing it over.
        """
        name = restored_name(body)
        if name is not None:
            with self._meters.fsm_restore.timing():
                self._state.apply_restore(index, term, self._staged.path(name))
            self.restored_index = index
            logger.warning("log entry %d has replaced the state by the snapshot %s", index, name)
            return AppliedEntry(index, ())
        if body[:1] != bytes((FORMAT_VERSION,)):
            raise StorageFailed(f"the log entry {index} is of another version of this program; update this node")
        try:
            sets = self._own_sets(body) or decode(body)
        except ValueError as error:
            # Every node finds it so, and stays the same as the others by doing nothing.
            logger.error("log entry %d has no effect: %s", index, error)
            self._state.note_applied(index, term)
            return Refusal.NEVER
        return AppliedEntry(index, self._state.apply(index, term, sets))

    def can_apply(self, body: bytes) -> bool:
        """Whether this node holds what the entry takes: a restore must be staged here before the log may name it."""
        name = restored_name(body)
        return name is None or self._staged.holds(name)

    def apply_change(self, index: int, term: int, change: PeerChange) -> None:
        if index > self._state.applied_index:
            with self._meters.fsm_store_config.timing():
                self._state.set_peers(encode_peers(change.applied_to(self.peers())))
                self._state.note_applied(index, term)

    def note_applied(self, index: int, term: int) -> None:
        self._state.note_applied(index, term)

    def peers(self) -> list[Peer]:
        """The members as of the applied index."""
        return decode_peers(self._state.peers() or b"")

    def open_snapshot(self) -> SnapshotChunks:
        with self._meters.fsm_snapshot.timing():
            return SnapshotChunks(self._state.export())

    async def prepare_snapshot(self, file: Path) -> None:
        """Verify and unpack beside the state. Raises SnapshotDamaged, StorageFailed."""
        if self._threaded:
            await asyncio.to_thread(self._state.prepare_import, file)
        else:
            self._state.prepare_import(file)

    def install_snapshot(self) -> Sequence[Peer]:
        """Put what was prepared in the place of the state; returns its members. Raises StorageFailed."""
        with self._meters.fsm_restore.timing():
            self._state.finish_import()
        return self.peers()
