"""Names of metrics: which characters a name may hold, and which names are shown at all."""

import re
from collections.abc import Sequence
from typing import Final

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")


def prometheus_name(prefix: str, name: str) -> str:
    """The name as Prometheus takes it: whatever it does not allow is an underscore."""
    whole = f"{prefix}.{name}" if prefix else name
    spelled = _NOT_IN_A_NAME.sub("_", whole)
    return f"_{spelled}" if spelled[:1].isdecimal() else spelled


def part_of_name(path: str) -> str:
    """A mount's path as a part of a metric's name: "auth/token/" is "auth-token-"."""
    return path.replace("/", "-")


class Filter:
    """The rules of `prefix_filter`: "+a" shows and "-a" hides what begins with "a". The longest wins, then the hiding.

    Whole names in dots are compared, the prefix included.
    """

    def __init__(self, rules: Sequence[str], *, default: bool) -> None:
        ordered = sorted(rules, key=lambda rule: (-len(rule), rule[:1] == "+"))
        self._rules = [(rule[1:], rule[0] == "+") for rule in ordered]
        self._default = default

    def shows(self, name: str) -> bool:
        """Whether a metric of this name is shown."""
        return next((shown for beginning, shown in self._rules if name.startswith(beginning)), self._default)
