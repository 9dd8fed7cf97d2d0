"""What became of one write set when its Raft entry was applied: the same on every node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.store import Check, Write


@dataclass(frozen=True, slots=True)
class Applied:
    """Every write of the set is true."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing of the set was written, because `key` had changed since the index that the writer named."""

    key: str


Outcome = Applied | Rejected

APPLIED = Applied()


def first_conflict(writes: Sequence[Write], index_of: Callable[[str], int]) -> str | None:
    """The first key whose index (0: absent) is not the one its write names; None if the set may be written.

    All conditions are held against the state before the set, so the order of writes within a set decides nothing.
    """
    for write in writes:
        if write.seen_index is not None and index_of(write.key) != write.seen_index:
            return write.key
    return None


def changed_keys(writes: Sequence[Write]) -> list[str]:
    """The keys a set writes or removes."""
    return [write.key for write in writes if not isinstance(write, Check)]
