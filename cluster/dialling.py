"""How two nodes greet each other, and the dialling end of it.

The one who dials checks that the certificate names the node it meant and says hello; the other checks that the hello
says what the certificate says, and says hello back. Only then is the connection one: in TLS 1.3 the dialling end has
finished its handshake before the other end has judged its certificate.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cluster.channel import Channel
from cluster.errors import PeerUnreachable, TlsMaterialRefused
from cluster.link_limits import HELLO_BYTES_MAX, LinkLimits
from cluster.wire import GREETING, KINDS, PROTOCOL_VERSION, WireError, pack, unpack

_FAULT_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is to its peers."""

    node_id: str
    cluster_id: str
    client_context: ssl.SSLContext = field(repr=False)
    server_context: ssl.SSLContext = field(repr=False)


def hello(identity: Identity, kind: str) -> bytes:
    """The first frame in either direction."""
    message = {
        "type": "hello",
        "version": PROTOCOL_VERSION,
        "cluster_id": identity.cluster_id,
        "node_id": identity.node_id,
        "kind": kind,
    }
    return pack(message, HELLO_BYTES_MAX)


def heard_hello(identity: Identity, peer_id: str, body: memoryview) -> str:
    """The kind of connection that a peer's hello asks for.

    Raises:
        WireError: Another protocol version or cluster, or a hello in another node's name than the certificate's.
    """
    message = unpack(body, GREETING)
    if message["version"] != PROTOCOL_VERSION:
        raise WireError(f"it speaks version {message['version']} of the protocol, this node {PROTOCOL_VERSION}")
    if message["cluster_id"] != identity.cluster_id:
        raise WireError("it says it is of another cluster")
    if message["node_id"] != peer_id:
        raise WireError(f"it has the certificate of node {peer_id!r} and says it is another")
    kind: str = message["kind"]
    if kind not in KINDS:
        raise WireError("it asks for a kind of connection that there is not")
    return kind


async def dial(
    identity: Identity,
    node_id: str,
    address: str,
    kind: str,
    on_frame: Callable[[Channel, memoryview], None],
    limits: LinkLimits,
) -> Channel:
    """A greeted connection to that node. The name in the address is looked up anew each time.

    Raises:
        PeerUnreachable: No connection within dial_timeout_s, or whoever answered is not that node.
    """
    host, port = split_address(address)
    loop = asyncio.get_running_loop()
    greeted: asyncio.Future[None] = loop.create_future()

    def on_hello(channel: Channel, body: memoryview) -> None:
        if heard_hello(identity, channel.peer_id, body) != kind:
            raise WireError("it greets for another kind of connection")
        channel.admit(KINDS[kind].frame_bytes_max)
        channel.on_frame = on_frame
        finish(greeted)

    queue_bytes_max = limits.raft_queue_bytes_max if kind == "raft" else limits.call_queue_bytes_max
    channel = Channel(
        on_hello, queue_bytes_max=queue_bytes_max, unacknowledged_timeout_s=limits.unacknowledged_timeout_s
    )
    channel.on_lost = lambda _: finish(greeted)
    try:
        async with asyncio.timeout(limits.dial_timeout_s):
            await loop.create_connection(
                lambda: channel,
                host,
                port,
                ssl=identity.client_context,
                server_hostname="",  # nodes are not named by host: see cluster/tls.py
                ssl_handshake_timeout=limits.dial_timeout_s,
                ssl_shutdown_timeout=limits.stop_timeout_s,
            )
            if channel.peer_id != node_id:
                raise channel.fault or WireError(f"it is node {channel.peer_id!r}")
            channel.send(hello(identity, kind))
            await greeted
        if channel.closed.done():
            raise channel.fault or ConnectionResetError("it closed the connection before it greeted")
    except (OSError, UnicodeError, WireError, TlsMaterialRefused) as error:
        channel.abort()
        raise PeerUnreachable(f"node {node_id!r} at {address}: {explain(error)}") from None
    except BaseException:
        channel.abort()
        raise
    channel.on_lost = _nothing
    return channel


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port". Raises PeerUnreachable."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise PeerUnreachable(f"{address!r} is not an address of the form host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def explain(error: Exception) -> str:
    """What went wrong, in one bounded line for an operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one of this cluster, or not valid now ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'the connection ended').lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ConnectionError) and not str(error):
        return "it hung up"
    return " ".join((str(error) or type(error).__name__).split())[:_FAULT_CHARACTERS_MAX]


def finish(future: asyncio.Future[None]) -> None:
    """Wake who waits for it, once."""
    if not future.done():
        future.set_result(None)


def _nothing(_: Channel) -> None:
    pass
