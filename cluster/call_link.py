"""Requests to a peer and their answers, many at a time on one connection that is dialled on first use."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cluster.channel import Channel
from cluster.dialling import Identity, dial, explain
from cluster.errors import ClusterError, EntryTooLarge, OutcomeUnknown, PeerUnreachable
from cluster.link_limits import CALL_FRAME_BYTES_MAX, LinkLimits
from cluster.wire import CALLS, FrameTooLarge, WireError, pack, unpack

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    answer: asyncio.Future[bytes]
    # The value of Channel.written_bytes beyond which something of the request has been sent.
    starts_at: int


class CallLink:
    """The asking end, for one peer."""

    def __init__(self, identity: Identity, node_id: str, address: str, limits: LinkLimits) -> None:
        self._identity = identity
        self._node_id = node_id
        self._address = address
        self._limits = limits
        self._channel: Channel | None = None
        self._dialling: asyncio.Task[Channel] | None = None
        self._refused: tuple[float, PeerUnreachable] | None = None
        self._pending: dict[int, _Pending] = {}
        self._next_call_id = 0
        self._closed = False

    async def call(self, payload: bytes, timeout_s: float) -> bytes:
        """See TlsLinks.call."""
        until = asyncio.get_running_loop().time() + timeout_s
        self._next_call_id += 1
        call_id = self._next_call_id
        try:
            frame = pack({"type": "call", "call_id": call_id, "payload": payload}, CALL_FRAME_BYTES_MAX)
        except FrameTooLarge:
            raise EntryTooLarge("the request is too large to be passed on to another node") from None
        try:
            async with asyncio.timeout_at(until):
                channel = await self._connected()
        except TimeoutError:
            raise PeerUnreachable(f"node {self._node_id!r} at {self._address}: no connection in time") from None
        pending = _Pending(asyncio.get_running_loop().create_future(), channel.queued_until)
        if not channel.send(frame):
            raise PeerUnreachable(f"node {self._node_id!r} takes no more requests now")
        self._pending[call_id] = pending
        try:
            async with asyncio.timeout_at(until):
                return await pending.answer
        except TimeoutError:
            raise self._unknown("did not answer in time") from None
        finally:
            self._pending.pop(call_id, None)

    def close(self) -> None:
        """Give up everything: what is under way ends as it does when the connection is lost."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._channel is not None:
            self._channel.abort()

    async def wait_closed(self) -> None:
        """Returns when nothing of a closed link is left."""
        if self._dialling is not None:
            await asyncio.wait([self._dialling])
        if self._channel is not None:
            await self._channel.wait_closed(self._limits.stop_timeout_s)

    async def _connected(self) -> Channel:
        """The connection; all who wait for it share one attempt, and its failure for a moment."""
        if self._channel is not None:
            return self._channel
        if self._closed:
            raise PeerUnreachable(f"node {self._node_id!r} is no longer a peer of this node")
        loop = asyncio.get_running_loop()
        if self._refused is not None and loop.time() < self._refused[0]:
            raise PeerUnreachable(str(self._refused[1]))
        if self._dialling is None:
            self._dialling = loop.create_task(self._dial(), name=f"call link to {self._node_id}")
            self._dialling.add_done_callback(self._dialled)
        dialling = self._dialling
        try:
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            if dialling.cancelled():  # by close(), and not the one who asks
                raise PeerUnreachable(f"node {self._node_id!r} is no longer a peer of this node") from None
            raise

    async def _dial(self) -> Channel:
        channel = await dial(self._identity, self._node_id, self._address, "call", self._on_frame, self._limits)
        channel.on_lost = self._lost
        self._channel = channel
        return channel

    def _dialled(self, task: asyncio.Task[Channel]) -> None:
        self._dialling = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PeerUnreachable):
            self._refused = (asyncio.get_running_loop().time() + self._limits.backoff_min_s, error)

    def _on_frame(self, channel: Channel, body: memoryview) -> None:
        message = unpack(body, CALLS)
        if message["type"] == "call":
            raise WireError("a peer asks nothing on a connection that this node asks on")
        pending = self._pending.pop(message["call_id"], None)
        if pending is None or pending.answer.done():
            return  # answered after its time ran out
        if message["type"] == "reply":
            pending.answer.set_result(message["payload"])
        elif message["type"] == "refused":
            pending.answer.set_exception(PeerUnreachable(f"node {self._node_id!r} takes no requests now"))
        else:
            pending.answer.set_exception(self._unknown("failed at it"))

    def _lost(self, channel: Channel) -> None:
        self._channel = None
        for pending in self._pending.values():
            if pending.answer.done():
                continue
            if pending.starts_at >= channel.written_bytes:
                error: Exception = PeerUnreachable(f"node {self._node_id!r}: the connection was lost")
            else:
                error = self._unknown("was lost on the way")
            pending.answer.set_exception(error)
        self._pending.clear()

    def _unknown(self, what: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"the request was passed to node {self._node_id!r}, which {what}: it may have been done")


@dataclass(slots=True)
class CallAnswerer:
    """The answering end, for all peers. `handler` returns None while the node takes no calls."""

    handler: Callable[[], Callable[[str, bytes], Awaitable[bytes]] | None]
    limits: LinkLimits
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _bytes: int = 0

    def on_frame(self, channel: Channel, body: memoryview) -> None:
        """A frame on a connection that a peer asks on."""
        message = unpack(body, CALLS)
        if message["type"] != "call":
            raise WireError("a peer answers on a connection that it asks on")
        call_id, payload = message["call_id"], message["payload"]
        handler = self.handler()
        room = len(self._tasks) < self.limits.calls_max and self._bytes + len(payload) <= self.limits.call_bytes_max
        if handler is None or not room:
            self._send(channel, {"type": "refused", "call_id": call_id})
            return
        self._bytes += len(payload)
        task = asyncio.get_running_loop().create_task(self._answer(handler, channel, call_id, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what is under way; who asked sees OutcomeUnknown."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self, handler: Callable[[str, bytes], Awaitable[bytes]], channel: Channel, call_id: int, payload: bytes
    ) -> None:
        try:
            answer = await handler(channel.peer_id, payload)
            self._send(channel, {"type": "reply", "call_id": call_id, "payload": answer})
        except (ClusterError, WireError, ValueError, OSError) as error:  # the cluster's state, or what the peer sent
            logger.error("a request passed on by node %r failed: %s", channel.peer_id, explain(error))
            self._send(channel, {"type": "failed", "call_id": call_id})
        except Exception:  # a fault of this program
            logger.exception("a request passed on by node %r failed", channel.peer_id)
            self._send(channel, {"type": "failed", "call_id": call_id})
        finally:
            self._bytes -= len(payload)

    def _send(self, channel: Channel, message: dict[str, object]) -> None:
        # A peer that does not take its answers is cut off: it then knows as much as it would from their absence.
        if not channel.send(pack(message, CALL_FRAME_BYTES_MAX)):
            channel.abort(WireError("it does not take its answers"))
