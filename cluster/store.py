"""The one interface behind which all storage lies: `raft` in a cluster, `inmem` in dev mode and tests.

Keys are canonical paths ("logical/<mount uuid>/a/b"), values are sealed bytes.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


# Not frozen: each write makes some, and freezing costs as much as filling them does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Put:
    """Store value at key. With seen_index, only if the key is still as it was at that index (0: absent)."""

    key: str
    value: bytes = field(repr=False)
    seen_index: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class Delete:
    """Remove key, if it exists. With seen_index, only if the key is still as it was at that index."""

    key: str
    seen_index: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class Check:
    """Write nothing, but refuse the whole set unless key is still as it was at seen_index (0: absent)."""

    key: str
    seen_index: int


Write = Put | Delete | Check


@dataclass(slots=True, unsafe_hash=True)
class Stored:
    """A value and the index of the Raft entry that wrote it last."""

    value: bytes = field(repr=False)
    index: int


class Store(Protocol):
    """Reads are local and immediate; a write is one atomic set that shares a Raft entry with others.

    Invariant: a reader that wants the newest truth notes `leading_term`, reads, and then calls `require_lease` with it
    before it answers.
    """

    @property
    def applied_index(self) -> int:
        """Index of the last Raft entry whose effect reads show."""

    def get(self, key: str) -> Stored | None:
        """The value at exactly this key."""

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names directly below prefix (which ends in "/" or is empty), sorted by bytes; folders end in "/".

        Only names greater than `after`, at most `limit` of them.
        """

    def scan(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        """Every key that starts with prefix, in key order, with its value."""

    async def commit(self, writes: Sequence[Write]) -> int:
        """Make all writes true, or none; returns the index once they are durable on a majority and visible here.

        Raises:
            Conflict: A seen_index no longer holds; nothing was written.
            NoLeader: This node cannot write now; nothing was or will be written.
            OutcomeUnknown: Time ran out or leadership was lost after the entry was sent.
            EntryTooLarge: The set is over max_entry_size bytes.
        """

    @property
    def leading_term(self) -> int:
        """The Raft term in which this node may serve now; 0 while it may not."""

    def require_lease(self, since: int | None = None) -> None:
        """The read gate: returns only if this node was certainly the leader from `since` to this moment.

        Args:
            since: `leading_term` from before the first read. None: all was read in this turn of the event loop.

        Raises NoLeader.
        """

    def watch(self, callback: Callable[[Collection[str]], None], below: Sequence[str] = ()) -> Callable[[], None]:
        """Call back on the event loop, inside apply, with the keys that an entry changed. Returns how to stop it.

        With `below`, only with keys that start with one of these. An empty collection means that anything may have
        changed (a snapshot was installed).
        """
