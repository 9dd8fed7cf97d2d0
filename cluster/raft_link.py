"""The outgoing Raft connection to one peer, dialled again and again for as long as it is a peer."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from cluster.channel import Channel
from cluster.dialling import Identity, dial, explain
from cluster.errors import PeerUnreachable
from cluster.link_limits import LinkLimits

logger = logging.getLogger(__name__)


class RaftLink:
    """`channel` is the greeted connection, or None."""

    def __init__(
        self,
        identity: Identity,
        node_id: str,
        address: str,
        limits: LinkLimits,
        on_up: Callable[[str], None],
        on_down: Callable[[str], None],
        on_frame: Callable[[Channel, memoryview], None],
    ) -> None:
        self.address = address
        self.channel: Channel | None = None
        self._identity = identity
        self._node_id = node_id
        self._limits = limits
        self._on_up = on_up
        self._on_down = on_down
        self._on_frame = on_frame
        self._closed = False
        self._hurry = asyncio.Event()
        self._last_failure = ""
        self._last_channel: Channel | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"raft link to {node_id}")

    def hurry(self) -> None:
        """The peer has shown that it is there: dial at once instead of waiting out the back-off."""
        self._hurry.set()

    def close(self) -> None:
        """Send what is queued, close, and dial no more."""
        self._closed = True
        self._task.cancel()
        if self.channel is not None:
            self.channel.close()

    async def wait_closed(self) -> None:
        """Returns when nothing of a closed link is left, after stop_timeout_s at the latest."""
        await asyncio.wait([self._task])
        if self._last_channel is not None:
            await self._last_channel.wait_closed(self._limits.stop_timeout_s)

    async def _run(self) -> None:
        backoff_s = self._limits.backoff_min_s
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._live_once()
            # A peer that greets and then hangs up at once is not a reason to dial it twenty times a second.
            if self._hurry.is_set() or loop.time() - began > self._limits.backoff_max_s:
                backoff_s = self._limits.backoff_min_s
            # Spread out, so that nodes that lost each other at one moment do not dial at one moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff_s * random.uniform(0.5, 1.0)):  # noqa: S311  # no secret
                    await self._hurry.wait()
            self._hurry.clear()
            backoff_s = min(2 * backoff_s, self._limits.backoff_max_s)

    async def _live_once(self) -> None:
        """Dial, and return when that failed or the connection has ended."""
        try:
            channel = await dial(self._identity, self._node_id, self.address, "raft", self._on_frame, self._limits)
        except PeerUnreachable as error:
            # Once for each new reason: a peer that is down for a day is one line.
            if str(error) != self._last_failure:
                logger.warning("no link: %s", error)
                self._last_failure = str(error)
            return
        self._last_failure = ""
        self._last_channel = self.channel = channel
        channel.on_lost = self._lost
        logger.info("linked to node %r at %s", self._node_id, self.address)
        self._on_up(self._node_id)
        await asyncio.shield(channel.closed)

    def _lost(self, channel: Channel) -> None:
        self.channel = None
        if not self._closed:
            reason = explain(channel.fault) if channel.fault else "it closed the connection"
            logger.warning("lost the link to node %r: %s", self._node_id, reason)
        self._on_down(self._node_id)
