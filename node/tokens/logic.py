"""The arithmetic of token and lease ends, and the rules of policy names. Pure: time comes in as an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from engines.common.duration import format_go
from engines.common.errors import InvalidRequest
from node.policy.errors import PolicyNameRefused
from node.policy.names import INTERNAL_NAMES, canonical_policy_name
from node.tokens.model import DEFAULT, ROOT, Ttls

_PAST_MAX: Final = "past the max TTL, cannot renew"
_DISPLAY_NAME: Final = re.compile(r"[^a-zA-Z0-9-]")
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(low + high for high in _BASE62 for low in _BASE62)
_EIGHT_DIGITS: Final = 62**8
ID_CHARS: Final = 24  # 142 bits; the documented length
ID_RANDOM_BYTES: Final = 24  # 50 bits more than the id holds, so that the remainder below is even to 2**-49


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class End:
    """When something ends (Unix ms, always set), and what the client should hear about it."""

    at_ms: int
    warnings: tuple[str, ...] = ()


def end_of(
    *, now_ms: int, issued_at_ms: int, wanted_s: int, limits: Ttls, period_s: int = 0, explicit_max_s: int = 0
) -> End:
    """The end of a token or lease that is issued or renewed now.

    Invariant: the end lies after now_ms, and not after issue + the least maximum. A moment that cannot be granted is
    refused, never rounded to 0, which would read as "no end" (CVE-2021-32923).

    Args:
        wanted_s: What was asked for; 0 for the default of `limits`. Ignored when there is a period.
        period_s: Each renewal starts this span anew, without a maximum other than the explicit one.
        explicit_max_s: A hard cap counted from issue, for periodic tokens too; 0 for none.

    Raises:
        InvalidRequest: The maximum has been reached.
    """
    warnings: list[str] = []
    wanted_ms = (period_s or wanted_s or limits.default_s) * 1000
    cap_ms = limits.max_s * 1000
    if period_s:
        left_ms = cap_ms
        if explicit_max_s:
            left_ms = min(left_ms, issued_at_ms + explicit_max_s * 1000 - now_ms)
    else:
        if explicit_max_s:
            cap_ms = min(cap_ms, explicit_max_s * 1000)
        left_ms = issued_at_ms + cap_ms - now_ms
    if left_ms <= 0:
        raise InvalidRequest(_PAST_MAX)
    if wanted_ms > left_ms:
        if wanted_s or period_s:
            warnings.append(
                f'TTL of "{format_go(wanted_ms // 1000)}" exceeded the effective max_ttl of '
                f'"{format_go(ceil_s(left_ms))}"; TTL value is capped accordingly'
            )
        wanted_ms = left_ms
    return End(now_ms + wanted_ms, tuple(warnings))


def least_max(limits: Ttls, *caps_s: int) -> Ttls:
    """The limits with each maximum that is set (above 0) applied."""
    max_s = min([limits.max_s, *(cap for cap in caps_s if cap > 0)])
    return Ttls(min(limits.default_s, max_s), max_s)


def ceil_s(ms: int) -> int:
    """Whole seconds, rounded up: a last part of a second must not be told as 0, which clients read as "never"."""
    return -(-ms // 1000)


def left_s(expire_at_ms: int, now_ms: int) -> int:
    """Seconds to the end, rounded up; 0 if there is none, or it has passed."""
    return ceil_s(max(0, expire_at_ms - now_ms)) if expire_at_ms else 0


def policy_name(name: str) -> str:
    """The one spelling of a policy name that a token may carry; root among them, which only root may ask for.

    Raises:
        InvalidRequest: It is no policy name, or one that only the server itself attaches.
    """
    try:
        folded = canonical_policy_name(name)
    except PolicyNameRefused as error:
        raise InvalidRequest(str(error)) from None
    if folded in INTERNAL_NAMES:
        raise InvalidRequest(f'policy "{folded}" cannot be attached to a token')
    return folded


def policy_names(names: Iterable[str], *, add_default: bool = False) -> tuple[str, ...]:
    """Folded, sorted and without repeats. `root` stands alone: beside it nothing else means anything."""
    folded = {policy_name(name) for name in names if name.strip()}
    if ROOT in folded:
        return (ROOT,)
    if add_default:
        folded.add(DEFAULT)
    return tuple(sorted(folded))


def matches_any(name: str, globs: Sequence[str]) -> bool:
    """Whether a name matches one of the globs, in which only `*` is special."""
    return any(fnmatchcase(name, glob.replace("[", "[[]").replace("?", "[?]")) for glob in globs)


def display_name(given: str) -> str:
    """The API's shape: "token", or "token-" and the given name made plain."""
    plain = _DISPLAY_NAME.sub("-", given).removesuffix("-") if given else ""
    return f"token-{plain}" if plain else "token"


def base62_id(random: bytes) -> str:
    """24 characters of [0-9A-Za-z] from ID_RANDOM_BYTES random bytes."""
    number = int.from_bytes(random, "big")
    pairs = []
    # Two digits at a time, of parts that fit into a machine word: three times as fast as digit by digit.
    for _ in range(ID_CHARS // 8):
        number, part = divmod(number, _EIGHT_DIGITS)
        for _ in range(4):
            part, pair = divmod(part, 62 * 62)
            pairs.append(_PAIRS[pair])
    return "".join(pairs)
