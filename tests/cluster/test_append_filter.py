"""What of an append_entries is new (docs/decisions/0001, truncation)."""

import pytest

from cluster.append_filter import CommittedConflict, Mismatch, Reduced, reduce_append


class FakeLog:
    """Entries from first_index on, given by their terms."""

    def __init__(self, terms: list[int], commit_index: int, first_index: int = 1) -> None:
        self._terms = terms
        self._first = first_index
        self.commit_index = commit_index

    @property
    def last_index(self) -> int:
        return self._first + len(self._terms) - 1

    def term_at(self, index: int) -> int | None:
        position = index - self._first
        return self._terms[position] if 0 <= position < len(self._terms) else None


def entries(first: int, *terms: int) -> list[tuple[bytes, int, int]]:
    return [(b"\x00", first + offset, term) for offset, term in enumerate(terms)]


def test_what_matches_is_skipped() -> None:
    """A message sent twice leaves nothing to do, whatever the log holds behind it."""
    log = FakeLog([0, 1, 1, 1, 1], commit_index=1)
    assert reduce_append(log, 1, 0, entries(2, 1, 1), 9) == Reduced(3, 1, [], 3, 3)


def test_only_a_conflict_truncates() -> None:
    """Entries are handed on from the first that differs, never from one that matches."""
    log = FakeLog([0, 1, 1, 1], commit_index=1)
    new = entries(2, 1, 2, 2)
    assert reduce_append(log, 1, 0, new, 0) == Reduced(2, 1, new[1:], 4, 0)


def test_the_commit_index_covers_only_what_is_verified() -> None:
    """Entries behind the message may be another leader's: its commit index must not reach them."""
    log = FakeLog([0, 1, 1, 1], commit_index=1)
    reduced = reduce_append(log, 2, 1, [], 4)
    assert isinstance(reduced, Reduced)
    assert reduced.commit_index == 2


def test_a_message_from_before_the_commit_index_is_cut_to_it() -> None:
    """An old message may begin where the log is compacted away; nothing committed is touched."""
    log = FakeLog([3, 3, 3], commit_index=11, first_index=10)
    new = entries(8, 2, 3, 3, 3, 3, 3)
    assert reduce_append(log, 7, 2, new, 13) == Reduced(12, 3, new[5:], 13, 13)


def test_a_gap_asks_for_what_is_missing() -> None:
    """A message that begins behind our end names the end."""
    assert reduce_append(FakeLog([0, 1], commit_index=1), 5, 1, entries(6, 1), 5) == Mismatch(3)


def test_a_foreign_term_is_skipped_whole() -> None:
    """All entries of a term that the leader does not have there are passed over at once, down to the commit index."""
    log = FakeLog([0, 1, 2, 2, 2], commit_index=1)
    assert reduce_append(log, 5, 3, [], 5) == Mismatch(3)


def test_a_committed_entry_is_never_overwritten() -> None:
    """A leader that contradicts a committed entry proves lost data: that stops the node instead of spreading."""
    log = FakeLog([0, 1, 1], commit_index=3)
    with pytest.raises(CommittedConflict):
        reduce_append(log, 1, 0, entries(2, 2), 2)
    with pytest.raises(CommittedConflict):
        reduce_append(log, 3, 2, [], 2)


def test_indexes_must_follow_each_other() -> None:
    """A message with a hole is malformed."""
    with pytest.raises(ValueError, match="consecutive"):
        reduce_append(FakeLog([0], commit_index=1), 1, 0, [(b"\x00", 3, 1)], 1)
