"""How nodes of a cluster know each other's API addresses: the active one's record, and the standbys' echoes to it."""

from dataclasses import asdict, dataclass
from typing import Final

import msgpack

ACTIVE_KEY: Final = "core/active"
ECHO_PERIOD_S: Final = 5.0
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveNode:
    """The record that a node writes when it becomes active. Times in Unix milliseconds."""

    node_id: str
    api_address: str
    cluster_address: str
    hostname: str
    version: str
    since_ms: int

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb(asdict(self)))

    @staticmethod
    def from_bytes(record: bytes) -> "ActiveNode":
        """Raises ValueError."""
        if record[:1] != _FORMAT:
            raise ValueError("the active node's record has an unknown format; was it written by a newer version?")
        return ActiveNode(**msgpack.unpackb(record[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What a standby tells the active node about itself every ECHO_PERIOD_S."""

    hostname: str
    api_address: str
    cluster_address: str
    version: str
    at_ms: int = 0
