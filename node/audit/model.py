"""What is stored of audit: the table of devices, and the request headers that records show."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

AUDIT_KEY: Final = "core/audit"
HEADERS_KEY: Final = "core/audited-headers"
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An enabled device. `path` ends in "/". The salt is made when it is enabled and is lost when it is disabled."""

    path: str
    type: str
    uuid: str
    description: str = ""
    local: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    salt: bytes = field(repr=False)

    def described(self) -> dict[str, object]:
        """The row as sys/audit shows it."""
        return {
            "description": self.description,
            "local": self.local,
            "options": dict(self.options),
            "path": self.path,
            "type": self.type,
        }


def encode_table(entries: Iterable[AuditEntry]) -> bytes:
    """The record of all devices."""
    rows = [{name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__} for entry in entries]
    return _FORMAT + bytes(msgpack.packb(rows))


def decode_table(record: bytes) -> tuple[AuditEntry, ...]:
    """The devices in a record. A field that an older version did not write keeps its default."""
    return tuple(AuditEntry(**row) for row in _unpacked(record))


def encode_headers(headers: Mapping[str, bool]) -> bytes:
    """The record of the audited headers: lower-case name, and whether its value is hashed."""
    return _FORMAT + bytes(msgpack.packb(dict(headers)))


def decode_headers(record: bytes) -> dict[str, bool]:
    """The audited headers in a record."""
    return dict(_unpacked(record))


def _unpacked(record: bytes) -> Any:
    if record[:1] != _FORMAT:
        raise ValueError("audit table has an unknown format; was it written by a newer version?")
    return msgpack.unpackb(record[1:])
