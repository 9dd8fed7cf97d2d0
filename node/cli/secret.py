"""The envelope of an API answer, as commands see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Data = dict[str, Any]
"""Decoded JSON of a server that may be newer than this client, so unknown members pass through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One answer. What it carries is kept out of its repr."""

    raw: Data = field(repr=False)
    data: Data | None = field(repr=False)
    auth: Data | None = field(repr=False)
    wrap_info: Data | None = field(repr=False)
    warnings: tuple[str, ...]
    lease_id: str
    lease_duration_s: int
    renewable: bool

    @classmethod
    def of(cls, raw: Data) -> "Secret":
        """Read the envelope; members of another type than documented count as absent."""
        warnings = raw.get("warnings")
        duration = raw.get("lease_duration")
        return cls(
            raw=raw,
            data=_object(raw, "data"),
            auth=_object(raw, "auth"),
            wrap_info=_object(raw, "wrap_info"),
            warnings=tuple(str(line) for line in warnings) if isinstance(warnings, list) else (),
            lease_id=str(raw.get("lease_id") or ""),
            lease_duration_s=duration if isinstance(duration, int) else 0,
            renewable=raw.get("renewable") is True,
        )

    def printable(self) -> Data:
        """The members that json and yaml show, in their documented order."""
        shown: Data = {
            "request_id": self.raw.get("request_id", ""),
            "lease_id": self.lease_id,
            "lease_duration": self.lease_duration_s,
            "renewable": self.renewable,
            "data": self.data,
            "warnings": list(self.warnings) or None,
        }
        if self.auth is not None:
            shown["auth"] = self.auth
        if self.wrap_info is not None:
            shown["wrap_info"] = self.wrap_info
        return shown


def _object(raw: Mapping[str, Any], name: str) -> Data | None:
    value = raw.get(name)
    return value if isinstance(value, dict) else None
