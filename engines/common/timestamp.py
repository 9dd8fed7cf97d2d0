"""Times as the API writes them: RFC 3339, UTC, nine digits of a second, such as "2026-11-21T20:00:00.123000000Z"."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(unix_ms: int) -> str:
    """The moment of Unix milliseconds, up to the year 9999."""
    seconds, ms = divmod(unix_ms, 1000)
    return f"{_second(seconds)}.{ms:03d}000000Z"
