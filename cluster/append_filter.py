"""What of an append_entries is new to this log (Raft, section 5.3). Pure.

PySyncObj drops every entry after prev_index, even those that match and are acknowledged or applied, and raises its
commit index to entries that the message did not verify. It therefore gets only what this leaves over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Terms(Protocol):
    """The log, as far as it matters here."""

    @property
    def last_index(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    def term_at(self, index: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The message does not fit; the leader should go on from next_index."""

    next_index: int


@dataclass(frozen=True, slots=True)
class Reduced:
    """What is left: entries to put after prev_index (which is in the log), and what the message proves.

    Invariant: prev_index >= the commit index, so nothing committed is ever truncated; with no entries, nothing is.
    """

    prev_index: int
    prev_term: int
    entries: Sequence[Any]
    verified_index: int
    commit_index: int


class CommittedConflict(Exception):
    """A leader contradicts an entry that this node knows as committed: one of the two has lost data."""


def reduce_append(
    log: Terms, prev_index: int, prev_term: int, entries: Sequence[Any], commit_index: int
) -> Reduced | Mismatch:
    """Reduce a message to what is new.

    Args:
        entries: Of (command, index, term), their indexes consecutive from prev_index + 1.

    Raises:
        CommittedConflict: It would overwrite a committed entry.
        ValueError: The indexes are not consecutive.
    """
    if any(entry[1] != prev_index + 1 + position for position, entry in enumerate(entries)):
        raise ValueError("entries are not consecutive")
    committed = log.commit_index
    if prev_index > committed:
        known = log.term_at(prev_index)
        if known is None:
            return Mismatch(log.last_index + 1)
        if known != prev_term:
            return Mismatch(_first_of_term(log, prev_index, known))
    elif prev_index > 0:
        _require_same(log, prev_index, prev_term)
    start = 0
    for _, index, entry_term in entries:
        # Up to the commit index the logs are equal (leader completeness), also where ours is compacted away.
        if index <= committed:
            _require_same(log, index, entry_term)
        elif log.term_at(index) != entry_term:
            break
        start += 1
    verified = max(committed, prev_index + len(entries))
    base = max(committed, prev_index + start)
    base_term = log.term_at(base)
    assert base_term is not None, "the commit index is within the log"
    return Reduced(base, base_term, entries[start:], verified, min(commit_index, verified))


def _require_same(log: Terms, index: int, entry_term: int) -> None:
    known = log.term_at(index)
    if known is not None and known != entry_term:
        raise CommittedConflict(f"the leader's entry {index} differs from the one committed here")


def _first_of_term(log: Terms, index: int, term: int) -> int:
    """Where the run of entries of this term begins: none of them can match, so all are skipped in one round."""
    while index - 1 > log.commit_index and log.term_at(index - 1) == term:
        index -= 1
    return index
