"""Headers that a listener adds to its answers: `custom_response_headers` and what the node says of itself."""

from collections.abc import Mapping, Sequence
from typing import Final

from node.config.listeners import ResponseHeaders

Headers = tuple[tuple[str, str], ...]

# Sent with every answer, unless the configuration says another value.
STANDARD: Final = {
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}


class ListenerHeaders:
    """What is added to an answer, by its status. `own` are headers of the node, which nothing overrides."""

    def __init__(self, custom: Sequence[ResponseHeaders] = (), own: Mapping[str, str] | None = None) -> None:
        self._custom = custom
        self._own = own or {}
        self._by_status: dict[int, Headers] = {}

    def of(self, status: int) -> Headers:
        """The headers of an answer with this status, whole: the standard ones among them."""
        known = self._by_status.get(status)
        if known is None:
            known = self._by_status[status] = self._merged(status)
        return known

    def _merged(self, status: int) -> Headers:
        """The most specific rule wins, header by header."""
        merged = {name.lower(): (name, value) for name, value in STANDARD.items()}
        for wanted in ("default", f"{status // 100}xx", str(status)):
            for rule in self._custom:
                if rule.status == wanted:
                    # Several values are one, as documented: "a;b".
                    merged |= {name.lower(): (name, ";".join(values)) for name, values in rule.headers.items()}
        merged |= {name.lower(): (name, value) for name, value in self._own.items()}
        return tuple(merged.values())


def with_headers(standing: Headers, own: Mapping[str, str]) -> dict[str, str]:
    """The listener's headers and those of one answer, which win."""
    overridden = {name.lower() for name in own}
    return {**{name: value for name, value in standing if name.lower() not in overridden}, **own}
