"""Sizes and times of a listener, and the headers it adds, over real sockets."""

import asyncio
import socket
from base64 import b64encode
from ipaddress import ip_network
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from urllib.parse import quote

import pytest

from node import edge
from node.config.listeners import ResponseHeaders
from node.request import WireRequest
from node.response import Response
from tests.certificates import Ca
from tests.node.edges import GET, listening, plain


async def test_request_size() -> None:
    """A larger body is refused, whether its length is told or not; without a limit it is taken."""

    def put(size: int) -> bytes:
        return b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size

    chunked = (
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"6\r\nabcdef\r\n" * 3 + b"0\r\n\r\n"
    )
    async with listening(plain(request_bytes_max=16)) as rig:
        for request, status in ((put(16), 200), (put(17), 413), (chunked, 413)):
            client = await rig.connect()
            client.send(request)
            assert await client.status() == status
            client.close()
    async with listening(plain(request_bytes_max=-1)) as rig:
        client = await rig.connect()
        client.send(put(100_000))
        assert await client.status() == 200
        client.close()


async def test_times() -> None:
    """Each time ends what it is for, and nothing before: head, body, idle connection, answer, whole request."""
    gone = asyncio.Event()

    async def answer(wire: WireRequest) -> Response:
        if wire.path == "/v1/slow":
            await asyncio.Event().wait()
        if wire.path == "/v1/gone":
            await gone.wait()
        return Response(200, b"{}")

    async def slow_head() -> None:
        async with listening(plain(http_read_header_timeout_s=1), answer) as rig:
            client = await rig.connect()
            client.send(GET[:20])
            assert await client.is_closed()

    async def slow_body() -> None:
        async with listening(plain(http_read_timeout_s=1), answer) as rig:
            client = await rig.connect()
            client.send(b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            assert await client.status() == 408

    async def idle(**settings: int) -> None:
        async with listening(plain(**settings), answer) as rig:
            client = await rig.connect()
            client.send()
            assert await client.status() == 200
            assert await client.is_closed()

    async def whole_request() -> None:
        async with listening(plain(request_duration_s_max=1), answer) as rig:
            client = await rig.connect()
            client.send(GET.replace(b"/a", b"/slow"))
            assert await client.status() == 500

    async def slow_answer() -> None:
        async with listening(plain(http_write_timeout_s=1), answer) as rig:
            client = await rig.connect()
            client.send(GET.replace(b"/a", b"/gone"))
            assert await client.is_closed()
            gone.set()

    await asyncio.gather(
        slow_head(),
        slow_body(),
        idle(http_idle_timeout_s=1),
        idle(http_idle_timeout_s=0, http_read_timeout_s=1),
        idle(http_idle_timeout_s=0, http_read_timeout_s=0, http_read_header_timeout_s=1),
        whole_request(),
        slow_answer(),
    )


async def test_a_client_that_does_not_read() -> None:
    """http_write_timeout cuts it off; one that reads keeps its connection beyond that time."""
    big = b"x" * 32_000

    async def answer(wire: WireRequest) -> Response:
        return Response(200, big)

    async with listening(plain(http_write_timeout_s=1), answer) as rig:
        reads = await rig.connect()
        reads.send()
        assert await reads.status() == 200
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", rig.port))
        await loop.sock_sendall(deaf, GET * 400)
        async with asyncio.timeout(20):
            while len(rig.edge.connections) > 1:
                await asyncio.sleep(0.05)
        assert len(rig.seen) < 401
        deaf.close()
        reads.send()
        assert await reads.status() == 200
        reads.close()


async def test_answers_do_not_pile_up() -> None:
    """A client that asks on without reading is not worked for until it reads: its answers would fill the memory."""
    big = b"x" * 32_000

    async def answer(wire: WireRequest) -> Response:
        return Response(200, big)

    async with listening(plain(), answer) as rig:
        client = await rig.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(GET * 2000)
        seen = -1
        while seen != len(rig.seen):
            seen = len(rig.seen)
            await asyncio.sleep(0.3)
        assert seen < 2000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(2000):
            assert await client.status() == 200
        client.close()


async def test_custom_headers() -> None:
    """By status, the most specific wins; several values are one; what frames an answer stays the server's."""
    rules = (
        ResponseHeaders("default", {"X-A": ("default",), "strict-transport-security": ("max-age=1", "preload")}),
        ResponseHeaders("2xx", {"X-A": ("group",), "X-B": ("only",)}),
        ResponseHeaders("201", {"X-A": ("one",)}),
        ResponseHeaders("400", {"X-A": ("bad",)}),
    )
    statuses = iter((200, 201, 404))

    async def answer(wire: WireRequest) -> Response:
        return Response(next(statuses), b"{}")

    async with listening(plain(custom_response_headers=rules), answer) as rig:
        client = await rig.connect()
        for status, own in ((200, "group"), (201, "one"), (404, "default")):
            client.send()
            assert await client.status() == status
            assert f"X-A: {own}" in client.headers
            assert ("X-B: only" in client.headers) == (status < 300)
            assert "strict-transport-security: max-age=1;preload" in client.headers
            assert sum(line.lower().startswith("strict-") for line in client.headers) == 1
        client.send(b"nonsense\r\n\r\n")
        assert await client.status() == 400
        assert "X-A: bad" in client.headers
        client.close()


async def test_a_proxy_passes_the_certificate_on(tmp_path: Path) -> None:
    """As common proxies encode it; from a proxy that is trusted, and nothing that is no certificate."""

    pem = Ca(tmp_path).issue("client").cert_file.read_text()
    der = PEM_cert_to_DER_cert(pem)
    for decoders, sent in (
        (("URL", "DER"), quote(pem, safe="")),
        (("BASE64",), b64encode(der).decode()),
        (("BASE64", "DER"), b64encode(pem.encode()).decode()),
    ):
        listener = plain(
            x_forwarded_for_authorized_addrs=(ip_network("127.0.0.0/8"),),
            x_forwarded_for_client_cert_header="X-Client-Cert",
            x_forwarded_for_client_cert_header_decoders=decoders,
        )
        forwarded = b"X-Forwarded-For: 192.0.2.9\r\n"
        async with listening(listener) as rig:
            seen = await rig.get(more=forwarded + f"X-Client-Cert: {sent},second\r\n".encode())
            assert (seen.client_certificate, seen.client_address) == (der, "192.0.2.9")
            assert not (await rig.get(more=forwarded)).client_certificate
            client = await rig.connect()
            client.send(GET[:-2] + forwarded + b"X-Client-Cert: AAAA\r\n\r\n")
            assert await client.status() == 400
            client.close()
    untrusting = plain(
        x_forwarded_for_authorized_addrs=(ip_network("192.0.2.0/24"),),
        x_forwarded_for_client_cert_header="X-Client-Cert",
        x_forwarded_for_client_cert_header_decoders=("BASE64",),
        x_forwarded_for_reject_not_authorized=False,
    )
    async with listening(untrusting) as rig:
        sent = f"X-Forwarded-For: 192.0.2.9\r\nX-Client-Cert: {b64encode(der).decode()}\r\n"
        seen = await rig.get(more=sent.encode())
        assert (seen.client_certificate, seen.client_address) == (b"", "127.0.0.1")


async def test_stop_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection is closed at once, what is in work is waited for, and only so long."""
    monkeypatch.setattr(edge, "STOP_TIMEOUT_S", 1.0)
    ends = asyncio.Event()

    async def answer(wire: WireRequest) -> Response:
        if wire.path == "/v1/never":
            await asyncio.Event().wait()
        if wire.path == "/v1/soon":
            await ends.wait()
        return Response(200, b"{}")

    async with listening(plain(), answer) as rig:
        idle, soon, never = [await rig.connect() for _ in range(3)]
        idle.send()
        assert await idle.status() == 200
        soon.send(GET.replace(b"/a", b"/soon"))
        never.send(GET.replace(b"/a", b"/never"))
        while len(rig.seen) < 3:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(rig.edge.stop())
        assert await idle.is_closed()
        ends.set()
        assert await soon.status() == 200
        assert "Connection: close" in soon.headers
        assert await soon.is_closed()
        assert not stopping.done()
        async with asyncio.timeout(10):
            await stopping
        assert await never.is_closed()
