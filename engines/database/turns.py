"""How many may work at a time, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """`width` may work at once; only one, for as long as `narrow` said."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._narrow_until_s = 0.0

    def narrow(self, seconds: float) -> None:
        """From now on one at a time, once those that are at work have ended."""
        self._narrow_until_s = asyncio.get_running_loop().time() + seconds

    @property
    def width(self) -> int:
        """How many may work at once now."""
        is_narrow = asyncio.get_running_loop().time() < self._narrow_until_s
        return 1 if is_narrow else self._width

    async def acquire(self) -> None:
        """Wait for a turn. Each needs its `release`."""
        if self._has_room() and all(turn.cancelled() for turn in self._waiting):
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()  # it was given in the moment of the cancellation
            raise

    def release(self) -> None:
        """End a turn."""
        self._busy -= 1
        while self._waiting and self._has_room():
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._busy += 1

    def _has_room(self) -> bool:
        return self._busy < self.width
