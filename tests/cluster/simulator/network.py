"""The network between simulated nodes, after `cluster.links.TlsLinks`: connections that each node dials to its peers.

A connection carries both directions, in order. A cut direction holds back what is sent, as TCP does; once it was cut
for `DEAD_AFTER_S` the connection ends, and what it held is lost. In a `lossy` network the order, the number and the
arrival of messages promise nothing: worse than TLS can be, and Raft must bear it all the same.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

from tests.cluster.simulator.loop import Life, SimLoop

Message = dict[str, Any]

# LinkLimits.unacknowledged_timeout_s
DEAD_AFTER_S = 5.0
_BACKOFF_MIN_S = 0.05
_BACKOFF_MAX_S = 2.0


class Network:
    """What is cut, how slow and how bad it is; and every connection."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.links: dict[str, SimLinks] = {}
        self.cut: set[tuple[str, str]] = set()
        self.delay_s = (0.0005, 0.002)
        self.slow_nodes: dict[str, float] = {}
        self.lossy = False
        self.loss_share = 0.0
        self.repeat_share = 0.0
        self.straggler_s = 0.0  # how late a repeated message may come in a lossy network
        self.garbage_share = 0.0
        self.on_arrival: Callable[[str, str, Message], None] = lambda source, target, message: None
        self.spoil: Callable[[Message, random.Random], Message | None] = lambda message, rng: message
        self.connections: list[Connection] = []

    def running(self, node_id: str) -> bool:
        links = self.links.get(node_id)
        return links is not None and not links.life.dead

    def can_dial(self, source: str, target: str) -> bool:
        return self.running(target) and not {(source, target), (target, source)} & self.cut

    def set_cut(self, cut: set[tuple[str, str]], *, reset: bool) -> None:
        """Cut these directions and no others; with reset both ends learn of it at once."""
        healed = self.cut - cut
        began = cut - self.cut
        self.cut = cut
        for connection in list(self.connections):
            for half in connection.halves:
                if (half.source, half.target) in healed:
                    half.flow()
            if {(half.source, half.target) for half in connection.halves} & began:
                if reset:
                    connection.end()
                else:
                    self.loop.call_later(DEAD_AFTER_S, connection.end_if_cut)

    def node_died(self, node_id: str) -> None:
        """Its connections end; what was on its way may still arrive, or not."""
        for connection in list(self.connections):
            if node_id in (connection.dialler, connection.listener):
                connection.end(lose=False)


class _Half:
    """One direction of one connection."""

    __slots__ = ("_last_at", "_network", "_rng", "connection", "held", "source", "target")

    def __init__(self, network: Network, connection: "Connection", source: str, target: str, number: int) -> None:
        self.source = source
        self.target = target
        self.connection = connection
        self.held: list[Message] = []
        self._network = network
        self._last_at = 0.0
        # One for each direction: in which order a node speaks to its peers then decides nothing.
        self._rng = random.Random(crc32(f"{network.seed} {source} {target} {number}".encode()))

    def send(self, message: Message) -> None:
        network = self._network
        if (self.source, self.target) in network.cut:
            if not network.lossy:
                self.held.append(message)
            return
        rng = self._rng
        low, high = network.delay_s
        delay_s = low + (high - low) * rng.random()
        delay_s += network.slow_nodes.get(self.target, 0.0) * rng.random()
        if network.garbage_share and rng.random() < network.garbage_share:
            self._schedule(delay_s, message, is_garbage=True)
        if not network.lossy:
            at = max(network.loop.now_s + delay_s, self._last_at + 1e-6)
            self._last_at = at
            self._schedule(at - network.loop.now_s, message)
            return
        if rng.random() >= network.loss_share:
            self._schedule(delay_s, message)
        if rng.random() < network.repeat_share:
            self._schedule(delay_s + network.straggler_s * rng.random(), message)

    def flow(self) -> None:
        held, self.held = self.held, []
        for message in held:
            self.send(message)

    def _schedule(self, delay_s: float, message: Message, *, is_garbage: bool = False) -> None:
        links = self._network.links[self.target]
        self._network.loop.call_later(delay_s, self._arrive, links, message, is_garbage, context=links.life.context)

    def _arrive(self, links: "SimLinks", message: Message, is_garbage: bool) -> None:
        network = self._network
        if not self.connection.up and not network.lossy and not self.connection.drains:
            return
        if (self.source, self.target) in network.cut:
            if not network.lossy:
                self.held.append(message)
            return
        if is_garbage:
            garbage = network.spoil(message, self._rng)
            if garbage is None:
                self.connection.end()
                return
            message = garbage
        network.on_arrival(self.source, self.target, message)
        # A copy, as from the wire: the sender may still use its own.
        links.on_message(self.source, {**message})


class Connection:
    """One dialled connection, from the moment at which both ends have greeted."""

    def __init__(self, network: Network, dialler: "SimLinks", listener: "SimLinks", number: int) -> None:
        self.dialler = dialler.node_id
        self.listener = listener.node_id
        self.up = True
        self.drains = False
        self._network = network
        self._dialler = dialler
        self.forth = _Half(network, self, self.dialler, self.listener, 2 * number)
        self.back = _Half(network, self, self.listener, self.dialler, 2 * number + 1)
        self.halves = (self.forth, self.back)
        network.connections.append(self)

    def end_if_cut(self) -> None:
        if self.up and any((half.source, half.target) in self._network.cut for half in self.halves):
            self.end()

    def end(self, *, lose: bool = True) -> None:
        """Both ends learn that it is gone, each when it next runs."""
        if not self.up:
            return
        self.up = False
        self.drains = not lose
        self._network.connections.remove(self)
        loop = self._network.loop
        loop.call_soon(self._dialler.lost, self, context=self._dialler.life.context)
        for half in self.halves:
            half.held = []


class SimLinks:
    """cluster.links.Links of one life of one node."""

    def __init__(self, network: Network, life: Life, node_id: str) -> None:
        self.on_message: Callable[[str, Message], None] = lambda node_id, message: None
        self.on_connected: Callable[[str], None] = lambda node_id: None
        self.on_disconnected: Callable[[str], None] = lambda node_id: None
        self.life = life
        self.node_id = node_id
        self._network = network
        self._rng = random.Random(crc32(f"{network.seed} {node_id} {network.loop.now_s:.6f}".encode()))
        self._peers: set[str] = set()
        self._up: dict[str, Connection] = {}
        self._dialling: set[str] = set()
        self._count = self._rng.randrange(1 << 30)
        network.links[node_id] = self

    def set_peers(self, peers: Mapping[str, str]) -> None:
        wanted = set(peers) - {self.node_id}
        for gone in sorted(self._peers - wanted):
            connection = self._up.get(gone)
            if connection is not None:
                connection.end(lose=False)
        new = sorted(wanted - self._peers)
        self._peers = wanted
        for peer in new:
            if peer not in self._dialling and peer not in self._up:
                self._dialling.add(peer)
                self._later(0.001, peer, _BACKOFF_MIN_S)

    def send(self, node_id: str, message: Message) -> bool:
        connection = self._up.get(node_id)
        if connection is not None and connection.up:
            connection.forth.send(message)
            return True
        # Otherwise over a connection of the peer's own.
        theirs = self._network.links.get(node_id)
        inbound = theirs._up.get(self.node_id) if theirs is not None else None
        if inbound is None or not inbound.up:
            return False
        inbound.back.send(message)
        return True

    def connected(self, node_id: str) -> bool:
        return node_id in self._up

    def lost(self, connection: Connection) -> None:
        peer = connection.listener
        if self._up.get(peer) is not connection:
            return
        del self._up[peer]
        if peer in self._peers:
            self._dialling.add(peer)
            self._later(_BACKOFF_MIN_S, peer, _BACKOFF_MIN_S)
        self.on_disconnected(peer)

    def _later(self, delay_s: float, peer: str, backoff_s: float) -> None:
        self._network.loop.call_later(delay_s * self._rng.uniform(0.5, 1.0), self._dial, peer, backoff_s)

    def _dial(self, peer: str, backoff_s: float) -> None:
        if peer not in self._peers:
            self._dialling.discard(peer)
            return
        network = self._network
        if not network.can_dial(self.node_id, peer):
            self._later(backoff_s, peer, min(2 * backoff_s, _BACKOFF_MAX_S))
            return
        self._dialling.discard(peer)
        self._count += 1
        self._up[peer] = Connection(network, self, network.links[peer], self._count)
        self.on_connected(peer)
