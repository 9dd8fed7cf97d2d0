"""The peer list and its changes, as they are stored and replicated. Knows nothing of who is connected."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import msgpack

_FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of the cluster: its node id and the address of its cluster port."""

    node_id: str
    address: str
    voter: bool = True


@dataclass(frozen=True, slots=True)
class PeerChange:
    """One membership change, as an entry of the log holds it. A removal names the address too, to be reversible."""

    kind: Literal["add", "rem"]
    node_id: str
    address: str

    def applied_to(self, peers: Iterable[Peer]) -> list[Peer]:
        """The peer list after this change; the same list when it changes nothing."""
        others = [peer for peer in peers if peer.node_id != self.node_id]
        return [*others, Peer(self.node_id, self.address)] if self.kind == "add" else others


def encode_peers(peers: Iterable[Peer]) -> bytes:
    rows = [[peer.node_id, peer.address, peer.voter] for peer in peers]
    return _pack(rows)


def decode_peers(data: bytes) -> list[Peer]:
    """The peer list; empty for no bytes.

    Raises:
        ValueError: Anything but what `encode_peers` makes.
    """
    if not data:
        return []
    peers = []
    for row in _unpack(data):
        match row:
            case [str(node_id), str(address), bool(voter)]:
                peers.append(Peer(node_id, address, voter))
            case _:
                raise ValueError("a peer has an unknown shape")
    return peers


def encode_change(change: PeerChange) -> bytes:
    return _pack([change.kind, change.node_id, change.address])


def decode_change(data: bytes) -> PeerChange:
    """The change. Raises ValueError for anything but what `encode_change` makes."""
    match _unpack(data):
        case ["add" | "rem" as kind, str(node_id), str(address)]:
            return PeerChange(kind, node_id, address)
    raise ValueError("a peer change has an unknown shape")


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return bytes((_FORMAT_VERSION,)) + packed


def _unpack(data: bytes) -> list[object]:
    if not data or data[0] != _FORMAT_VERSION:
        raise ValueError("unknown format version")
    try:
        value = msgpack.unpackb(data[1:], strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise ValueError("not valid msgpack") from None
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value
