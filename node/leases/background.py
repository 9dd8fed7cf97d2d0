"""One piece of background work at a time, such as a tidy that an operator starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cluster.errors import ClusterError

_log = structlog.get_logger(__name__)


class Background:
    """Runs `work` on demand, never twice at once."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> bool:
        """Start it; False if it is under way already."""
        if self._task is not None and not self._task.done():
            return False
        self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def stop(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._work()
        except ClusterError as error:
            # This node leads no more, most likely; the operator starts it again where it matters.
            _log.warning("background work ended early", work=self._name, reason=str(error))
        else:
            _log.info("background work done", work=self._name)
