"""A response written in one piece: what nearly every answer is.

aiohttp builds headers anew for each response, which costs a third of a read. Here they are bytes that are put together
once per status and size class. It stands in for aiohttp's response where the connection stays open and the body is
small; anything else (HTTP/1.0, HEAD, close, large bodies) takes aiohttp's own.
"""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import HttpVersion11, web

from node.response import Response
from node.response_headers import Headers, with_headers

BODY_BYTES_MAX: Final = 32_768  # what a transport takes without asking its writer to wait


class _Date:
    """The Date header (RFC 9110, 6.6.1), put together once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._line


_DATE: Final = _Date()


@lru_cache(256)
def _head(status: int, content_type: str, standing: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{name}: {value}" for name, value in standing)]
    if status != HTTPStatus.NO_CONTENT:
        lines += [f"Content-Type: {content_type}", "Content-Length: "]
        return "\r\n".join(lines).encode()
    return ("\r\n".join(lines) + "\r\n").encode()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"  # 472, 473 and the like: the API's own


class _Quick:
    """What aiohttp's connection asks of a response, and no more."""

    __slots__ = ("_bytes", "_request", "keep_alive")

    def __init__(self, whole: bytes) -> None:
        self._bytes = whole
        self._request: web.BaseRequest | None = None
        self.keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        self._request = request

    async def write_eof(self) -> None:
        transport = self._request.transport if self._request is not None else None
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self._bytes)
        if self._request is not None and self._request.protocol.writing_paused:
            # A client that asks on without reading must not fill the memory with its answers.
            await self._request.protocol._drain_helper()


class _Whole(web.Response):
    """aiohttp's own response, without the header in which it tells its version and Python's."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)


def whole_answer(response: Response, standing: Headers) -> bytes:
    """The answer to a request that keeps the connection open, of any size, in one piece. `standing` as web_response."""
    head = b""
    if response.headers:
        lines = [f"{name}: {value}" for name, value in response.headers.items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header with a line end")
        head = "".join(f"\r\n{line}" for line in lines).encode()
        standing = tuple(with_headers(standing, response.headers).items())[: -len(lines)]
    if response.status == HTTPStatus.NO_CONTENT:
        return b"%b%b\r\n%b" % (_head(response.status, "", standing)[:-2], head, _DATE.line())
    body = response.body
    first = _head(response.status, response.content_type, standing)
    return b"%b%d%b\r\n%b%b" % (first, len(body), head, _DATE.line(), body)


def web_response(response: Response, request: web.BaseRequest | None, standing: Headers) -> web.StreamResponse:
    """The response as aiohttp takes it, with the listener's headers; aiohttp's own kind without a request."""
    body = response.body
    if (
        request is not None
        and not response.headers
        and len(body) <= BODY_BYTES_MAX
        and request.version == HttpVersion11
        and request.keep_alive
        and request.method != "HEAD"
        and response.status != HTTPStatus.NOT_MODIFIED  # which has no body, whatever its length says
    ):
        return cast(web.StreamResponse, cast(Any, _Quick(whole_answer(response, standing))))
    headers = with_headers(standing, response.headers)
    if response.status == HTTPStatus.NO_CONTENT:
        return _Whole(status=response.status, headers=headers)
    headers["Content-Type"] = response.content_type
    return _Whole(body=body, status=response.status, headers=headers)
