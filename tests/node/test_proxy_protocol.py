"""The PROXY protocol: whose address a request has, over real sockets, and every header that is none."""

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config.listeners import Listener
from node.proxy_protocol import MalformedHeader, take_header, v1_sender, v2_sender
from tests.certificates import Ca
from tests.node.edges import GET, listening, plain

HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("192.0.2.0/24"),)
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(source: str, port: int, *, command: int = 1, more: bytes = b"") -> bytes:
    packed = ip_address(source).packed
    family = 0x11 if len(packed) == 4 else 0x21
    rest = packed + packed + port.to_bytes(2) + (443).to_bytes(2) + more
    return SIGNATURE + bytes([0x20 | command, family]) + len(rest).to_bytes(2) + rest


@pytest.mark.parametrize(
    ("behavior", "authorized", "header", "sender"),
    [
        ("use_always", (), V1, ("203.0.113.7", 56324)),
        ("use_always", (), b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n", ("2001:db8::7", 1)),
        ("use_always", (), v2("203.0.113.8", 9), ("203.0.113.8", 9)),
        ("use_always", (), v2("2001:db8::8", 9, more=b"\x04\x00\x02ab"), ("2001:db8::8", 9)),
        ("use_always", (), b"PROXY UNKNOWN\r\n", None),
        ("use_always", (), b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", None),
        ("use_always", (), v2("203.0.113.8", 9, command=0), None),
        ("use_always", (), SIGNATURE + b"\x20\x00\x00\x00", None),
        ("use_always", (), b"", None),
        ("allow_authorized", HERE, V1, ("203.0.113.7", 56324)),
        ("allow_authorized", ELSEWHERE, V1, None),
        ("allow_authorized", ELSEWHERE, v2("203.0.113.8", 9), None),
        ("allow_authorized", HERE, b"", None),
        ("deny_unauthorized", HERE, V1, ("203.0.113.7", 56324)),
    ],
)
async def test_whose_address_counts(
    behavior: str, authorized: tuple[object, ...], header: bytes, sender: tuple[str, int] | None
) -> None:
    """What the header says where its sender may say so, else the connection's own address; the request is untouched."""
    settings = {"proxy_protocol_behavior": behavior, "proxy_protocol_authorized_addrs": authorized}
    async with listening(plain(**settings)) as rig:
        seen = await rig.get(before=header)
        if sender is None:
            assert seen.client_address == "127.0.0.1"
            assert seen.client_port > 0
        else:
            assert (seen.client_address, seen.client_port) == sender


async def test_nobody_else_is_let_in() -> None:
    """With deny_unauthorized, who is not listed is cut off, with a header and without."""
    listener = plain(proxy_protocol_behavior="deny_unauthorized", proxy_protocol_authorized_addrs=ELSEWHERE)
    async with listening(listener) as rig:
        for before in (V1, b""):
            client = await rig.connect()
            client.send(before + GET)
            assert await client.is_closed()
        assert not rig.seen


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 203.0.113.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 +1 443\r\n",
        b"PROXY UDP4 203.0.113.7 198.51.100.1 1 443\r\n",
        b"PROXY \xff\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x41\x00\x00",
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
async def test_what_is_no_header_ends_the_connection(header: bytes) -> None:
    """A header that cannot be read is not guessed at: its sender would be somebody else."""
    async with listening(plain(proxy_protocol_behavior="use_always")) as rig:
        client = await rig.connect()
        client.send(header + GET)
        assert await client.is_closed()
        assert not rig.seen


@pytest.mark.parametrize("header", [b"PROXY nonsense\r\n", SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12)])
async def test_cve_2024_6468_a_wrong_header_closes_no_listener(header: bytes) -> None:
    """It ends its own connection; the next one is served."""
    async with listening(plain(proxy_protocol_behavior="use_always")) as rig:
        wrong, right = await rig.connect(), await rig.connect()
        wrong.send(header + GET)
        assert await wrong.is_closed()
        right.send(V1 + GET)
        assert await right.status() == 200
        right.close()


async def test_a_header_in_pieces_in_front_of_tls(ca: Ca) -> None:
    """The header may come byte by byte, and TLS begins right after it."""
    served = ca.issue("server")
    files = {"tls_cert_file": str(served.cert_file), "tls_key_file": str(served.key_file)}
    listener = replace(plain(proxy_protocol_behavior="use_always", **files), tls_disable=False)
    async with listening(listener) as rig:
        for header, address in ((V1, "203.0.113.7"), (v2("203.0.113.8", 1), "203.0.113.8"), (b"", "127.0.0.1")):
            client = await rig.connect()
            for at in range(len(header)):
                client.send(header[at : at + 1])
                await client.writer.drain()
                await asyncio.sleep(0)
            await client.writer.start_tls(ca.client_context(), server_hostname="localhost")
            client.send()
            assert await client.status() == 200
            assert rig.seen[-1].client_address == address
            client.close()


async def test_a_header_must_come_in_time() -> None:
    """Who connects and says nothing, or not all, holds a connection only as long as a head may take."""
    async with listening(plain(proxy_protocol_behavior="use_always", http_read_header_timeout_s=1)) as rig:
        clients = [await rig.connect() for _ in range(3)]
        for client, start in zip(clients, (b"", V1[:20], SIGNATURE + b"\x21"), strict=True):
            client.send(start)
        assert all(await asyncio.gather(*(client.is_closed() for client in clients)))


@given(st.binary(max_size=64))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    """Whatever stands in a header, it is a sender, nobody, or malformed."""
    for is_first in (True, False):
        try:
            sender = v1_sender(b"PROXY " + data) if is_first else v2_sender((SIGNATURE + data + bytes(4))[:16], data)
        except MalformedHeader:
            continue
        assert sender is None or (str(ip_address(sender[0])) == sender[0] and 0 <= sender[1] <= 65535)


async def test_a_peer_that_goes_away() -> None:
    """The end of the connection within a header is the end of waiting for it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(V1[:10])
    theirs.close()
    with pytest.raises(ConnectionError):
        await take_header(ours)
    ours.close()


@pytest.fixture
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("tls"))


def test_the_listener_without_it() -> None:
    """Off is the default: the header is then a malformed request."""
    assert Listener(type="tcp").proxy_protocol_behavior == ""
