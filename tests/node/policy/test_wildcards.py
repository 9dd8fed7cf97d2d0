"""node/policy/wildcards.py: patterns with `+` and the paths they match."""

import pytest

from node.policy.pattern import Pattern
from node.policy.wildcards import Wildcards


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "secret/+/teamb",
            ["secret/foo/teamb", "secret//teamb"],
            ["secret/foo/bar/teamb", "secret/teamb", "secret/foo"],
        ),
        ("secret/+/+/teamb", ["secret/a/b/teamb"], ["secret/a/teamb", "secret/a/b/teamb/"]),
        ("+/foo", ["a/foo"], ["foo", "a/food", "a/foo/"]),
        ("a/+", ["a/b", "a/"], ["a", "a/b/", "a/b/c", "b/b"]),
        ("a/+/", ["a/b/"], ["a/b", "a/b/c"]),
        ("a/+/foo*", ["a/b/foo", "a/b/food/x", "a/b/foo/"], ["a/b/fo", "a/foo"]),
        ("a/+/*", ["a/b/", "a/b/c/d"], ["a/b", "b/b/c"]),
        ("+", ["a"], ["a/b"]),
    ],
)
def test_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    """`+` is any text within one segment, `*` at the end any rest; the examples of the documentation are here."""
    wildcards = Wildcards([(Pattern.of(pattern), pattern)])
    assert all(list(wildcards.matches(path)) == [pattern] for path in matching)
    assert all(list(wildcards.matches(path)) == [] for path in others)


def test_none() -> None:
    """Without any pattern nothing matches."""
    empty: Wildcards[str] = Wildcards([])
    assert list(empty.matches("a/b")) == []
