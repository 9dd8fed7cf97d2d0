"""The cluster port: accepts, and hands on only who has proved to be a node of this cluster.

Whatever else knocks (scanners, browsers, other clusters, the silent) is bounded in count, time and bytes, costs at
most one line in the log every few seconds, and never ends the listener.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from cluster.channel import Channel
from cluster.dialling import Identity, explain, finish, heard_hello, hello
from cluster.errors import AddressInUse, TlsMaterialRefused
from cluster.link_limits import LinkLimits
from cluster.wire import KINDS, WireError

logger = logging.getLogger(__name__)

_BACKLOG: Final = 128
_ACCEPT_RETRY_S: Final = 0.2
_LOG_INTERVAL_S: Final = 5.0


class Listener:
    """Accepts for one node. `on_greeted` gets each new connection with its kind, and sets its on_frame."""

    def __init__(self, identity: Identity, limits: LinkLimits, on_greeted: Callable[[Channel, str], None]) -> None:
        self.bound_port = 0
        self._identity = identity
        self._limits = limits
        self._on_greeted = on_greeted
        self._sockets: list[socket.socket] = []
        self._ungreeted: set[asyncio.Task[None]] = set()
        self._greeted: dict[tuple[str, str], Channel] = {}
        self._log_after = 0.0
        self._unlogged = 0

    async def start(self, host: str, port: int) -> None:
        """Raises AddressInUse."""
        self._sockets = await _bound(host, port)
        self.bound_port = self._sockets[0].getsockname()[1]
        for listening in self._sockets:
            self._listen_on(listening)

    async def stop(self) -> None:
        """Close the port and every connection that came through it; answers that are queued are sent first."""
        channels = list(self._greeted.values())
        for channel in channels:
            channel.close()
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets = []
        tasks = list(self._ungreeted)
        for task in tasks:
            task.cancel()
        closed = (channel.wait_closed(self._limits.stop_timeout_s) for channel in channels)
        await asyncio.gather(*tasks, *closed, return_exceptions=True)

    def channel_of(self, node_id: str, kind: str) -> Channel | None:
        """The connection of this kind that the node has dialled, if it stands."""
        return self._greeted.get((node_id, kind))

    def _listen_on(self, listening: socket.socket) -> None:
        # Not loop.sock_accept: cancelled at the wrong moment, asyncio loses a connection that it has accepted.
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_BACKLOG):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of file descriptors or memory: who knocks waits in the backlog until some are free again.
                self._log("cannot accept", error)
                loop.remove_reader(listening)
                loop.call_later(_ACCEPT_RETRY_S, self._listen_on, listening)
                return
            if len(self._ungreeted) >= self._limits.ungreeted_max:
                sock.close()
                self._log(f"refused {address[0]}", WireError("too many connections have not said who they are"))
                continue
            sock.setblocking(False)
            task = loop.create_task(self._greet(sock, str(address[0])))
            self._ungreeted.add(task)
            task.add_done_callback(self._ungreeted.discard)

    async def _greet(self, sock: socket.socket, source: str) -> None:
        """TLS and hello, within greeting_timeout_s, or nothing is left of the connection."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[None] = loop.create_future()

        def on_hello(channel: Channel, body: memoryview) -> None:
            self._admit(channel, heard_hello(self._identity, channel.peer_id, body))
            finish(heard)

        channel = Channel(
            on_hello,
            queue_bytes_max=self._limits.call_queue_bytes_max,
            unacknowledged_timeout_s=self._limits.unacknowledged_timeout_s,
        )
        channel.on_lost = lambda _: finish(heard)
        try:
            async with asyncio.timeout(self._limits.greeting_timeout_s):
                await loop.connect_accepted_socket(
                    lambda: channel,
                    sock,
                    ssl=self._identity.server_context,
                    ssl_handshake_timeout=self._limits.greeting_timeout_s,
                    ssl_shutdown_timeout=self._limits.stop_timeout_s,
                )
                await heard
            if channel.closed.done():
                raise channel.fault or ConnectionResetError("it closed the connection before it said hello")
        except (OSError, WireError, TlsMaterialRefused) as error:
            channel.abort()
            self._log(f"refused {source}", error)
        except BaseException:
            channel.abort()
            raise

    def _admit(self, channel: Channel, kind: str) -> None:
        if channel.peer_id == self._identity.node_id:
            raise WireError("it has the certificate of this very node")
        # A peer dials again when it has lost its connection: the older one is then a half-open leftover.
        key = (channel.peer_id, kind)
        if older := self._greeted.pop(key, None):
            older.abort(WireError("replaced by a newer connection of the same node"))
        self._greeted[key] = channel
        channel.on_lost = lambda lost: self._lost(lost, key)
        channel.admit(KINDS[kind].frame_bytes_max)
        channel.send(hello(self._identity, kind))
        self._on_greeted(channel, kind)

    def _lost(self, channel: Channel, key: tuple[str, str]) -> None:
        if self._greeted.get(key) is channel:
            del self._greeted[key]
        if isinstance(channel.fault, WireError):
            self._log(f"closed the connection of node {key[0]!r}", channel.fault)

    def _log(self, what: str, error: Exception) -> None:
        """One line every few seconds, whoever knocks how often: a log must not be a way to fill the disk."""
        now = asyncio.get_running_loop().time()
        if now < self._log_after:
            self._unlogged += 1
            return
        more = f" (and {self._unlogged} more since the last such line)" if self._unlogged else ""
        logger.warning("cluster port: %s: %s%s", what, explain(error), more)
        self._log_after = now + _LOG_INTERVAL_S
        self._unlogged = 0


async def _bound(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address that the host name stands for. Raises AddressInUse."""
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        raise AddressInUse(f"cannot listen on cluster address {host}:{port}: {_bind_fault(error)}") from None
    return sockets


def _bind_fault(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return "another program uses this port; stop it, or set another cluster_address in the listener stanza"
    if number == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if number == errno.EACCES:
        return "not permitted; ports below 1024 need a privilege"
    return os.strerror(number) if number and number > 0 else str(error)
