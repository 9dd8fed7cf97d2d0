"""Durations as users of this command line write and read them: 768h, 1h30m, 90s, 500ms, 7d, or bare seconds."""

import re
from typing import Final

NANOS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration; a bare number is seconds.

    Raises:
        ValueError: Not a duration.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if re.fullmatch(r"\d+", rest):
        return sign * int(rest) * NANOS["s"]
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"invalid duration {text!r}")
    return sign * sum(_scaled(number, unit) for number, unit in parts)


def _scaled(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    # Integer arithmetic: 0.1s must not become 100000001 ns.
    return int(whole or "0") * NANOS[unit] + (int(fraction) * NANOS[unit] // 10 ** len(fraction) if fraction else 0)


def wire_duration(nanos: int) -> str:
    """The form every compatible server reads: 24h0m0s, 1.5s, 0s."""
    if nanos < 0:
        return "-" + wire_duration(-nanos)
    seconds, rest = divmod(nanos, NANOS["s"])
    if seconds == 0 and rest:
        unit = "ms" if rest >= NANOS["ms"] else "us" if rest >= NANOS["us"] else "ns"
        return _decimal(rest, NANOS[unit]) + unit
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(seconds * NANOS["s"] + rest, NANOS["s"]) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1).rstrip('0')}"


def short_duration(seconds: int) -> str:
    """The form tables print: zero parts at the end are left off (768h, 1h30m, 59m59s, 0s)."""
    text = wire_duration(seconds * NANOS["s"])
    if text.endswith("m0s"):
        text = text[:-2]
    if text.endswith("h0m"):
        text = text[:-2]
    return text


def ttl_setting(nanos: int) -> str:
    """A lease setting of a mount: a negative one means the system's own value."""
    return "system" if nanos < 0 else wire_duration(nanos)
