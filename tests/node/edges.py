"""A listener on its own: real sockets, and a handler that notes what it was given."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from node.config.listeners import Listener
from node.edge import Edge
from node.listener_tls import ListenerTls, listener_tls
from node.quotas.verdict import ADMITTED, Verdict
from node.request import WireRequest
from node.response import Response

GET = b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n"


class OpenGate:
    """Lets everything pass."""

    def before_body(self, path: str, address: str) -> Verdict:
        return ADMITTED

    async def refused(self, wire: WireRequest, verdict: Verdict) -> Response:
        raise AssertionError("nothing is refused")


class Listens:
    """A running edge, and what its handler was given."""

    def __init__(self, listener: Listener, answer: Callable[[WireRequest], Awaitable[Response]] | None = None) -> None:
        self.seen: list[WireRequest] = []
        self.tls: ListenerTls | None = listener_tls(listener, lambda prompt: "opened")
        self._answer = answer
        self.edge = Edge(listener, self._handle, OpenGate())

    async def _handle(self, wire: WireRequest) -> Response:
        self.seen.append(wire)
        return Response(200, b"{}") if self._answer is None else await self._answer(wire)

    @property
    def port(self) -> int:
        return int(self.edge.addresses[0][1])

    async def connect(self, tls: ssl.SSLContext | None = None) -> "Client":
        """A new connection to it."""
        if self.edge.listener.is_unix:
            return Client(*await asyncio.open_unix_connection(self.edge.listener.address))
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))

    async def get(self, tls: ssl.SSLContext | None = None, *, before: bytes = b"", more: bytes = b"") -> WireRequest:
        """One request over a connection of its own: what the handler saw of it."""
        client = await self.connect(tls)
        client.send(before + GET[:-2] + more + b"\r\n")
        assert await client.status() == 200
        client.close()
        return self.seen[-1]


class Client:
    """The other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.headers: list[str] = []

    def send(self, data: bytes = GET) -> None:
        self.writer.write(data)

    async def status(self) -> int:
        """The status of the next answer; its headers are kept, its body is read."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            self.headers = head.split("\r\n")[1:]
            length = next((int(h[15:]) for h in self.headers if h.lower().startswith("content-length:")), 0)
            await self.reader.readexactly(length)
        return int(head.split()[1])

    async def is_closed(self) -> bool:
        """Waits until the server has ended the connection; false if it says something first."""
        async with asyncio.timeout(20):
            try:
                return not await self.reader.read(1)
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def listening(
    listener: Listener, answer: Callable[[WireRequest], Awaitable[Response]] | None = None
) -> AsyncIterator[Listens]:
    """The listener at work; stopped afterwards."""
    made = Listens(listener, answer)
    await made.edge.start(None if made.tls is None else made.tls.context)
    try:
        yield made
    finally:
        await made.edge.stop()


def plain(**settings: object) -> Listener:
    """A listener without TLS on a free port."""
    return Listener(type="tcp", address="127.0.0.1:0", tls_disable=True, **settings)  # type: ignore[arg-type]
