"""Path patterns: what they match, which of two is the more specific, and which paths are judged at all.

A pattern is exact, ends in `*` (any rest, slashes included), holds `+` as whole segments (any characters within
one), or both. `*` elsewhere and `+` beside other characters are literal, as documented.
"""

import re
import sys
from dataclasses import dataclass
from typing import Final

# Priority of a pattern as a tuple that compares as documented: the greater one wins. See `priority_of`.
Priority = tuple[int, bool, int, int, str]

_NEVER: Final = sys.maxsize  # where the first wildcard of an exact pattern is: after that of any other
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DOT_SEGMENT: Final = re.compile(r"(?:^|/)\.\.?(?:/|\Z)")


def is_canonical_path(path: str) -> bool:
    """Whether the path has one reading only: no empty or dot segments, no leading slash, no control characters.

    The edge canonicalises; this is the second lock, so that a mistake there refuses instead of granting (root cause
    1 of the advisories, CVE-2026-3605).
    """
    if not path or path[0] == "/" or "//" in path:
        return False
    if (path[0] == "." or "/." in path) and _DOT_SEGMENT.search(path):
        return False
    return not has_control_character(path)


def has_control_character(text: str) -> bool:
    """Whether there is a control character in the text, or half of a surrogate pair."""
    # isprintable() is a fast answer for nearly every path; the pattern then decides about spaces of other scripts.
    return not text.isprintable() and _CONTROL.search(text) is not None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern taken apart. `text` is as written; the last of `segments` is a prefix when `prefix` is set."""

    text: str
    segments: tuple[str, ...]
    prefix: bool
    wildcard: bool  # holds a `+` segment

    @staticmethod
    def of(text: str) -> "Pattern":
        prefix = text.endswith("*")
        segments = tuple((text[:-1] if prefix else text).split("/"))
        return Pattern(text, segments, prefix, "+" in segments)

    @property
    def stem(self) -> str:
        """The text without the final `*`: the prefix to compare, when there is no `+`."""
        return self.text[:-1] if self.prefix else self.text


def priority_of(pattern: Pattern) -> Priority:
    """The documented order of specificity; rules in its order, each only asked when those before are equal.

    Lower is who has: the first wildcard earlier; `*` at the end; more `+`; the shorter text; the smaller text.
    """
    return (_first_wildcard(pattern), not pattern.prefix, -pattern.segments.count("+"), len(pattern.text), pattern.text)


def _first_wildcard(pattern: Pattern) -> int:
    if pattern.wildcard:
        before = pattern.segments[: pattern.segments.index("+")]
        return sum(len(segment) + 1 for segment in before)
    return len(pattern.text) - 1 if pattern.prefix else _NEVER
