"""One TLS connection between two nodes: frames in, frames out, in order and bounded. It knows no message."""

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from cluster.errors import TlsMaterialRefused
from cluster.frames import FrameReader
from cluster.link_limits import HELLO_BYTES_MAX, WRITE_BYTES_MAX
from cluster.tls import peer_node_id
from cluster.wire import WireError

logger = logging.getLogger(__name__)

_KEEPALIVE_IDLE_S: Final = 3
_KEEPALIVE_INTERVAL_S: Final = 1
_KEEPALIVE_PROBES: Final = 3


class Channel(asyncio.BufferedProtocol):
    """Both ends use it. `on_frame` is replaced once the greeting is over.

    Invariant: whatever happens, `on_lost` is called exactly once after the handshake succeeded, and `send` is False
    from then on.
    """

    def __init__(
        self,
        on_frame: Callable[["Channel", memoryview], None],
        *,
        queue_bytes_max: int,
        unacknowledged_timeout_s: float,
    ) -> None:
        self.on_frame = on_frame
        self.on_lost: Callable[[Channel], None] = _nothing
        self.peer_id = ""
        # Bytes given to the transport so far: what is not among them was certainly never sent.
        self.written_bytes = 0
        # What made this end close the connection, for one line in the log.
        self.fault: Exception | None = None
        # Done, without a result, when the connection is gone.
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(HELLO_BYTES_MAX)
        self._transport: asyncio.WriteTransport | None = None
        self._queue: deque[bytes | memoryview] = deque()
        self._queued_bytes = 0
        self._queue_bytes_max = queue_bytes_max
        self._unacknowledged_timeout_s = unacknowledged_timeout_s
        self._paused = False
        self._flush_is_due = False
        self._closing = False

    # --- out

    @property
    def queued_until(self) -> int:
        """The value of written_bytes at which everything queued so far has been given to the transport."""
        return self.written_bytes + self._queued_bytes

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False if the connection is gone or the queue is full.

        What one turn of the event loop sends leaves in one write at its end.
        """
        if self._transport is None or self._closing or self._queued_bytes + len(frame) > self._queue_bytes_max:
            return False
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        if not self._flush_is_due and not self._paused:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)
        return True

    def admit(self, frame_bytes_max: int) -> None:
        """The greeting is over: from now on frames may be this large."""
        self._reader.frame_bytes_max = frame_bytes_max

    def abort(self, fault: Exception | None = None) -> None:
        """Close at once; what is queued is lost."""
        if self._transport is not None:
            self._closing = True
            self.fault = self.fault or fault
            self._transport.abort()

    def close(self) -> None:
        """Send what is queued, then close."""
        self._flush()
        if self._transport is not None:
            self._closing = True
            self._transport.close()

    async def wait_closed(self, timeout_s: float) -> None:
        """Returns when a channel that was closed is gone; a peer that takes nothing is cut off after timeout_s."""
        await asyncio.wait([self.closed], timeout=timeout_s)
        self.abort()

    def _flush(self) -> None:
        self._flush_is_due = False
        while self._queue and not self._paused and self._transport is not None:
            batch = self._next_batch()
            self.written_bytes += len(batch)
            self._queued_bytes -= len(batch)
            self._transport.write(batch)

    def _next_batch(self) -> bytes | memoryview:
        """Whole small frames joined into one write, or a slice of a large one."""
        head = self._queue.popleft()
        if len(head) > WRITE_BYTES_MAX:
            view = memoryview(head)
            self._queue.appendleft(view[WRITE_BYTES_MAX:])
            return view[:WRITE_BYTES_MAX]
        if not self._queue:
            return head
        parts, size = [head], len(head)
        while self._queue and size + len(self._queue[0]) <= WRITE_BYTES_MAX:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    # --- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's, so this cannot be asserted.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_MAX)
        self._notice_dead_peers(transport.get_extra_info("socket"))
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        try:
            self.peer_id = peer_node_id(tls)
        except TlsMaterialRefused as error:
            self.abort(error)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for body in self._reader.received(nbytes):
                self.on_frame(self, body)
                if self._closing:
                    return
        except WireError as error:
            self.abort(error)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.fault = self.fault or exc
        self._queue.clear()
        self._closing = True
        if not self.closed.done():
            self.closed.set_result(None)
        self.on_lost(self)

    def _notice_dead_peers(self, sock: socket.socket) -> None:
        """A peer that vanished without a word (power, cable) is noticed within seconds, idle or not."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._unacknowledged_timeout_s * 1000))


def _nothing(_: Channel) -> None:
    pass
