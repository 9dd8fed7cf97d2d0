"""What is taken for a plain request, and that aiohttp's parser would have read it just so."""

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from node.plain_request import REMEMBERED_MAX, PlainRequests

HEAD = b"Host: x\r\nX-Vault-Token: hvs.a\r\n"


def test_a_plain_request_is_taken_whole() -> None:
    """Method, path, query, headers in small letters, body and sender come out as they were sent."""
    data = b"POST /v1/secret/data/a%20b?x=1&y=%2F HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}"
    wire = PlainRequests(100).recognise(data, "192.0.2.1", 7)
    assert wire is not None
    assert (wire.method, wire.path, wire.query, wire.body) == ("POST", "/v1/secret/data/a%20b", "x=1&y=%2F", b"{}")
    assert wire.headers == {"host": "x", "x-vault-token": "hvs.a", "content-length": "2"}
    assert (wire.client_address, wire.client_port) == ("192.0.2.1", 7)


def test_list_is_the_documented_get() -> None:
    """LIST becomes GET with list=true, in front of what its query says."""
    plain = PlainRequests(100)
    for query, expected in ((b"", "list=true"), (b"?after=b", "list=true&after=b")):
        wire = plain.recognise(b"LIST /v1/a" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n", "", 0)
        assert wire is not None and (wire.method, wire.query) == ("GET", expected)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/a HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\nGET",
        b"GET  /v1/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ui/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/v1/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /v1/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS /v1/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/a HTTP/1.1\nHost: x\n\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\n\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\nX-A: \x01\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\nX-A: \xc3\xa4\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{} ",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + b" " * 101,
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
        b"GET /v1/a HTTP/1.1\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
        b"\r\n",
    ],
)
def test_the_unusual_goes_the_other_way(data: bytes) -> None:
    """Whatever is incomplete, unusual or over a bound is left to the parser that knows all of HTTP."""
    assert PlainRequests(100).recognise(data, "", 0) is None


def test_remembered_headers_are_bounded_and_forgotten() -> None:
    """A client that changes its headers each time fills no memory, and `forget` leaves nothing."""
    plain = PlainRequests(100)
    for number in range(3 * REMEMBERED_MAX):
        assert plain.recognise(b"GET /v1/a HTTP/1.1\r\nHost: %d\r\n\r\n" % number, "", 0) is not None
        assert len(plain._blocks) <= REMEMBERED_MAX
    plain.forget()
    assert not plain._blocks


_ANYTHING = st.sampled_from(
    (
        *(b"GET", b"PUT", b"LIST", b" ", b"  ", b"/v1/", b"a", b"%2F", b"?", b"b=c", b":", b"{}"),
        *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n", b"\n", b"\r", b"\t", b"\0", b"\xc3\xa4"),
        *(b"Host: x\r\n", b"Content-Length: 2\r\n", b"GET /v1/a HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"),
    )
)
_METHODS = st.sampled_from((b"GET", b"LIST", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"get"))
_TARGETS = st.text(alphabet="ab/%2F?=&~!$'()*+,;:@._-[]{}|^\"<>\\#", max_size=12).map(str.encode)
_HEADERS = st.sampled_from(
    (
        *(
            b"Content-Length: 2",
            b"Content-Length: 02",
            b"Content-Length: ",
            b"content-length:0",
            b"Content-Length: 2 2",
        ),
        *(b"Connection: keep-alive", b"Connection: Keep-Alive", b"Connection: close", b"Connection: keep-alive, te"),
        *(b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: h2c", b"Te: trailers", b"Trailer: X-A"),
        *(b"X-A:  b \t", b"X-A: b", b"X-Empty:", b'X-Quoted: "a,b;c"', b"a`|~^_!#$%&'*+.-: y", b"X A: b", b"\tX-A: b"),
        *(b"Keep-Alive: x", b"Proxy-Connection: close", b"Content-Encoding: gzip", b"Sec-WebSocket-Key: a"),
    )
)
_ALMOST_PLAIN = st.builds(
    lambda method, target, headers, body: b"\r\n".join(
        (method + b" /v1/" + target + b" HTTP/1.1", b"Host: x", *headers, b"", body)
    ),
    *(_METHODS, _TARGETS, st.lists(_HEADERS, max_size=4), st.sampled_from((b"", b"{}"))),
)


@settings(max_examples=500)
@given(st.lists(_ANYTHING, max_size=12).map(b"".join) | _ALMOST_PLAIN)
def test_what_is_taken_is_read_as_aiohttp_reads_it(data: bytes) -> None:
    """aiohttp's parser finds the same single request in the same bytes, complete, and would keep the connection."""
    wire = PlainRequests(100).recognise(data, "", 0)
    if wire is None:
        return
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
        was_list = data.startswith(b"LIST")
        [(message, body)], _, rest = parser.feed_data(b"GET" + data[4:] if was_list else data)
        assert body.is_eof() and not rest and not message.should_close
        path, _, query = message.path.partition("?")
        asked = "list=true" + (f"&{query}" if query else "") if was_list else query
        assert (wire.method, wire.path, wire.query) == (message.method, path, asked)
        assert wire.headers == {name.lower(): value for name, value in message.headers.items()}
        assert wire.body == body.read_nowait()
    finally:
        loop.close()
