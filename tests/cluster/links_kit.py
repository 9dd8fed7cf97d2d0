"""Real links on loopback for the tests of the network between nodes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from cluster.dialling import Identity, hello
from cluster.link_limits import LinkLimits
from cluster.links import TlsLinks
from cluster.tls import Authority, TlsMaterial, client_context, cluster_id_of, issue, server_context
from cluster.wire import pack


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until the condition holds; fail when it does not within the bound."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


class Node:
    """A TlsLinks on a free port that remembers what happened to it."""

    def __init__(self, authority: Authority, node_id: str, limits: LinkLimits | None = None) -> None:
        self.node_id = node_id
        self.links = TlsLinks(node_id, issue(authority, node_id), limits)
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.events: list[str] = []
        self.links.on_message = lambda peer, message: self.messages.append((peer, message))
        self.links.on_connected = lambda peer: self.events.append(f"+{peer}")
        self.links.on_disconnected = lambda peer: self.events.append(f"-{peer}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.links.bound_port}"

    async def knows(self, *others: "Node") -> None:
        """Make the others its peers and wait for the links."""
        self.links.set_peers({other.node_id: other.address for other in others})
        await until(lambda: all(self.links.connected(other.node_id) for other in others))


@contextlib.asynccontextmanager
async def nodes(authority: Authority, *node_ids: str, limits: LinkLimits | None = None) -> AsyncIterator[list[Node]]:
    """Listening nodes that do not know each other yet; at the end they leave no task behind."""
    before = asyncio.all_tasks()
    made = [Node(authority, node_id, limits) for node_id in node_ids]
    try:
        for node in made:
            await node.links.start("127.0.0.1", 0)
        yield made
    finally:
        for node in made:
            await node.links.stop()
    await until(lambda: asyncio.all_tasks() <= before)


def identity(material: TlsMaterial, node_id: str) -> Identity:
    """A node's identity, for peers that a test plays by hand."""
    return Identity(node_id, cluster_id_of(material.ca_pem), client_context(material), server_context(material))


async def raw_client(port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that says nothing by itself."""
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="" if context else None, limit=1 << 16
    )


async def greeted_client(
    port: int, material: TlsMaterial, node_id: str, kind: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection past its hello, played by hand."""
    reader, writer = await raw_client(port, client_context(material))
    writer.write(hello(identity(material, node_id), kind))
    size = int.from_bytes(await reader.readexactly(4), "big")
    await reader.readexactly(size)
    return reader, writer


async def closed(reader: asyncio.StreamReader, within_s: float = 10.0) -> bool:
    """Whether the other end closes the connection."""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                pass
    return True


@contextlib.asynccontextmanager
async def deaf_peer(material: TlsMaterial, node_id: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A peer that greets and then never reads again: its address, and how to kill its connections."""
    transports: list[asyncio.WriteTransport] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        body = await reader.readexactly(size)
        kind = "call" if b"call" in body else "raft"
        writer.write(hello(identity(material, node_id), kind))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        transports.append(writer.transport)

    def kill() -> None:
        for transport in transports:
            transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(material), limit=1024)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", kill
    finally:
        kill()
        server.close()
        await server.wait_closed()


def timeout_now(term: int) -> dict[str, Any]:
    """The smallest Raft message, numbered."""
    return {"type": "timeout_now", "term": term}


def chunk(offset: int, size: int) -> dict[str, Any]:
    """A large Raft message, numbered."""
    return {
        "type": "snapshot_chunk",
        "term": 1,
        "snapshot_id": "s",
        "offset": offset,
        "data": b"\xab" * size,
        "last": False,
        "index": 1,
        "snapshot_term": 1,
    }


def frame(message: dict[str, Any]) -> bytes:
    """A frame that says what no node would."""
    return pack(message, 1 << 30)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
