"""The numbers of Raft: one multiplier, `performance_multiplier` in the configuration, stretches all its times."""

import time
from dataclasses import dataclass
from typing import Final, Protocol

# An entry travels in one frame of the wire (8 MiB), behind up to message_bytes_max of others.
_MAX_ENTRY_SIZE_LIMIT: Final = 6 << 20


class Clock(Protocol):
    """Where Raft learns the time. Tests hand in one that they move."""

    def now_ns(self) -> int:
        """Nanoseconds on a clock that never goes back and that runs while the machine is suspended."""


class BootClock:
    """CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it counts a suspension, in which a lease must run out."""

    def now_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSettings:
    """Raft's bounds and times. Times in seconds, sizes in bytes.

    Invariant, on which the lease rests: lease_s < election_min_s, with a margin for clocks that run at other rates.
    """

    performance_multiplier: int = 5
    max_entry_size: int = 1 << 20
    commit_timeout_s: float = 10.0
    # Once leadership is lost, the entry's fate is decided by others: this long we wait to learn it.
    outcome_timeout_s: float = 5.0
    # For a joining node to take in all that the cluster holds.
    join_timeout_s: float = 60.0
    # Writes that may wait for the entry in flight. Beyond, a writer is told to come back: memory has an end.
    gathered_bytes_max: int = 64 << 20
    # What stays in the log behind the applied index, so that a follower that was away for a moment needs no snapshot.
    trailing_logs: int = 10_000
    trailing_bytes: int = 32 << 20
    # One append_entries carries at most this and one entry more; so much may be on its way to one follower.
    message_bytes_max: int = 1 << 20
    window_bytes: int = 8 << 20
    # How often a running node reads its whole state file: rot is to be found while the other nodes still are whole.
    check_every_s: float = 6 * 3600.0

    def __post_init__(self) -> None:
        """Raises ValueError for bounds that do not fit together."""
        if not 1 <= self.max_entry_size <= _MAX_ENTRY_SIZE_LIMIT:
            raise ValueError(f"max_entry_size must be from 1 to {_MAX_ENTRY_SIZE_LIMIT} bytes")
        if not 1 <= self.performance_multiplier <= 10:
            raise ValueError("performance_multiplier must be from 1 to 10")

    @property
    def heartbeat_s(self) -> float:
        return 0.040 * self.performance_multiplier

    @property
    def election_min_s(self) -> float:
        return 0.200 * self.performance_multiplier

    @property
    def election_max_s(self) -> float:
        return 0.400 * self.performance_multiplier

    @property
    def fallback_s(self) -> float:
        """A leader that hears no majority for so long steps down, before another can be elected."""
        return 0.180 * self.performance_multiplier

    @property
    def lease_s(self) -> float:
        return 0.160 * self.performance_multiplier

    @property
    def pulse_s(self) -> float:
        """How often the timer looks: well under the heartbeat, so that none is late by much."""
        return self.heartbeat_s / 4
