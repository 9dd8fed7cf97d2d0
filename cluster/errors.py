"""What the replicated store can say no with. Only node/status.py knows which HTTP status each one becomes."""


class ClusterError(Exception):
    """Anything the store refuses. The message is for an operator: it says what to do next and holds no secret."""


class NoLeader(ClusterError):
    """The write was never appended and never will be, or a read could not be confirmed: asking again is safe."""


class OutcomeUnknown(ClusterError):
    """The leader changed or time ran out: the write may still apply, so read before writing again."""


class Conflict(ClusterError):
    """A key has changed since the index the writer named; nothing of its set was written."""

    def __init__(self, key: str) -> None:
        super().__init__("the entry was changed by another request; read it again and retry")
        self.key = key


class EntryTooLarge(ClusterError):
    """The encoded write set is over max_entry_size; nothing was written."""


class StorageFailed(ClusterError):
    """The local disk refused or lost data (full, fsync error, corruption). The process must stop."""


class DataFolderRefused(ClusterError):
    """The data folder cannot be used as it is: wrong owner or mode, another node's, in use, or damaged."""


class MembershipRefused(ClusterError):
    """A peer change that cannot be done now: another is in progress, the peer is unknown, or it is the leader."""


class PeerChangeUnderWay(MembershipRefused):
    """One peer is being added or removed, which takes seconds: the next change has to wait for it."""

    def __init__(self) -> None:
        super().__init__("another peer change is under way; try again once it is done")


class PeerUnreachable(ClusterError):
    """The request was never sent to the other node: asking again is safe."""


class AddressInUse(ClusterError):
    """The cluster address cannot be listened on: taken by another program, not of this machine, or not permitted."""


class TlsMaterialRefused(ClusterError):
    """The TLS keys of this node cannot be used: unreadable, not of this node, or not of one cluster."""


class SnapshotDamaged(ClusterError):
    """A snapshot is short, altered or of another program; nothing was changed. It must be fetched again."""


class SnapshotRefused(ClusterError):
    """A snapshot that cannot be taken or restored as things are: no room on the disk, or another is being worked on."""
