"""node/policy/pattern.py: the documented order of patterns, and which paths are judged at all."""

import itertools

import pytest

from node.policy.pattern import Pattern, is_canonical_path, priority_of


def test_documented_order() -> None:
    """The five rules, each decided where those before it are equal."""
    assert _more("secret/foo*", "secret/+/bar")  # 1: the first wildcard is later
    assert _more("secret/foo", "secret/fo*")  # 1: an exact path has none
    assert _more("secret/+", "secret/*")  # 2: no glob at the end
    assert _more("secret/*", "secret/+/+/foo/*")  # 3: fewer "+", the example of the documentation
    assert _more("secret/+/foo*", "secret/+/fo*")  # 4: longer
    assert _more("secret/+/b", "secret/+/a")  # 5: greater


def test_the_order_is_total() -> None:
    """Different patterns are never equally specific, so the outcome cannot depend on the order of policies."""
    segments = ["a", "b", "+", "aa"]
    patterns = {
        "/".join(parts) + end
        for depth in (1, 2, 3)
        for parts in itertools.product(segments, repeat=depth)
        for end in ("", "*", "/*", "/")
    }
    assert len({priority_of(Pattern.of(text)) for text in patterns}) == len(patterns)


@pytest.mark.parametrize("path", ["secret/data/foo", "a", "a/", "a/.b/c..d", "a/...", "a b/ü", "a/\u3000b", "a/*", "+"])
def test_canonical_paths(path: str) -> None:
    """Dots within names, blanks and letters of any script are ordinary."""
    assert is_canonical_path(path)


TWO_READINGS = ["", "/", "/a", "a//b", "a//", ".", "..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "a/../"]
CONTROLS = ["a\x00", "a\nb", "a\x7f", "a\x85", "a/b\t", "\ud800", "a/\r"]


@pytest.mark.parametrize("path", [*TWO_READINGS, *CONTROLS])
def test_cve_2026_3605_paths_with_two_readings(path: str) -> None:
    """CVE-2026-3605: whatever could be read as another path is not judged but refused."""
    assert not is_canonical_path(path)


def _more(one: str, other: str) -> bool:
    return priority_of(Pattern.of(one)) > priority_of(Pattern.of(other))
