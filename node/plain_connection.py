"""A connection that answers plain requests itself; whatever else comes on it goes aiohttp's way."""

import asyncio
import logging
from typing import Any, Protocol

from node.connection import Connection
from node.request import WireRequest

logger = logging.getLogger(__name__)


class Answering(Protocol):
    """The edge, as its connections see it."""

    @property
    def is_stopping(self) -> bool:
        """Whether each answer is the last one of its connection."""

    def recognise(self, data: bytes, connection: Connection) -> WireRequest | None:
        """The plain request that these bytes are, if they are one."""

    async def answer_plain(self, wire: WireRequest) -> bytes:
        """The whole answer to it. Never raises for what it holds."""


class PlainConnection(Connection):
    """A plain request (node/plain_request.py) that arrives while aiohttp waits for one is answered here.

    aiohttp never hears of it; what follows it waits until it is answered.
    """

    __slots__ = ("_edge", "_next", "_task")

    def __init__(self, *args: Any, edge: Answering, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge = edge
        self._task: asyncio.Task[None] | None = None  # answers a plain request
        self._next: list[bytes] = []  # what came meanwhile

    def data_received(self, data: bytes) -> None:
        """Also called by aiohttp without data, once the parser takes more again."""
        if self._task is not None:
            self._wait_with(data)
            return
        if data and self._waits:
            plain = self._edge.recognise(data, self)
            if plain is not None:
                self._headers_came()
                self.begins_request()
                self._task = self._loop.create_task(self._answer_plain(plain))
                return
        super().data_received(data)

    @property
    def _waits(self) -> bool:
        """Whether aiohttp waits for a request, and the next byte is the first of one."""
        if self._waiter is None or self._waiter.done() or self._close or self._force_close:
            return False
        return self._begins and not self._rest and not self._messages and self._is_complete

    @property
    def is_idle(self) -> bool:
        """Whether no request is being worked on."""
        return self._task is None and super().is_idle

    async def _answer_plain(self, plain: WireRequest) -> None:
        try:
            answer = await self._edge.answer_plain(plain)
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(answer)
                if self._paused:
                    await self._drain_helper()
        except ConnectionError:
            pass  # the client is gone, and did not take all of the answer
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                logger.error("the HTTP edge failed: %s", type(error).__name__)
            self.force_close()
        finally:
            self._plain_is_answered()

    def _plain_is_answered(self) -> None:
        self._task = None
        if self._edge.is_stopping:
            self.force_close()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._next:
            data, self._next = b"".join(self._next), []
            self._resume_transport_reading()
            self.data_received(data)

    def _wait_with(self, data: bytes) -> None:
        """Keep what came before the answer to a plain request was given, and take no more."""
        if not self._next:
            self._pause_transport_reading()
        self._next.append(data)

    def _write_is_late(self) -> None:
        if self._task is None or self.transport is None:
            super()._write_is_late()
        else:
            self.transport.abort()

    def _process_keepalive(self) -> None:
        if self._task is None:
            super()._process_keepalive()
        else:  # busy, although aiohttp believes that the connection is idle
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """As aiohttp's, which does not know of a plain request."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)
        await super().shutdown(timeout)
