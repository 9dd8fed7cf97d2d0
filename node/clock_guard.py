"""What the active node takes for the time when it ends leases and tokens: its wall clock, unless that cannot be right.

A clock that is years ahead, at boot or later, would end every lease at once and drop the users that belong to them.
Nothing tells a wrong clock from a long time without power, so such a leap is only believed after a while, in which an
operator can correct the clock. Requests follow the wall clock all the time: what it says has ended is refused.
"""

import logging
from typing import Final

from node.sources import Sources

logger = logging.getLogger(__name__)

AHEAD_MS_MAX: Final = 24 * 3600 * 1000  # more than any correction of a clock that was right; a day without power
BEHIND_MS_MAX: Final = 60_000  # beyond it a clock is wrong, or was when the last entry was written
HOLD_S: Final = 900.0

_REMEDY: Final = "If it is wrong, correct it"


class ClockGuard:
    """The time by which things are ended. Lives as long as the process."""

    def __init__(self, sources: Sources, last_written_ms: int) -> None:
        """`last_written_ms` is when this node's data was last written before it started; 0: not known."""
        self._sources = sources
        now_ms = sources.now_ms()
        self._believed_ms = last_written_ms or now_ms
        self._believed_s = sources.monotonic_s()
        self._doubted_s: float | None = None
        if now_ms < self._believed_ms - BEHIND_MS_MAX:
            logger.error(
                "the clock of this node is %d s behind the time at which its data was last written: leases and tokens "
                "end by so much later. %s",
                (self._believed_ms - now_ms) // 1000,
                _REMEDY,
            )
            self._believe(now_ms)

    def now_ms(self) -> int:
        """Unix milliseconds; while the wall clock is in doubt, what it would show without its leap."""
        now_ms, now_s = self._sources.now_ms(), self._sources.monotonic_s()
        expected_ms = self._believed_ms + int((now_s - self._believed_s) * 1000)
        ahead_ms = now_ms - expected_ms
        if ahead_ms <= AHEAD_MS_MAX:
            if self._doubted_s is not None:
                logger.warning("the clock of this node is right again; leases and tokens are ended as they are due")
            self._believe(now_ms)
            return now_ms
        if self._doubted_s is None:
            self._doubted_s = now_s
            logger.error(
                "the clock of this node is %d days ahead of what it should show. %s within %d minutes: until then "
                "nothing is revoked by it, then all that is due",
                ahead_ms // (24 * 3600 * 1000),
                _REMEDY,
                HOLD_S // 60,
            )
        if now_s - self._doubted_s < HOLD_S:
            return expected_ms
        logger.warning("the clock of this node is taken to be right; what is due by it is revoked")
        self._believe(now_ms)
        return now_ms

    def _believe(self, now_ms: int) -> None:
        self._believed_ms, self._believed_s = now_ms, self._sources.monotonic_s()
        self._doubted_s = None
