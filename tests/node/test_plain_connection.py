"""Connections over real sockets: plain requests, and that they and aiohttp's take turns as one connection should."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp.web_protocol import RequestHandler

from node.config.listeners import Listener
from node.edge import Edge
from node.plain_connection import PlainConnection
from node.quotas.verdict import ADMITTED, Verdict
from node.request import WireRequest
from node.response import Response


class _OpenGate:
    """Lets everything pass."""

    def before_body(self, path: str, address: str) -> Verdict:
        return ADMITTED

    async def refused(self, wire: WireRequest, verdict: Verdict) -> Response:
        raise AssertionError("nothing is refused")


class Rig:
    """A running edge whose handler waits for leave on paths that end in "wait", and says which path was asked."""

    def __init__(self, **settings: object) -> None:
        self.seen: list[str] = []
        self.leave = asyncio.Event()
        listener = Listener(type="tcp", address="127.0.0.1:0", tls_disable=True)
        self.edge = Edge(replace(listener, **settings), self._handle, _OpenGate())  # type: ignore[arg-type]

    async def _handle(self, wire: WireRequest) -> Response:
        self.seen.append(wire.path)
        if wire.path.endswith("wait"):
            await self.leave.wait()
        if wire.path.endswith("large"):
            return Response(200, b"x" * 5_000_000)
        if wire.path.endswith("away"):
            return Response(307, headers={"Location": "https://elsewhere/v1/away"})
        return Response(200, wire.path.encode())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to it."""
        host, port = self.edge.addresses[0]
        return await asyncio.open_connection(host, port)

    async def has_seen(self, count: int) -> None:
        """Wait until so many requests have come to the handler."""
        async with asyncio.timeout(30):
            while len(self.seen) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.edge.start(None)
    yield made
    made.leave.set()
    await made.edge.stop()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return head, await reader.readexactly(length)


def _get(path: str, more: bytes = b"") -> bytes:
    return b"GET /v1/" + path.encode() + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


async def test_requests_are_answered_in_their_order(rig: Rig) -> None:
    """What comes behind a plain request that is being worked on waits for its answer, whichever way it goes itself."""
    reader, writer = await rig.connect()
    writer.write(_get("first"))
    await _answer(reader)
    writer.write(_get("wait"))
    await rig.has_seen(2)
    for path, more in (("b", b""), ("c", b"Expect: 100-continue\r\n"), ("d", b"")):
        writer.write(_get(path, more))
        await writer.drain()
        await asyncio.sleep(0.02)  # a segment each, which the test cannot see the server receive
    assert rig.seen == ["/v1/first", "/v1/wait"]
    rig.leave.set()
    for path in ("wait", "b", "c", "d"):
        head, body = await _answer(reader)
        assert (head.split()[1], body) == (b"200", b"/v1/" + path.encode())
    writer.close()


async def test_many_requests_in_one_segment(rig: Rig) -> None:
    """Pipelined requests are all answered, in order, and plain ones go on afterwards."""
    reader, writer = await rig.connect()
    for _ in range(2):
        writer.write(b"".join(_get(str(number)) for number in range(50)))
        assert [(await _answer(reader))[1] for _ in range(50)] == [b"/v1/%d" % number for number in range(50)]
        writer.write(_get("plain"))
        assert (await _answer(reader))[1] == b"/v1/plain"
    writer.close()


async def test_every_split_of_a_request(rig: Rig) -> None:
    """Wherever a request is cut in two, it is one request; what follows on the connection is whole again."""
    request = b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    reader, writer = await rig.connect()
    for cut in range(1, len(request)):
        writer.write(request[:cut])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(request[cut:])
        assert (await _answer(reader))[1] == b"/v1/a"
        writer.write(_get("b"))
        assert (await _answer(reader))[1] == b"/v1/b"
    writer.close()


async def test_a_large_answer_and_one_with_headers(rig: Rig) -> None:
    """An answer that the client takes slowly arrives whole; own headers are sent."""
    reader, writer = await rig.connect()
    for _ in range(2):
        writer.write(_get("large"))
        assert len((await _answer(reader))[1]) == 5_000_000
        writer.write(_get("away"))
        head, _ = await _answer(reader)
        assert head.startswith(b"HTTP/1.1 307 ") and b"\r\nLocation: https://elsewhere/v1/away\r\n" in head
    writer.close()


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    """The idle time counts from the last answer; a request that takes longer than it is not cut off."""
    rig = Rig(http_idle_timeout_s=1)
    await rig.edge.start(None)
    reader, writer = await rig.connect()
    writer.write(_get("first"))
    await _answer(reader)
    writer.write(_get("wait"))
    await rig.has_seen(2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await reader.read(1)
    rig.leave.set()
    assert (await _answer(reader))[1] == b"/v1/wait"
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()
    await rig.edge.stop()


async def test_a_request_past_its_time_is_told_so() -> None:
    """max_request_duration ends a plain request with the documented error, and the connection lives on."""
    rig = Rig(request_duration_s_max=1)
    await rig.edge.start(None)
    reader, writer = await rig.connect()
    writer.write(_get("first"))
    await _answer(reader)
    writer.write(_get("wait"))
    head, body = await _answer(reader)
    assert head.split()[1] == b"500" and b"timed out" in body
    writer.write(_get("after"))
    assert (await _answer(reader))[1] == b"/v1/after"
    writer.close()
    await rig.edge.stop()


async def test_stopping_waits_for_what_is_worked_on() -> None:
    """An edge that stops gives the answer to a plain request first, and takes no further one."""
    rig = Rig()
    await rig.edge.start(None)
    reader, writer = await rig.connect()
    writer.write(_get("first"))
    await _answer(reader)
    writer.write(_get("wait"))
    await rig.has_seen(2)
    stopping = asyncio.create_task(rig.edge.stop())
    writer.write(_get("late"))
    await asyncio.sleep(0.1)
    assert not stopping.done()
    rig.leave.set()
    assert (await _answer(reader))[1] == b"/v1/wait"
    async with asyncio.timeout(30):
        await stopping
        assert await reader.read() == b""
    assert rig.seen == ["/v1/first", "/v1/wait"]
    writer.close()


async def test_a_client_that_leaves_disturbs_nobody(rig: Rig) -> None:
    """Its request is worked on to the end, and the edge serves the next client."""
    reader, writer = await rig.connect()
    writer.write(_get("first"))
    await _answer(reader)
    writer.write(_get("wait"))
    await rig.has_seen(2)
    writer.transport.abort()
    rig.leave.set()
    reader, writer = await rig.connect()
    writer.write(_get("next"))
    assert (await _answer(reader))[1] == b"/v1/next"
    writer.close()


def test_aiohttp_has_the_names_that_are_used() -> None:
    """A release of aiohttp that renames what a connection reaches into is noticed here, not by lost requests."""
    slots = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    used = {"_waiter", "_messages", "_close", "_force_close", "_paused", "_keepalive_timeout", "_keepalive_handle"}
    assert used | {"_request_count", "_next_keepalive_close_time", "_loop", "transport"} <= slots
    for name in ("_drain_helper", "_process_keepalive", "_pause_transport_reading", "_resume_transport_reading"):
        assert callable(getattr(PlainConnection, name))
