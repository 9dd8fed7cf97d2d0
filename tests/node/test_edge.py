"""The HTTP edge over real sockets: LIST, which the parser below it does not know, in every way it can arrive."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from node.config.listeners import Listener
from node.edge import Edge
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
    """A running edge, and what its handler was given."""

    def __init__(self) -> None:
        self.seen: list[WireRequest] = []
        self.edge = Edge(Listener(type="tcp", address="127.0.0.1:0", tls_disable=True), self._handle, _OpenGate())

    async def _handle(self, wire: WireRequest) -> Response:
        self.seen.append(wire)
        return Response(200, b"{}")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to it."""
        host, port = self.edge.addresses[0]
        return await asyncio.open_connection(host, port)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.edge.start(None)
    yield made
    await made.edge.stop()


async def _status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
    return int(head.split()[1])


async def test_lines_of_several_proxies_are_one_chain(rig: Rig) -> None:
    """A proxy that adds a line of its own to X-Forwarded-For, instead of to the line there is, is understood."""
    rig.edge.listener = replace(
        rig.edge.listener,
        x_forwarded_for_authorized_addrs=(ip_network("127.0.0.0/8"),),
        x_forwarded_for_hop_skips=1,
    )
    reader, writer = await rig.connect()
    writer.write(b"GET /v1/a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\n\r\n")
    assert await _status(reader) == 200
    writer.close()
    assert [wire.client_address for wire in rig.seen] == ["192.0.2.7"]


LIST = b"LIST /v1/secret/metadata/a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_list_is_the_first_thing_on_a_connection(rig: Rig) -> None:
    """LIST reaches the handler as GET with list=true, whenever its bytes arrive after the connection was made."""
    for _ in range(20):
        reader, writer = await rig.connect()
        writer.write(LIST)
        assert await _status(reader) == 200
        writer.close()
    assert {(wire.method, wire.path, wire.query) for wire in rig.seen} == {
        ("GET", "/v1/secret/metadata/a", "list=true")
    }


async def test_list_keeps_its_query(rig: Rig) -> None:
    """The query that came with LIST stays."""
    reader, writer = await rig.connect()
    writer.write(b"LIST /v1/a?after=b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await _status(reader) == 200
    writer.close()
    assert rig.seen[0].query == "list=true&after=b"


async def test_list_arrives_in_pieces(rig: Rig) -> None:
    """A first line that comes byte by byte is one line."""
    reader, writer = await rig.connect()
    for at in range(len(LIST)):
        writer.write(LIST[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0)
    assert await _status(reader) == 200
    writer.close()
    assert rig.seen[0].query == "list=true"


async def test_list_follows_other_requests(rig: Rig) -> None:
    """On a connection that is kept, LIST may follow a request with a body, and precede any other."""
    reader, writer = await rig.connect()
    for request in (
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        LIST,
        LIST.replace(b"LIST", b"GET"),
    ):
        writer.write(request)
        assert await _status(reader) == 200
    writer.close()
    assert [(wire.method, wire.query, wire.body) for wire in rig.seen] == [
        ("PUT", "", b"{}"),
        ("GET", "list=true", b""),
        ("GET", "", b""),
    ]


async def test_a_body_that_looks_like_a_list_request_is_kept(rig: Rig) -> None:
    """A body whose second segment begins like a LIST request loses and gains no byte."""
    reader, writer = await rig.connect()
    body = b'{"text": "' + LIST + b'"}'
    writer.write(b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
    await writer.drain()
    await asyncio.sleep(0.05)  # two segments, which the test cannot see the server receive
    writer.write(body[10:])
    assert await _status(reader) == 200
    writer.close()
    assert rig.seen[0].body == body


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_no_answer_tells_versions(rig: Rig, version: bytes) -> None:
    """What runs here, and which version of it, is nobody's business before they have a token."""
    reader, writer = await rig.connect()
    writer.write(b"GET /v1/a HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/" + version + b" 200 ")
    assert b"server:" not in answer.lower()
    assert b"aiohttp" not in answer.lower()
    writer.close()


async def test_a_trusted_proxy_says_who_sends() -> None:
    """The address that rate limits, tokens and audit see is the client's, and a request that lacks it is refused."""
    rig = Rig()
    trusting = replace(rig.edge.listener, x_forwarded_for_authorized_addrs=(ip_network("127.0.0.0/8"),))
    rig.edge = Edge(trusting, rig._handle, _OpenGate())
    await rig.edge.start(None)
    reader, writer = await rig.connect()
    for header, status in ((b"X-Forwarded-For: 192.0.2.9\r\n", 200), (b"", 400)):
        writer.write(b"GET /v1/a HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
        assert await _status(reader) == status
    writer.close()
    await rig.edge.stop()
    assert [wire.client_address for wire in rig.seen] == ["192.0.2.9"]
