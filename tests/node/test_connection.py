"""LIST beside other requests in one packet, on raw sockets: the parser tells requests apart, not their looks."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from node.edge import Edge
from node.request import WireRequest
from tests.node.test_edge import LIST, Rig

GET = b"GET /v1/g HTTP/1.1\r\nHost: x\r\n\r\n"
LOOKS_LIKE = (
    b"LIST /v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"LIST ",
    b"L",
    b"LIST /v1/x",
    b"\r\n\r\nLIST /v1/y HTTP/1.1\r\n",
)


@dataclass(frozen=True)
class Sent:
    """The bytes of a request, and what the handler must be given of it."""

    raw: bytes
    method: str
    path: str
    query: str = ""
    body: bytes = b""

    def is_like(self, wire: WireRequest) -> bool:
        return (wire.method, wire.path, wire.query, wire.body) == (self.method, self.path, self.query, self.body)


def listing(path: str, query: str = "") -> Sent:
    target = f"{path}?{query}" if query else path
    raw = f"LIST {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    return Sent(raw, "GET", path, f"list=true&{query}" if query else "list=true")


def reading(path: str) -> Sent:
    return Sent(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-L: LIST /v1/x\r\n\r\n".encode(), "GET", path)


def writing(path: str, body: bytes) -> Sent:
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return Sent(head.encode() + body, "PUT", path, body=body)


def chunked(path: str, body: bytes) -> Sent:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))
    return Sent(head.encode() + chunks + b"0\r\n\r\n", "POST", path, body=body)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.edge.start(None)
    yield made
    await made.edge.stop()


async def answers(reader: asyncio.StreamReader, count: int) -> list[int]:
    """The statuses of the next answers."""
    found = []
    async with asyncio.timeout(20):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(length)
            found.append(int(head.split()[1]))
    return found


async def exchange(rig: Rig, requests: list[Sent], packets: list[bytes]) -> None:
    """Every request is answered, and reached the handler as it was meant, in order."""
    rig.seen.clear()
    reader, writer = await rig.connect()
    waiting = asyncio.get_running_loop().create_task(answers(reader, len(requests)))
    for packet in packets:
        writer.write(packet)
        await writer.drain()
        for _ in range(3):
            await asyncio.sleep(0)  # the server, on this loop, reads it as it is
    assert await waiting == [200] * len(requests)
    writer.close()
    assert len(rig.seen) == len(requests)
    for sent, wire in zip(requests, rig.seen, strict=True):
        assert sent.is_like(wire), (sent, wire)


@pytest.mark.parametrize(
    "requests",
    [
        [reading("/v1/a"), listing("/v1/b")],
        [listing("/v1/a"), listing("/v1/b", "after=c")],
        [writing("/v1/a", b'{"a": 1}'), listing("/v1/b")],
        [writing("/v1/a", b"L"), listing("/v1/b"), writing("/v1/c", b"LIST"), listing("/v1/LIST")],
        [writing("/v1/a", LIST), listing("/v1/b"), reading("/v1/c"), listing("/v1/d")],
        [chunked("/v1/a", LIST + b"LIST "), listing("/v1/b"), chunked("/v1/c", b"x"), listing("/v1/d")],
        [writing("/v1/a", b"\r\n\r\n"), listing("/v1/b"), writing("/v1/c", b"LIST \r\n"), listing("/v1/d")],
    ],
)
async def test_list_behind_another_request_in_one_packet(rig: Rig, requests: list[Sent]) -> None:
    """All of it in one write, cut in two at every byte, and byte by byte: the same requests."""
    raw = b"".join(sent.raw for sent in requests)
    await exchange(rig, requests, [raw])
    await exchange(rig, requests, [raw[at : at + 1] for at in range(len(raw))])
    for at in range(1, len(raw)):
        await exchange(rig, requests, [raw[:at], raw[at:]])


async def test_many_lists_in_one_packet(rig: Rig) -> None:
    """More than the parser queues: what it does not take at once is not lost, and not read otherwise."""
    requests = [[listing(f"/v1/l{n}"), reading(f"/v1/g{n}"), writing(f"/v1/w{n}", LIST)][n % 3] for n in range(150)]
    await exchange(rig, requests, [b"".join(sent.raw for sent in requests)])


async def test_blank_lines_between_requests(rig: Rig) -> None:
    """Blank lines ahead of a request belong to none (RFC 9112, 2.2)."""
    requests = [writing("/v1/a", b"{}"), listing("/v1/b"), listing("/v1/c")]
    raw = b"\r\n".join(sent.raw for sent in requests)
    for at in range(1, len(raw)):
        await exchange(rig, requests, [raw[:at], raw[at:]])


async def test_a_large_body_is_followed_by_a_list(rig: Rig) -> None:
    """A body that makes the server stop reading for a while, full of what looks like requests."""
    body = b"".join(random.Random(1).choices(LOOKS_LIKE, k=30_000))
    requests = [writing("/v1/a", body), listing("/v1/b"), chunked("/v1/c", body[:5_000]), listing("/v1/d")]
    await exchange(rig, requests, [b"".join(sent.raw for sent in requests)])


async def test_what_looks_like_a_list_costs_little(rig: Rig) -> None:
    """A megabyte of it, with a length or in chunks, is taken in a moment, byte for byte."""
    body = b"LIST " * 200_000
    for sent in (writing("/v1/a", body), chunked("/v1/b", body)):
        began = asyncio.get_running_loop().time()
        await exchange(rig, [sent], [sent.raw])
        assert asyncio.get_running_loop().time() - began < 10


async def test_requests_cut_at_random(rig: Rig) -> None:
    """Whatever is sent and wherever the packets end, the handler is given what was meant."""
    for seed in range(150):
        rng = random.Random(seed)
        make = (
            lambda n: listing(f"/v1/l{n}", rng.choice(("", "a=LIST", "x=1&y=2"))),  # noqa: B023
            lambda n: reading(f"/v1/LIST{n}"),
            lambda n: writing(f"/v1/w{n}", b"".join(rng.choices(LOOKS_LIKE, k=rng.randrange(4)))),  # noqa: B023
            lambda n: chunked(f"/v1/c{n}", b"".join(rng.choices(LOOKS_LIKE, k=rng.randrange(4)))),  # noqa: B023
        )
        requests = [rng.choice(make)(n) for n in range(rng.randrange(1, 9))]
        raw = b"".join(sent.raw for sent in requests)
        cuts = sorted({0, len(raw), *(rng.randrange(len(raw)) for _ in range(rng.randrange(12)))})
        await exchange(rig, requests, [raw[a:b] for a, b in pairwise(cuts)])


async def test_what_is_no_list_is_refused(rig: Rig) -> None:
    """A first line that only begins like a LIST is malformed, alone and behind another request."""
    for line in (
        b"LIST  /v1/a HTTP/1.1\r\n",
        b"LIST /v1/a HTTP/2.0\r\n",
        b"LIST /v1/a\r\n",
        b"LISTEN /v1/a HTTP/1.1\r\n",
    ):
        for before in (b"", GET):
            reader, writer = await rig.connect()
            writer.write(before + line + b"Host: x\r\n\r\n")
            async with asyncio.timeout(10):
                answered = await reader.read()
            assert b" 400 Bad Request" in answered, (line, answered)
            writer.close()


async def test_a_list_line_that_never_ends_is_given_up() -> None:
    """Half a LIST line is half a head: it has as long as any head, whatever was sent before it."""
    rig = Rig()
    rig.edge = Edge(replace(rig.edge.listener, http_read_header_timeout_s=1), rig._handle, rig.edge._gate)
    await rig.edge.start(None)
    try:
        for before in (b"", GET, GET[:-2]):
            reader, writer = await rig.connect()
            writer.write(before + b"LIST /v1/a")
            async with asyncio.timeout(20):
                answered = await reader.read()
            assert answered.count(b"HTTP/1.1 ") == (before == GET), answered
            writer.close()
    finally:
        await rig.edge.stop()
