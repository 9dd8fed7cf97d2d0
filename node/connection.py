"""One HTTP connection, which understands the API's LIST method beside those of HTTP.

The parser under aiohttp knows only the registered methods, and LIST is none. Where a request begins, its first line is
rewritten to the documented equivalent, GET with list=true. Bytes are handed on in pieces that end where a LIST might
begin, so it is the parser itself that says whether a request began there: the one before was parsed to its end with
exactly the last byte, or where its own length says. Nothing is guessed from what bytes look like; a body may hold any
text.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from node.config.listeners import Listener
from node.proxy_protocol import Sender
from node.response import Response, refusal

logger = logging.getLogger(__name__)

_LINE_BYTES_MAX: Final = 8190  # aiohttp's own bound of a first line
# In one packet. Each costs microseconds; a chunked body may hold any number of them.
_CANDIDATES_MAX: Final = 1000
_LIST: Final = b"LIST "
_LIST_LINE: Final = re.compile(rb"LIST ([^ ?#\r\n]+)(?:\?([^ #\r\n]*))? (HTTP/1\.[01]\r\n)")
_L: Final = _LIST[0]
_CANDIDATE: Final = re.compile(rb"LIST |LIST\Z|LIS\Z|LI\Z|L\Z")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", re.IGNORECASE)
_BLANK_LINE: Final = b"\r\n\r\n"
_LINE_ENDS: Final = b"\r\n"


Respond = Callable[[Response, web.BaseRequest | None], web.StreamResponse]


class _Piece(Enum):
    """What is known of a piece before the parser sees it."""

    WITHIN = auto()  # it ends within something
    BLANK_LINE = auto()  # it ends with a blank line, as each head does
    SIZED = auto()  # with it ends the one request that it, or it and the pieces before it, are by their length
    BYTE = auto()  # a single byte
    LINE_END = auto()  # a single byte that ends a line


class Connection(RequestHandler):
    """aiohttp's connection, which answers in this API's words, keeps the listener's times and understands LIST.

    `sender` is whom the requests come from: the other end, or whom a proxy has named. `client_certificate` is what the
    client has proved to hold, DER; empty without one.
    """

    __slots__ = (
        "_begins",
        "_body_left",
        "_had_begun",
        "_header_timeout_s",
        "_header_timer",
        "_last_body",
        "_piece",
        "_requests_before",
        "_respond",
        "_rest",
        "_was_complete",
        "_write_timeout_s",
        "_write_timer",
        "client_certificate",
        "sender",
    )

    def __init__(
        self, server: web.Server, listener: Listener, sender: Sender | None, respond: Respond, **kwargs: Any
    ) -> None:
        idle_s = listener.http_idle_timeout_s or listener.http_read_timeout_s or listener.http_read_header_timeout_s
        super().__init__(server, keepalive_timeout=idle_s or 300, auto_decompress=False, **kwargs)
        self.sender = sender or ("", 0)
        self.client_certificate = b""
        self._respond = respond
        self._header_timeout_s = header_timeout_s(listener)
        self._write_timeout_s = listener.http_write_timeout_s
        self._write_timer: asyncio.TimerHandle | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._rest = b""  # what the parser was not handed yet: a first line that may be a LIST, or more than it takes
        self._begins = True  # the next byte for the parser is the first of a request
        self._body_left = 0  # bytes that the request with a length lacks, which the parser was handed a part of
        self._last_body: StreamReader | None = None  # of the request parsed last
        # The last piece that the parser was handed, and how things stood before it.
        self._piece: _Piece | None = None
        self._requests_before = 0
        self._was_complete = True
        self._had_begun = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        if not self.sender[0] and isinstance(name, tuple):
            self.sender = (name[0], name[1])
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.client_certificate = tls.getpeercert(binary_form=True) or b""
        self._expect_headers()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._headers_came()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Also called by aiohttp without data, once the parser takes more again."""
        parsed = self._request_count
        if not data:
            self._feed(b"")
        rest, at, candidates = self._rest + data, 0, 0
        while at < len(rest) and not self._is_full:
            if self._begins and rest[at] == _L:
                line = _LIST_LINE.match(rest, at)
                if line is not None:
                    self._hand_on(_as_get(line), _Piece.WITHIN)
                    at = line.end()
                    continue
                if _may_become_list(rest, at):
                    break
            size = self._body_left or (_request_size(rest, at) if self._begins else 0)
            if size:
                end = min(at + size, len(rest))
                self._body_left = at + size - end
                piece = _Piece.WITHIN if self._body_left else _Piece.SIZED
            else:
                candidates += 1
                end, piece = _piece(rest, at, is_looked_into=candidates <= _CANDIDATES_MAX)
            self._hand_on(rest[at:end], piece)
            at = end
        self._rest = rest[at:]
        if self._request_count > parsed:
            self._headers_came()
        if self._is_complete and not self._is_full and (self._rest or not self._begins):
            self._expect_headers()

    @property
    def _is_full(self) -> bool:
        """Whether the parser takes no more now. It keeps what it is given then, and aiohttp calls when it goes on."""
        return self._reading_paused or len(self._messages) >= self._max_msg_queue_size

    @property
    def _is_complete(self) -> bool:
        """Whether the request parsed last has its whole body."""
        return self._last_body is None or self._last_body.is_eof()

    def _hand_on(self, data: bytes, piece: _Piece) -> None:
        self._piece = piece
        self._requests_before, self._was_complete = self._request_count, self._is_complete
        self._had_begun = self._begins
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        count = self._request_count
        super().data_received(data)
        if self._request_count > count and self._messages:
            self._last_body = self._messages[-1][1]
        self._begins = self._has_ended()

    def _has_ended(self) -> bool:
        """Whether a request ended exactly with the last piece, as far as it has been parsed."""
        match self._piece:
            case None:
                return True
            case _Piece.WITHIN:
                return False
            case _Piece.BLANK_LINE:
                return self._is_complete  # what comes before ended here: nothing can have begun behind it
            case _Piece.LINE_END if self._had_begun:
                return True  # blank lines ahead of a request belong to none
        return self._is_complete and (self._request_count > self._requests_before or not self._was_complete)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being worked on."""
        return not self._request_in_progress and not self._messages

    def begins_request(self) -> None:
        """From the head of a request on, http_write_timeout runs until its answer is on its way."""
        if not self._write_timeout_s:
            return
        if self._write_timer is not None:
            self._write_timer.cancel()
        loop = asyncio.get_running_loop()
        self._write_timer = loop.call_later(self._write_timeout_s, self._write_is_late)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp could not parse, in the documented error body; its own text would repeat the request."""
        text = "malformed HTTP request" if status < 500 else "internal error"
        if status >= 500 and not isinstance(exc, ConnectionError):  # the client hung up within its body
            logger.error("the HTTP edge failed: %s", type(exc).__name__)
        response = self._respond(refusal(status, text), None)
        response.force_close()
        return response

    def _expect_headers(self) -> None:
        if self._header_timer is not None:
            return
        self._header_timer = asyncio.get_running_loop().call_later(self._header_timeout_s, self._headers_are_late)

    def _headers_came(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_are_late(self) -> None:
        self._header_timer = None
        self.force_close()

    def _write_is_late(self) -> None:
        self._write_timer = None
        transport = self.transport
        if transport is not None and (self._request_in_progress or transport.get_write_buffer_size()):
            transport.abort()


def header_timeout_s(listener: Listener) -> int:
    """How long a connection may take to say what it wants."""
    return listener.http_read_header_timeout_s or 10


def _may_become_list(rest: bytes, at: int) -> bool:
    """Whether the rest may be the beginning of a LIST line that has not arrived completely."""
    line = rest[at : at + _LINE_BYTES_MAX + 1]
    return len(line) <= _LINE_BYTES_MAX and b"\n" not in line and (line.startswith(_LIST) or _LIST.startswith(line))


def _request_size(rest: bytes, at: int) -> int:
    """The size of the request that begins here, if its head is here and tells its length; or 0.

    The parser refuses a second length and one beside chunks, so it sees the same size or no request.
    """
    head_end = rest.find(_BLANK_LINE, at) + len(_BLANK_LINE)
    length = _LENGTH.search(rest, at, head_end)
    return 0 if length is None else head_end + int(length[1]) - at


def _piece(rest: bytes, at: int, *, is_looked_into: bool) -> tuple[int, _Piece]:
    """Where the next piece ends: before whatever looks like a LIST, and so that what ends with it can be told."""
    found = _CANDIDATE.search(rest, at + 1) if is_looked_into else None
    end = len(rest) if found is None else found.start()
    if end - at == 1:
        return end, _piece_of_one(rest[at])
    if rest.endswith(_BLANK_LINE, at, end):
        return end, _Piece.BLANK_LINE
    # All but the last byte, which then comes alone. Blank lines may follow a request, so line ends come alone too.
    ends_from = max(at, end - len(_BLANK_LINE))
    last = ends_from + len(rest[ends_from:end].rstrip(_LINE_ENDS))
    end = max(at + 1, last - 1)
    return end, _piece_of_one(rest[at]) if end - at == 1 else _Piece.WITHIN


def _piece_of_one(byte: int) -> _Piece:
    return _Piece.LINE_END if byte in _LINE_ENDS else _Piece.BYTE


def _as_get(line: re.Match[bytes]) -> bytes:
    path, query, version = line.groups()
    return b"GET " + path + b"?list=true" + (b"&" + query if query else b"") + b" " + version
