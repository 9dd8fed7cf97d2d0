"""How values look in tables: maps as map[a:b], lists as [a b], nothing as <nil>, lifetimes as 768h."""

import json
from collections.abc import Mapping, Sequence

from node.cli.durations import short_duration


def go_text(value: object) -> str:
    """One value as a table shows it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, Sequence):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    return json.dumps(value)


def quoted_list(items: Sequence[str] | None) -> str:
    """A list of names, each in quotes: ["default" "app"]."""
    return "[" + " ".join(json.dumps(item, ensure_ascii=False) for item in items or ()) + "]"


def _is_lifetime(key: str) -> bool:
    return key in ("ttl_max", "lease_max") or any(
        key == word or key.endswith(f"_{word}") for word in ("ttl", "period", "duration")
    )


def table_value(key: str, value: object) -> str:
    """A named value: whole seconds under a name that says lifetime are shown as a duration."""
    if _is_lifetime(key) and isinstance(value, int) and not isinstance(value, bool):
        return short_duration(value)
    return go_text(value)
