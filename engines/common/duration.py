"""Durations as the API and the configuration spell them: "24h", "1h30m", "7d", 3600, "3600"."""

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

# The largest span that clients can hold: their durations are signed 64-bit nanoseconds (about 292 years).
DURATION_S_MAX: Final = (2**63 - 1) // 10**9
_TEXT_CHARS_MAX: Final = 64  # far longer than any duration a person writes; bounds the arithmetic below

_UNIT_S: Final = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # U+00B5, micro sign
    "μs": Fraction(1, 10**6),  # U+03BC, Greek mu: both are in use
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def parse_duration_s(value: str | int | float) -> int:
    """Whole seconds of a duration; a part of a second counts as a whole one, away from zero.

    A bare number, also as text, is seconds; text is a Go duration with "d" for 24 hours added; "" is 0. Rounding
    goes up because 0 means "no limit" to many settings, which a small positive value must never turn into.

    Raises:
        ValueError: Not a duration, or longer than about 292 years. The text never repeats the value.
    """
    if isinstance(value, bool):
        raise ValueError("expected a duration, got a boolean")
    if isinstance(value, str):
        if len(value) > _TEXT_CHARS_MAX:
            raise ValueError("the duration is too long a text")
        return _whole_of_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a duration must be a finite number")
    return _whole(Fraction(value))


@lru_cache(maxsize=1024)
def _whole_of_text(text: str) -> int:
    """Remembered: clients send the same few texts with every request, and the exact arithmetic takes 17 us."""
    return _whole(_seconds_of_text(text))


def _whole(seconds: Fraction) -> int:
    if abs(seconds) > DURATION_S_MAX:
        raise ValueError("the duration is longer than 292 years")
    return math.ceil(seconds) if seconds >= 0 else math.floor(seconds)


def _seconds_of_text(text: str) -> Fraction:
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if not text:
        return Fraction(0)
    if _NUMBER.fullmatch(rest):
        return sign * Fraction(rest)
    total, at = Fraction(0), 0
    while part := _PART.match(rest, at):
        total += Fraction(part[1].rstrip(".")) * _UNIT_S[part[2]]
        at = part.end()
    if at == 0 or at != len(rest):
        raise ValueError('expected a duration such as "90s", "24h" or "1h30m"')
    return sign * total


def format_go(seconds: int) -> str:
    """The duration as Go prints it and the API answers: "24h0m0s", "1m30s", "0s"."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    minutes, second = divmod(left, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minute}m{second}s"
    return f"{sign}{minute}m{second}s" if minute else f"{sign}{second}s"
