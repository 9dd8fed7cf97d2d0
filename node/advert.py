"""How nodes of a cluster know each other's API addresses: the active one's record, and the standbys' echoes to it."""

from collections.abc import Collection, ValuesView
from dataclasses import asdict, dataclass
from typing import Final

import msgpack

ACTIVE_KEY: Final = "core/active"
ECHO_PERIOD_S: Final = 5.0
ECHOES_MAX: Final = 64  # far more nodes than a cluster has
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


class Echoes:
    """What the active node has heard from the standbys, by node id."""

    def __init__(self) -> None:
        self._heard: dict[str, Echo] = {}

    def note(self, node_id: str, row: list[object], at_ms: int) -> None:
        """Take an echo as it came over the wire; one of another shape, or of one node too many, is passed over."""
        match row:
            case [str(hostname), str(api), str(cluster), str(version)] if (
                len(self._heard) < ECHOES_MAX or node_id in self._heard
            ):
                self._heard[node_id] = Echo(
                    hostname=hostname,
                    api_address=api,
                    cluster_address=cluster,
                    version=version,
                    at_ms=at_ms,
                )

    def keep_only(self, peers: Collection[str]) -> None:
        """Forget every other node: one that was removed is no standby any more, whatever it said last."""
        for stranger in self._heard.keys() - set(peers):
            del self._heard[stranger]

    def get(self, node_id: str) -> Echo | None:
        """The last echo of this node."""
        return self._heard.get(node_id)

    def clear(self) -> None:
        """Forget them all."""
        self._heard.clear()

    def values(self) -> ValuesView[Echo]:
        """The last echo of each."""
        return self._heard.values()
