"""Where the next sync of the journal runs: on the event loop, or in a worker thread.

Handing a sync to a thread and back costs about as much as a sync of a fast disk, and an event loop that waits for a
slow disk misses heartbeats. So a fast disk is synced inline and a slow one in the thread, by what was measured.
"""

from typing import Final

# The hand-over to a thread and back costs about this much when the event loop is busy.
INLINE_AVERAGE_S_MAX: Final = 0.0003
# One sync as long as this comes near the time between heartbeats; for the next while the thread takes them all.
SLOW_S: Final = 0.100
SLOW_HOLD_S: Final = 10.0

_WEIGHT: Final = 0.2
# In the thread the clock also counts the wait for the interpreter lock, so a disk is judged inline only: every so
# often one sync is tried there. It decides alone, as a disk is often slow for a moment only: while the state is written
# to it. However slow it is, what is tried costs the loop a twentieth of its time at most.
_PROBE_EVERY: Final = 16
_FIRST_PROBE_AFTER: Final = 4
_HOLD_FACTOR: Final = 20


class SyncPace:
    """The moving average of sync times, and the decision that follows from it.

    Inline is chosen while the average is below INLINE_AVERAGE_S_MAX, and not for a while after one of SLOW_S.
    """

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self._average_s = float("inf")
        self._slow_until = float("-inf")
        self._probe_in = _FIRST_PROBE_AFTER

    def wants_inline(self, now_s: float) -> bool:
        """Whether the sync that starts now is better done on the event loop."""
        if not self._threaded:
            return True
        if now_s < self._slow_until:
            return False
        if self._average_s < INLINE_AVERAGE_S_MAX:
            return True
        self._probe_in -= 1
        return self._probe_in <= 0

    def note(self, now_s: float, took_s: float, *, inline: bool) -> None:
        """Learn from a sync that ended at now_s."""
        if took_s >= SLOW_S:
            self._slow_until = now_s + SLOW_HOLD_S
        if inline:
            is_fast = self._average_s < INLINE_AVERAGE_S_MAX
            self._average_s = self._average_s + _WEIGHT * (took_s - self._average_s) if is_fast else took_s
            if self._average_s >= INLINE_AVERAGE_S_MAX:
                self._probe_in = _PROBE_EVERY
                self._slow_until = max(self._slow_until, now_s + _HOLD_FACTOR * took_s)
