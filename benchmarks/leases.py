"""What a node with very many leases promises: soon active, small, and quick to end what has ended beside requests.

`python -m benchmarks.leases` measures this alone; BENCH_LEASES says with how many.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.load import Load, load, require_wrk
from benchmarks.rows import Row, print_rows, rss_mib
from tests.processes.cluster import Cluster, Node, single, wait_until
from tests.processes.many_leases import Bulk, put_leases

LEASES: Final = int(os.environ.get("BENCH_LEASES", "1000000"))
ENDING: Final = min(60_000, LEASES // 2)
_WAIT_S: Final = 16  # from storing the leases that end until they do: the node starts and is measured at rest
_SECONDS: Final = 4
_PER_MS: Final = 200
_YEAR_MS: Final = 365 * 24 * 3_600_000


def main() -> int:
    """Print the rows; exit code 0 if every goal is met."""
    require_wrk()
    with tempfile.TemporaryDirectory() as name:
        rows = lease_rows(Path(name))
    print_rows(rows)
    return 0 if all(row.holds for row in rows) else 1


def lease_rows(folder: Path) -> list[Row]:
    """Measure one node with LEASES leases, of which ENDING end at the same moment."""
    with single(folder) as one:
        node = one[0]
        node.call("POST", "secret/data/read", {"data": {"value": "x" * 300}}, token=one.root_token)
        node.stop()
        started = time.monotonic()
        put_leases(node, Bulk(LEASES - ENDING, int(time.time() * 1000) + _YEAR_MS, first=ENDING))
        print(f"  {LEASES:,} leases stored in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        begin_s = time.time() + _WAIT_S
        ending = Bulk(ENDING, int(begin_s * 1000), per_ms=_PER_MS)
        put_leases(node, ending)
        active_s = _active_after(one, node)
        memory = rss_mib(node)
        rest = _reads(one, node)
        time.sleep(max(0.0, begin_s - time.time()))
        sweep = _Sweep(one, node, ending)
        busy = _reads(one, node)
        per_second = sweep.per_second()
        memory = max(memory, rss_mib(node))
    return [
        Row(f"active with {LEASES:,} leases, s", active_s, 10, at_most=True, note="since the start of the process"),
        Row(f"memory with {LEASES:,} leases, MiB", memory, 500, at_most=True, note="also while they end"),
        Row("leases ended per second, beside readers", per_second, 2000),
        Row(
            "p99 of 32 readers meanwhile / at rest",
            busy.p99_ms / rest.p99_ms,
            3,
            at_most=True,
            note=f"{busy.p99_ms:.1f} ms and {rest.p99_ms:.1f} ms",
        ),
    ]


def _active_after(one: Cluster, node: Node) -> float:
    started = time.monotonic()
    node.launch()
    wait_until(lambda: one.leader() is not None, "the node is active again")
    return time.monotonic() - started


def _reads(one: Cluster, node: Node) -> Load:
    return load(node.address, 32, _SECONDS, token=one.root_token, path="secret/data/read")


class _Sweep:
    """How far the node has come, by asking for single leases: they end in the order of their numbers."""

    def __init__(self, one: Cluster, node: Node, ending: Bulk) -> None:
        self._one = one
        self._node = node
        self._ending = ending
        self._started_s = time.monotonic()

    def per_second(self) -> float:
        """Leases that ended per second since the beginning."""
        first, behind = 0, self._ending.count
        while behind - first > _PER_MS:
            middle = (first + behind) // 2
            first, behind = (first, middle) if self._is_there(middle) else (middle, behind)
        return first / (time.monotonic() - self._started_s)

    def _is_there(self, number: int) -> bool:
        body = {"lease_id": self._ending.lease_id(number)}
        return self._node.call("POST", "sys/leases/lookup", body, token=self._one.root_token).status == 200


if __name__ == "__main__":
    sys.exit(main())
