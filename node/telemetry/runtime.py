"""The process: memory, objects, the garbage collector, tasks. By the names that the documentation gives a Go program.

What has no equal here is the nearest thing that answers the same question; docs/operations/monitoring.md says what.
"""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Final

from cluster.meters import Registry, Spread, clock

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class GarbageCollector:
    """Times the collector of this process, of which there is one however many nodes a test runs in it."""

    def __init__(self) -> None:
        self.runs = 0
        self.paused_s = 0.0
        self.pauses: list[Spread] = []
        self._began_s = 0.0
        gc.callbacks.append(self._called)

    def _called(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_s = clock()
            return
        took_s = clock() - self._began_s
        self.runs += 1
        self.paused_s += took_s
        for spread in self.pauses:
            spread.add(took_s)


COLLECTOR: Final = GarbageCollector()


def define(registry: Registry) -> Spread:
    """Define the meters of the process; gives the one that COLLECTOR adds to while it is among its `pauses`."""
    gauge = registry.gauge
    gauge("runtime.alloc_bytes", "Memory of the process that is its own.", lambda: float(_memory()[1]))
    gauge("runtime.sys_bytes", "Memory of the process that is in RAM.", lambda: float(_memory()[0]))
    gauge("runtime.heap_objects", "Blocks of memory in use by Python objects.", _blocks)
    gauge("runtime.free_count", "Objects that the garbage collector has freed.", _collected)
    gauge("runtime.malloc_count", "Those, and the blocks in use.", lambda: _collected() + _blocks())
    gauge("runtime.num_goroutines", "Tasks of the event loop.", _tasks)
    gauge("runtime.total_gc_pause_ns", "Time spent collecting garbage.", lambda: COLLECTOR.paused_s * 1e9)
    gauge("runtime.total_gc_runs", "Collections of garbage.", lambda: float(COLLECTOR.runs))
    return registry.spread("runtime.gc_pause_ns", "Nanoseconds of a collection of garbage.", scale=1e9)


def _memory() -> tuple[int, int]:
    """Bytes resident, and those of them that are not shared with other processes."""
    pages = _STATM.read_text().split()
    resident, shared = int(pages[1]), int(pages[2])
    return resident * _PAGE_BYTES, (resident - shared) * _PAGE_BYTES


def _blocks() -> float:
    return float(sys.getallocatedblocks())


def _collected() -> float:
    return float(sum(generation["collected"] for generation in gc.get_stats()))


def _tasks() -> float:
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:
        return 0.0
