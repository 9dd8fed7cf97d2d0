"""What policies mean, written down as slowly and plainly as possible, to hold the compiled Acl against.

It shares no code with node/policy: patterns become regular expressions, and of all rules that match, the best is found
by comparing two at a time in the words of the documentation.
"""

import functools
import re
from collections.abc import Sequence

# A policy is a list of (pattern, names of capabilities).
Rules = Sequence[tuple[str, frozenset[str]]]


def matches(pattern: str, path: str) -> bool:
    glob = pattern.endswith("*")
    segments = (pattern[:-1] if glob else pattern).split("/")
    expression = "/".join("[^/]*" if segment == "+" else re.escape(segment) for segment in segments)
    return re.fullmatch(expression + (".*" if glob else ""), path, re.DOTALL) is not None


def compare(one: str, other: str) -> int:
    """Greater than 0 if the first is the more specific pattern."""

    def first_wildcard(pattern: str) -> float:
        places = [found.start(1) for found in re.finditer(r"(?:^|(?<=/))(\+)(?=/|\*?$)", pattern)]
        if pattern.endswith("*"):
            places.append(len(pattern) - 1)
        return min(places, default=float("inf"))

    if first_wildcard(one) != first_wildcard(other):
        return 1 if first_wildcard(one) > first_wildcard(other) else -1
    if one.endswith("*") != other.endswith("*"):
        return 1 if other.endswith("*") else -1
    plus_one, plus_other = one.split("/").count("+"), other.split("/").count("+")
    if plus_one != plus_other:
        return 1 if plus_one < plus_other else -1
    if len(one) != len(other):
        return 1 if len(one) > len(other) else -1
    return (one > other) - (one < other)


def allows(policies: Sequence[Rules], operation: str, path: str, *, sudo_needed: bool = False) -> bool:
    spellings = [path]
    if operation == "list":
        bare = path.removesuffix("/")
        spellings = [bare, bare + "/"]
    patterns = {pattern for rules in policies for pattern, _ in rules}
    candidates = [pattern for pattern in patterns if any(matches(pattern, spelling) for spelling in spellings)]
    if not candidates:
        return False
    best = max(candidates, key=functools.cmp_to_key(compare))
    winners = {best}
    # One pattern with and without its slash: for a listing they are the same name, so a denial in either counts.
    if operation == "list" and best.endswith("/") and best[:-1] in candidates:
        runner_up = max((c for c in candidates if matches(c, spellings[0])), key=functools.cmp_to_key(compare))
        if runner_up == best[:-1]:
            winners.add(runner_up)
    granted = {winner: _united(policies, winner) for winner in winners}
    if any("deny" in capabilities for capabilities in granted.values()):
        return False
    return operation in granted[best] and (not sudo_needed or "sudo" in granted[best])


def _united(policies: Sequence[Rules], pattern: str) -> frozenset[str]:
    return frozenset().union(*(names for rules in policies for text, names in rules if text == pattern))
