"""The PROXY protocol, versions 1 and 2: a proxy says in front of everything else, TLS too, for whom it connects.

Source: "The PROXY protocol", HAProxy 2.9, doc/proxy-protocol.txt. The bytes are peeked at first and only the header is
taken, so whatever follows (TLS, HTTP) finds its own beginning.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from node.config.listeners import Listener

logger = logging.getLogger(__name__)

V1_BYTES_MAX: Final = 107  # section 2.1: the longest line with its end
V2_BYTES_MAX: Final = 4096  # addresses take 216 bytes, the rest is extensions, of which proxies send a few hundred
PENDING_MAX: Final = 1024  # connections whose header is awaited; the next ones wait in the kernel's queue
_V1_START: Final = b"PROXY "
_V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_ACCEPT_RETRY_S: Final = 0.1  # after running out of file descriptors

Sender = tuple[str, int]
Accepted = Callable[[Sender | None], asyncio.Protocol]


class MalformedHeader(Exception):
    """What a proxy sent is no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """Who may say for whom it connects."""

    listener: Listener

    def admits(self, address: str) -> bool:
        """Whether this peer may connect at all."""
        return self.listener.proxy_protocol_behavior != "deny_unauthorized" or self._is_listed(address)

    def believes(self, address: str) -> bool:
        """Whether what this peer says is taken for true."""
        return self.listener.proxy_protocol_behavior == "use_always" or self._is_listed(address)

    def _is_listed(self, address: str) -> bool:
        try:
            peer = ip_address(address)
        except ValueError:
            return False  # a unix socket has no address
        return any(peer in network for network in self.listener.proxy_protocol_authorized_addrs)


class ProxiedServer:
    """Accepts connections, takes their header, and only then lets the HTTP edge have them."""

    def __init__(
        self, sock: socket.socket, policy: ProxyPolicy, accepted: Accepted, tls: ssl.SSLContext | None, header_s: float
    ) -> None:
        self.sockets = (sock,)
        self._policy = policy
        self._accepted = accepted
        self._tls = tls
        self._header_s = header_s
        self._pending: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(PENDING_MAX)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(sock))

    def close(self) -> None:
        """Accept nothing more and drop what has not said yet for whom it comes."""
        self._accepting.cancel()
        for task in self._pending:
            task.cancel()
        for sock in self.sockets:
            sock.close()

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, _ = await loop.sock_accept(sock)
            except OSError as error:
                self._room.release()
                logger.warning("a connection could not be accepted: %s", error.strerror)
                await asyncio.sleep(_ACCEPT_RETRY_S)
                continue
            task = loop.create_task(self._welcome(connection))
            self._pending.add(task)
            task.add_done_callback(self._welcomed)

    def _welcomed(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        self._room.release()

    async def _welcome(self, connection: socket.socket) -> None:
        """Hand the connection on, or close it when its header is late or wrong or its peer is not wanted."""
        connection.setblocking(False)
        try:
            async with asyncio.timeout(self._header_s):
                sender = await self._sender(connection)
        except (MalformedHeader, TimeoutError, OSError):
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        loop = asyncio.get_running_loop()
        timeout_s = self._header_s if self._tls is not None else None
        with contextlib.suppress(OSError):  # a handshake that failed has closed the connection
            await loop.connect_accepted_socket(
                lambda: self._accepted(sender), connection, ssl=self._tls, ssl_handshake_timeout=timeout_s
            )

    async def _sender(self, connection: socket.socket) -> Sender | None:
        """For whom the peer connects; None for itself. Raises MalformedHeader, OSError."""
        address = _address_of(connection)
        if not self._policy.admits(address):
            raise MalformedHeader
        said = await take_header(connection)
        return said if self._policy.believes(address) else None


def _address_of(connection: socket.socket) -> str:
    name = connection.getpeername()
    return str(name[0]) if isinstance(name, tuple) else ""


async def take_header(connection: socket.socket) -> Sender | None:
    """Take the header off a connection, if it begins with one. None: there is none, or it names nobody.

    Raises:
        MalformedHeader: It begins like one and is none, or is longer than the bounds.
        OSError: The peer is gone.
    """
    start = await _peek(connection, 1)
    if start == _V1_START[:1] and await _peek(connection, len(_V1_START)) == _V1_START:
        size = await _line_size(connection)
        return v1_sender(connection.recv(size))
    if start == _V2_START[:1] and (await _peek(connection, 16))[:12] == _V2_START:
        head = connection.recv(16)
        size = int.from_bytes(head[14:16], "big")
        if size > V2_BYTES_MAX:
            raise MalformedHeader
        if size:
            await _peek(connection, size)
        return v2_sender(head, connection.recv(size) if size else b"")
    return None


async def _line_size(connection: socket.socket) -> int:
    size = len(_V1_START)
    while True:
        seen = await _peek(connection, size + 1, V1_BYTES_MAX)
        end = seen.find(b"\r\n")
        if end >= 0:
            return end + 2
        size = len(seen)
        if size >= V1_BYTES_MAX:
            raise MalformedHeader


async def _peek(connection: socket.socket, least: int, most: int = 0) -> bytes:
    """What arrived first, at least so many bytes, left where it is. Raises ConnectionError when no more will come."""
    # Without this the socket would be readable, again and again, as soon as the first byte is there.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
    try:
        for is_last in (False, True):
            try:
                seen = connection.recv(most or least, socket.MSG_PEEK)
            except BlockingIOError:
                seen = b""
            if len(seen) >= least:
                return seen
            if not is_last:
                await _readable(connection)
    finally:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    raise ConnectionResetError("the peer has gone")


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(connection, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def v1_sender(line: bytes) -> Sender | None:
    """Section 2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`; UNKNOWN names nobody. Raises MalformedHeader."""
    try:
        words = line.decode("ascii").removesuffix("\r\n").split(" ")
    except UnicodeDecodeError:
        raise MalformedHeader from None
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise MalformedHeader
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        source, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise MalformedHeader from None
    if not all(word.isdecimal() and len(word) <= 5 and int(word) <= 65535 for word in words[4:]):
        raise MalformedHeader
    return str(source), int(words[4])


def v2_sender(head: bytes, rest: bytes) -> Sender | None:
    """Section 2.2. A LOCAL connection and other families name nobody. Raises MalformedHeader."""
    version, command = head[12] >> 4, head[12] & 15
    if version != 2 or command > 1:
        raise MalformedHeader
    family, size = head[13] >> 4, {1: 4, 2: 16}.get(head[13] >> 4)
    if command == 0 or size is None:
        if command == 1 and family > 3:
            raise MalformedHeader
        return None
    if len(rest) < 2 * size + 4:
        raise MalformedHeader
    source: IPv4Address | IPv6Address = IPv4Address(rest[:4]) if size == 4 else IPv6Address(rest[:16])
    return str(source), int.from_bytes(rest[2 * size : 2 * size + 2], "big")
