"""The one rule of KV version 1: how long a reader may keep what it read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engines.common.duration import parse_duration_s
from engines.common.json_values import decode_json

# "lease" is the older name of the two.
_TTL_NAMES: Final = ("ttl", "lease")


def advisory_ttl_s(members: Mapping[str, bytes], default_ttl_s: int) -> int:
    """Seconds from the secret's own `ttl` (or `lease`), or the mount's default where there is none that can be read."""
    for name in _TTL_NAMES:
        if name in members:
            value = decode_json(members[name])
            if isinstance(value, str | int | float):
                try:
                    own_s = parse_duration_s(value)
                except ValueError:
                    return default_ttl_s
                return own_s if own_s > 0 else default_ttl_s
    return default_ttl_s
