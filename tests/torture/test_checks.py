"""What the check of stored versions finds wrong, and what not."""

from dataclasses import replace

import pytest

from tests.torture.checks import misplaced
from tests.torture.history import Outcome
from tests.torture.test_linearizable import cas, put, unknown

WRITES = [put(0, 1, "a", 1), cas(2, 3, "b", 1), unknown(put(4, 5, "c", 0)), cas(6, 7, "d", 1, Outcome.MISMATCH)]


@pytest.mark.parametrize("versions", [{1: "a", 2: "b"}, {1: "a", 2: "b", 3: "c"}, {1: "a", 2: None}])
def test_what_may_be_stored(versions: dict[int, str | None]) -> None:
    """Acknowledged writes at their version, one of unknown outcome once or never, deleted ones."""
    assert not misplaced(WRITES, versions)


@pytest.mark.parametrize(
    "versions",
    [
        {1: "a"},
        {1: "a", 2: "c"},
        {1: "b", 2: "a"},
        {1: "a", 2: "b", 3: "c", 4: "c"},
        {1: "a", 2: "b", 3: "d"},
        {1: "a", 2: "b", 3: "x"},
    ],
    ids=["lost", "replaced", "swapped", "twice", "refused", "made up"],
)
def test_what_may_not(versions: dict[int, str | None]) -> None:
    """A lost, replaced, doubled, refused or made-up write is found."""
    assert misplaced(WRITES, versions)


def test_what_was_never_done_is_not_there() -> None:
    """A write that was refused with 503 must not appear."""
    refused = replace(put(0, 1, "a", 1), outcome=Outcome.NOT_DONE)
    assert misplaced([refused], {1: "a"}) and not misplaced([refused], {})
