"""What Raft and request forwarding need of the network between nodes, and the real network: TLS over TCP.

Raft messages to a peer go through one connection that this node dials; the peer's answers come on the one it dials.
Forwarded requests have connections of their own, so that a large body never delays a heartbeat.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from cluster.call_link import CallAnswerer, CallLink
from cluster.channel import Channel
from cluster.dialling import Identity, explain
from cluster.errors import ClusterError, PeerUnreachable, TlsMaterialRefused
from cluster.link_limits import RAFT_FRAME_BYTES_MAX, LinkLimits
from cluster.listener import Listener
from cluster.raft_link import RaftLink
from cluster.tls import TlsMaterial, client_context, cluster_id_of, node_id_of, server_context
from cluster.wire import RAFT, pack, unpack

logger = logging.getLogger(__name__)


class Links(Protocol):
    """The network as Raft sees it. All callbacks run on the event loop and must not block."""

    # Set by Raft: node id (authenticated), message in one of the shapes of cluster/wire.py.
    on_message: Callable[[str, dict[str, Any]], None]
    # Of the outgoing link of this node to that peer.
    on_connected: Callable[[str], None]
    on_disconnected: Callable[[str], None]

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """The peers from now on, node id -> "host:port": dials new ones, drops those that are gone."""

    def send(self, node_id: str, message: dict[str, Any]) -> bool:
        """Queue a message in order; False if neither node has a connection, or the queue is full. Never blocks."""

    def connected(self, node_id: str) -> bool:
        """Whether `send` to this peer has a connection now."""


class TlsLinks:
    """The real Links, and `call` for request forwarding. Lives on one event loop, from `start` to `stop`."""

    def __init__(self, node_id: str, material: TlsMaterial, limits: LinkLimits | None = None) -> None:
        """Raises TlsMaterialRefused if the material is unreadable or that of another node."""
        if node_id_of(material.cert_pem) != node_id:
            raise TlsMaterialRefused(f"the TLS certificate is not that of node {node_id!r}")
        self.on_message: Callable[[str, dict[str, Any]], None] = _drop_message
        self.on_connected: Callable[[str], None] = _nothing
        self.on_disconnected: Callable[[str], None] = _nothing
        # Set by the node: node id (authenticated), request -> answer. Until then calls are refused.
        self.on_call: Callable[[str, bytes], Awaitable[bytes]] | None = None
        self._limits = limits or LinkLimits()
        self._identity = Identity(
            node_id, cluster_id_of(material.ca_pem), client_context(material), server_context(material)
        )
        self._raft_links: dict[str, RaftLink] = {}
        self._call_links: dict[str, CallLink] = {}
        self._answerer = CallAnswerer(lambda: self.on_call, self._limits)
        self._listener = Listener(self._identity, self._limits, self._greeted)

    async def start(self, bind_host: str, bind_port: int) -> None:
        """Listen. Raises AddressInUse; the message says what is wrong with the address."""
        await self._listener.start(bind_host, bind_port)

    @property
    def bound_port(self) -> int:
        """The port listened on; differs from bind_port only if that was 0."""
        return self._listener.bound_port

    async def stop(self) -> None:
        """Send what is queued, within stop_timeout_s, and close everything. May be called more than once."""
        links: list[RaftLink | CallLink] = [*self._raft_links.values(), *self._call_links.values()]
        self.set_peers({})
        await self._answerer.stop()
        await asyncio.gather(self._listener.stop(), *(link.wait_closed() for link in links))

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """As in Links. This node's own id is skipped."""
        wanted = {node_id: address for node_id, address in peers.items() if node_id != self._identity.node_id}
        for node_id, link in list(self._raft_links.items()):
            if wanted.get(node_id) != link.address:
                self._raft_links.pop(node_id).close()
                self._call_links.pop(node_id).close()
        for node_id, address in wanted.items():
            if node_id not in self._raft_links:
                self._raft_links[node_id] = RaftLink(
                    self._identity,
                    node_id,
                    address,
                    self._limits,
                    self._link_is_up,
                    self._link_is_down,
                    self._on_raft_frame,
                )
                self._call_links[node_id] = CallLink(self._identity, node_id, address, self._limits)

    def send(self, node_id: str, message: dict[str, Any]) -> bool:
        """As in Links. Raises FrameTooLarge for a message over 8 MiB, which is a bug of the caller."""
        link = self._raft_links.get(node_id)
        channel = link.channel if link is not None else None
        if channel is None:
            # Over the connection that the peer has dialled: it may be no peer of ours any more, or not yet, and has to
            # hear that, or be answered, all the same.
            channel = self._listener.channel_of(node_id, "raft")
        return channel is not None and channel.send(pack(message, RAFT_FRAME_BYTES_MAX))

    def connected(self, node_id: str) -> bool:
        """As in Links."""
        link = self._raft_links.get(node_id)
        return link is not None and link.channel is not None

    async def call(self, node_id: str, payload: bytes, timeout_s: float) -> bytes:
        """Ask a peer and wait for its answer.

        Raises:
            PeerUnreachable: The peer never saw the request: asking again, or another node, is safe.
            OutcomeUnknown: It was sent, and then the connection or the time ran out, or the peer failed.
            EntryTooLarge: The payload is over what a connection carries; nothing was sent.
        """
        link = self._call_links.get(node_id)
        if link is None:
            raise PeerUnreachable(f"node {node_id!r} is not a peer of this node")
        return await link.call(payload, timeout_s)

    def _link_is_up(self, node_id: str) -> None:
        _guarded(self.on_connected, node_id)

    def _link_is_down(self, node_id: str) -> None:
        _guarded(self.on_disconnected, node_id)

    def _greeted(self, channel: Channel, kind: str) -> None:
        """A peer has connected to this node and proved who it is."""
        if kind == "call":
            channel.on_frame = self._answerer.on_frame
            return
        channel.on_frame = self._on_raft_frame
        # It is there: whoever waits out a back-off before dialling it need not wait longer.
        if link := self._raft_links.get(channel.peer_id):
            link.hurry()

    def _on_raft_frame(self, channel: Channel, body: memoryview) -> None:
        _guarded(self.on_message, channel.peer_id, unpack(body, RAFT))


def _guarded(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except (ClusterError, OSError) as error:
        logger.error("what node %r sent was not taken: %s", arguments[0], explain(error))
    except Exception:
        # A fault of this program, not of the peer: it must neither end the link nor hide in reconnects.
        logger.exception("the receiver of node %r's link events failed", arguments[0])


def _drop_message(node_id: str, message: dict[str, Any]) -> None:
    pass


def _nothing(node_id: str) -> None:
    pass
