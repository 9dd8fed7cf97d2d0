"""The only module that reads a clock or the system's randomness. Tests pass FixedSources."""

import hashlib
import os
import time
from typing import Final, Protocol

from engines.common.context import Sources as EngineSources

# Runs on while the machine is suspended, so that a lease never outlives a laptop lid or a paused virtual machine.
_STEADY_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_POOL_BYTES: Final = 4096
_POOL_TAKEN_MAX: Final = 24  # nonces, ids and tokens; keys are larger and come straight from the kernel

_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class Sources(Protocol):
    """What a request may learn that is not in the request."""

    def now_ms(self) -> int:
        """Unix time in milliseconds. It may jump: use it for dates, not for measuring spans."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never goes back, and runs on through suspension."""

    def random(self, size: int) -> bytes:
        """Bytes that nobody can predict."""


class SystemSources:
    """The machine's clocks and randomness.

    Random bytes come from a pool that is filled from the kernel a page at a time: a request takes nonces and ids
    several times, and a system call for each is a tenth of its cost. A byte is given out once and never again.
    """

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.clock_gettime(_STEADY_CLOCK)

    def random(self, size: int) -> bytes:
        if size > _POOL_TAKEN_MAX:
            return os.urandom(size)
        start = self._at
        if start + size > len(self._pool):
            self._pool, start = os.urandom(_POOL_BYTES), 0
        self._at = start + size
        return self._pool[start : start + size]


class FixedSources:
    """Time that only `advance` moves, and random bytes that the seed decides. For tests and simulations only."""

    def __init__(self, now_ms: int, seed: int) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0
        self._seed = seed
        self._draws = 0

    def now_ms(self) -> int:
        return self._now_ms + self._elapsed_ms

    def monotonic_s(self) -> float:
        return self._elapsed_ms / 1000

    def random(self, size: int) -> bytes:
        self._draws += 1
        return hashlib.shake_256(b"%d/%d" % (self._seed, self._draws)).digest(size)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self._elapsed_ms += ms


def new_uuid(sources: EngineSources) -> str:
    """A random UUID (version 4) in its usual spelling."""
    raw = sources.random(16).hex()
    # Written by hand, as each request takes one: version 4 and variant 10 in their places (RFC 9562, 5.4).
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{_VARIANT[raw[16]]}{raw[17:20]}-{raw[20:]}"
