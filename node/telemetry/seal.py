"""A seal whose work is counted and timed."""

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.meters import Registry, Spread, clock
from node.errors import SealUnavailable
from node.seal import Seal


class SealMeters:
    """Encryptions and decryptions by a seal, under each of their documented names."""

    def __init__(self, registry: Registry, seal_type: str) -> None:
        self._unreachable = registry.spread("core.seal.unreachable.time", "For how long the seal was out of reach.")
        self._unreachable_since_s = 0.0
        self._times: dict[str, Spread] = {}
        self._counts = {}
        for work in ("encrypt", "decrypt"):
            help_ = f"Calls of {work} of the seal."
            areas = ("seal", "core.seal", f"seal.{seal_type}")
            self._times[work] = registry.spread(f"seal.{work}.time", help_)
            for area in areas[1:]:
                registry.same(f"{area}.{work}.time", help_, self._times[work])
            self._counts[work] = [registry.counter(f"{area}.{work}", help_) for area in areas]

    def watch(self, seal: Seal) -> None:
        """Time the seal's own methods. A wrapper around it would hide which kind it is from those who ask."""
        timed: Any = seal
        timed.wrap = self._timed("encrypt", seal.wrap)
        timed.unwrap = self._timed("decrypt", seal.unwrap)

    def _timed(self, work: str, act: Callable[[bytes], Awaitable[bytes]]) -> Callable[[bytes], Awaitable[bytes]]:
        async def timed(given: bytes) -> bytes:
            for counter in self._counts[work]:
                counter.value += 1
            try:
                with self._times[work].timing():
                    done = await act(given)
            except SealUnavailable:
                self._is_away()
                raise
            self._is_there()
            return done

        return timed

    def _is_away(self) -> None:
        now_s = clock()
        if self._unreachable_since_s:
            self._unreachable.add(now_s - self._unreachable_since_s)
        self._unreachable_since_s = now_s

    def _is_there(self) -> None:
        if self._unreachable_since_s:
            self._unreachable.add(clock() - self._unreachable_since_s)
            self._unreachable_since_s = 0.0
