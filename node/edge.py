"""The HTTP edge: from sockets to WireRequest and back. It knows HTTP and nothing of secrets.

Every bound on size and time is here: request line and headers by the parser, the body by max_request_size, the headers'
arrival by http_read_header_timeout, the body's by http_read_timeout, the whole by max_request_duration. The archives of
snapshots pass through in chunks, within bounds of their own.
"""

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, cast

from aiohttp import ClientPayloadError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError

from node.config.listeners import Listener
from node.connection import Connection, Respond, header_timeout_s
from node.errors import BadRequest, RequestTimedOut, RequestTooLarge, UploadInterrupted
from node.forwarded_for import with_client_address
from node.plain_connection import PlainConnection
from node.plain_request import PlainRequests
from node.proxy_protocol import ProxiedServer, ProxyPolicy, Sender
from node.quick_response import web_response, whole_answer
from node.quotas.verdict import Verdict
from node.request import WireRequest
from node.response import Response, of_error, refusal
from node.response_headers import Headers, ListenerHeaders, with_headers
from node.sockets import BACKLOG, bound_sockets
from node.upload import STREAMED_PATHS, Upload

logger = logging.getLogger(__name__)

Handle = Callable[[WireRequest], Awaitable[Response]]


class Gate(Protocol):
    """Who may send a request at all: asked before its body is read (CVE-2025-12044)."""

    def before_body(self, path: str, address: str) -> Verdict:
        """Judge by the raw path and the client's address alone."""

    async def refused(self, wire: WireRequest, verdict: Verdict) -> Response:
        """The answer to a request that must not go on; `wire` is without its body."""


STOP_TIMEOUT_S: Final = 10.0  # for what is being worked on when the listener stops
_BODILESS: Final = frozenset({"GET", "HEAD", "LIST"})
# For an archive of SNAPSHOT_BYTES_MAX at 20 MB/s; a peer that takes or gives nothing is cut off long before.
STREAM_S_MAX: Final = 3600.0
STREAM_STALL_S_MAX: Final = 60.0
_STREAMED: Final = frozenset(f"/v1/{path}" for path in STREAMED_PATHS)
_FORGET_EVERY: Final = 60  # sweeps: header blocks hold tokens, which should not stay here longer than they are in use
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "LIST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Server(web.Server):
    """aiohttp's server of one handler, with our connections."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        listener: Listener,
        respond: Respond,
        edge: "Edge",
    ) -> None:
        super().__init__(handler, access_log=None)
        self._listener = listener
        self._respond = respond
        self._edge = edge

    def __call__(self, sender: Sender | None = None) -> Connection:
        loop = asyncio.get_running_loop()
        return PlainConnection(
            self, self._listener, sender, self._respond, edge=self._edge, loop=loop, lingering_time=2.0, access_log=None
        )


@dataclass(slots=True)
class InFlight:
    """A request that is being worked on."""

    task: "asyncio.Task[Any]"
    deadline_s: float
    began_s: float
    method: str
    path: str
    sender: tuple[str, int]


class Edge:
    """One listener's sockets. `handle` answers; it never raises for what a request holds."""

    def __init__(self, listener: Listener, handle: Handle, gate: Gate) -> None:
        self.listener = listener
        self.headers = ListenerHeaders(listener.custom_response_headers)
        self._handle = handle
        self._gate = gate
        self._server = _Server(self._serve, listener, self._respond, self)
        self._listening: list[asyncio.Server | ProxiedServer] = []
        self._in_flight: dict[int, InFlight] = {}
        self.answers: defaultdict[int, int] = defaultdict(int)  # by status
        self._watchdog: asyncio.Task[None] | None = None
        self._finished: asyncio.Future[None] | None = None  # of what is in flight, once this stops
        size = listener.request_bytes_max
        self._body_bytes_max = size if size > 0 else 1 << 62
        self._duration_s_max = listener.request_duration_s_max or 90
        self._plain = PlainRequests(self._body_bytes_max)

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        handshake_s = header_timeout_s(self.listener) if tls is not None else None
        for sock in bound_sockets(self.listener):
            if self.listener.proxy_protocol_behavior:
                sock.listen(BACKLOG)
                policy = ProxyPolicy(self.listener)
                self._listening.append(ProxiedServer(sock, policy, self._server, tls, header_timeout_s(self.listener)))
                continue
            create = loop.create_unix_server if self.listener.is_unix else loop.create_server
            self._listening.append(
                await create(self._server, sock=sock, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=handshake_s)
            )
        self._watchdog = loop.create_task(self._watch())

    @property
    def addresses(self) -> list[Any]:
        """What is listened on."""
        return [sock.getsockname() for server in self._listening for sock in server.sockets]

    @property
    def connections(self) -> Sequence[Connection]:
        """The open ones."""
        return [cast(Connection, one) for one in self._server.connections]

    @property
    def in_flight(self) -> Mapping[int, InFlight]:
        """What is being worked on now."""
        return self._in_flight

    async def stop(self) -> None:
        """Take no more connections, close the idle ones, let what has begun end within STOP_TIMEOUT_S, close."""
        for server in self._listening:
            server.close()
        if self._listening and self.listener.is_unix:
            Path(self.listener.address).unlink(missing_ok=True)
        self._listening.clear()
        await asyncio.sleep(0)  # requests that have just arrived are worked on, and so not idle
        loop = asyncio.get_running_loop()
        until_s = loop.time() + STOP_TIMEOUT_S
        self._finished = loop.create_future()
        # aiohttp's own way would drop what is still to come of a body that has begun.
        for connection in self.connections:
            if connection.is_idle:
                connection.close()
        if self._in_flight:
            await asyncio.wait({self._finished}, timeout=STOP_TIMEOUT_S)
        self._server.pre_shutdown()
        await self._server.shutdown(max(0.1, until_s - loop.time()))
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _respond(self, response: Response, request: web.BaseRequest | None) -> web.StreamResponse:
        if self._finished is None:
            return web_response(response, request, self.headers.of(response.status))
        last = web_response(response, None, self.headers.of(response.status))
        last.force_close()
        return last

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        connection = cast(Connection, request.protocol)
        connection.begins_request()
        key = id(request)
        began_s = loop.time()
        path = request.raw_path.partition("?")[0]
        self._in_flight[key] = InFlight(
            task, began_s + self._duration_s_max, began_s, request.method, path, connection.sender
        )
        try:
            response = await self._answer(request)
            self.answers[response.status] += 1
            if response.stream is None:
                return self._respond(response, request)
            self._in_flight[key].deadline_s = loop.time() + STREAM_S_MAX
            return await _send_stream(request, response, response.stream, self.headers.of(response.status))
        except asyncio.CancelledError:
            if task.cancelling() and self._in_flight[key].deadline_s <= loop.time():
                task.uncancel()
                late = of_error(RequestTimedOut())
                self.answers[late.status] += 1
                return self._respond(late, None)
            raise
        finally:
            self._ended(key)

    def _ended(self, key: int) -> None:
        del self._in_flight[key]
        if self._finished is not None and not self._in_flight and not self._finished.done():
            self._finished.set_result(None)

    @property
    def is_stopping(self) -> bool:
        """Whether each answer is the last one of its connection."""
        return self._finished is not None

    def recognise(self, data: bytes, connection: Connection) -> WireRequest | None:
        """The plain request that these bytes are, if they are one and are to be answered by `answer_plain`."""
        if self._finished is not None:
            return None
        wire = self._plain.recognise(data, *connection.sender)
        if wire is not None:
            wire.client_certificate = connection.client_certificate
        return wire

    async def answer_plain(self, wire: WireRequest) -> bytes:
        """The whole answer to a request that has come wholly. Whether it may be sent is asked before its body is read.

        To be run in a task of its own, which is cancelled when it takes too long.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        key = id(wire)
        began_s, sender = loop.time(), (wire.client_address, wire.client_port)
        entry = InFlight(task, began_s + self._duration_s_max, began_s, wire.method, wire.path, sender)
        self._in_flight[key] = entry
        try:
            response = await self._judge_and_handle(wire)
        except asyncio.CancelledError:
            if not task.cancelling() or entry.deadline_s > loop.time():
                raise
            task.uncancel()
            response = of_error(RequestTimedOut())
        finally:
            self._ended(key)
        self.answers[response.status] += 1
        if self._finished is not None:
            response = replace(response, headers={**response.headers, "Connection": "close"})
        return whole_answer(response, self.headers.of(response.status))

    async def _judge_and_handle(self, wire: WireRequest) -> Response:
        try:
            wire, verdict = self._judged(wire)
        except BadRequest as error:
            return of_error(error)
        if verdict.refusal is not None:
            return await self._gate.refused(replace(wire, body=b""), verdict)
        return _with_headers(await self._handle(wire), verdict)

    def _judged(self, wire: WireRequest) -> tuple[WireRequest, Verdict]:
        """The request as sent by the client itself, and whether it may go on. Raises BadRequest."""
        if self.listener.x_forwarded_for_authorized_addrs:
            wire = with_client_address(self.listener, wire)
        return wire, self._gate.before_body(wire.path, wire.client_address)

    async def _answer(self, request: web.BaseRequest) -> Response:
        method = request.method
        if method not in _KNOWN_METHODS:
            return refusal(405, "unsupported method")
        path, _, query = request.raw_path.partition("?")
        expected = request.headers.get("Expect", "")
        if expected and expected.lower() != "100-continue":
            return refusal(417, "the only expectation known is 100-continue")
        connection = cast(Connection, request.protocol)
        address, port = connection.sender
        headers = {name.lower(): value for name, value in request.headers.items()}
        if len(lines := request.headers.getall("X-Forwarded-For", ())) > 1:
            headers["x-forwarded-for"] = ",".join(lines)  # each proxy may add a line of its own (RFC 9110, 5.3)
        wire = WireRequest(
            method=method,
            path=path,
            query=query.partition("#")[0],
            headers=headers,
            body=b"",
            client_address=address,
            client_port=port,
            client_certificate=connection.client_certificate,
        )
        try:
            wire, verdict = self._judged(wire)
        except BadRequest as error:
            return of_error(error)
        if verdict.refusal is not None:
            return await self._gate.refused(wire, verdict)
        if path in _STREAMED and method in ("POST", "PUT"):
            self._in_flight[id(request)].deadline_s = asyncio.get_running_loop().time() + STREAM_S_MAX
            wire.upload = Upload(self._chunks(request, is_awaited=bool(expected)))
        elif method not in _BODILESS or request.can_read_body:
            try:
                wire.body = await self._body(request, is_awaited=bool(expected))
            except RequestTooLarge as error:
                return of_error(error)
            except (PayloadEncodingError, HttpProcessingError, ClientPayloadError):
                return refusal(400, "malformed HTTP request")
            except TimeoutError:
                return refusal(408, "the request body did not arrive in time")
        return _with_headers(await self._handle(wire), verdict)

    async def _chunks(self, request: web.BaseRequest, *, is_awaited: bool) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UploadInterrupted when the client is gone or silent."""
        if is_awaited:
            _continue(request)
        try:
            while True:
                async with asyncio.timeout(self.listener.http_read_timeout_s or None):
                    chunk = await request.content.readany()
                if not chunk:
                    return
                yield chunk
        except (TimeoutError, ConnectionError, ClientPayloadError, PayloadEncodingError, HttpProcessingError):
            raise UploadInterrupted from None

    async def _body(self, request: web.BaseRequest, *, is_awaited: bool) -> bytes:
        """The body. `is_awaited`: the client sends it only once it is told to (RFC 9110, 10.1.1)."""
        length = request.content_length
        if length is not None and length > self._body_bytes_max:
            raise RequestTooLarge
        if request.content.is_eof():
            # It came with the headers, as nearly every body does: nothing to wait for.
            body = request.content.read_nowait()
            if len(body) > self._body_bytes_max:
                raise RequestTooLarge
            return body
        if is_awaited:
            _continue(request)
        chunks: list[bytes] = []
        size = 0
        async with asyncio.timeout(self.listener.http_read_timeout_s or None):
            if length is not None and length < 65_536:
                return await request.content.read()
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > self._body_bytes_max:
                    raise RequestTooLarge
                chunks.append(chunk)
        return b"".join(chunks)

    async def _watch(self) -> None:
        """One sweep a second over what is in flight costs less than a timer per request."""
        loop = asyncio.get_running_loop()
        sweeps = 0
        while True:
            await asyncio.sleep(1)
            now_s = loop.time()
            for entry in list(self._in_flight.values()):
                if entry.deadline_s <= now_s:
                    entry.task.cancel()
            sweeps += 1
            if sweeps % _FORGET_EVERY == 0:
                self._plain.forget()


def _with_headers(response: Response, verdict: Verdict) -> Response:
    return replace(response, headers={**response.headers, **verdict.headers}) if verdict.headers else response


def _continue(request: web.BaseRequest) -> None:
    if request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _send_stream(
    request: web.BaseRequest, response: Response, chunks: AsyncIterator[bytes], standing: Headers
) -> web.StreamResponse:
    """Send a body while it is made. One that cannot be completed ends without its end, so nobody takes it for whole."""
    headers = {**with_headers(standing, response.headers), "Content-Type": response.content_type}
    sent = web.StreamResponse(status=response.status, headers=headers)
    sent.enable_chunked_encoding()
    try:
        await sent.prepare(request)
        async for chunk in chunks:
            async with asyncio.timeout(STREAM_STALL_S_MAX):
                await sent.write(chunk)
        await sent.write_eof()
    except BaseException as error:
        logger.warning("a streamed answer was cut off: %s", type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
        raise
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return sent
