"""`make bench`: measure three nodes on this machine against two yardsticks taken in the same run.

A is the requests per second of a bare aiohttp handler under the same load, B the median fdatasync after an append of
512 bytes. Ratios are what counts: the machine's own speed drops out of them. Needs wrk, and a quiet machine.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.database import database_rows
from benchmarks.leases import lease_rows
from benchmarks.load import Load, load, require_wrk, write_script
from benchmarks.rows import Row, print_rows, rss_mib
from benchmarks.sessions import index_row, kinds
from tests.processes.cluster import ROOT, Cluster, cluster, free_ports, wait_until

SECONDS: Final = int(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
SECRETS: Final = int(os.environ.get("BENCH_SECRETS", "100000"))


def main() -> int:
    """Print the table, and the same as JSON when BENCH_JSON names a file. Exit code 0 if every goal is met, else 1."""
    require_wrk()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        b_ms = _fdatasync_ms(folder)
        rows: list[Row] = []
        with _bare() as bare, cluster(folder) as three:
            rows += _memory_at_rest(three)
            rows += _requests(folder, bare, three, b_ms)
            rows += _sessions(folder, bare, three)
            rows += _filled(folder, three)
        (folder / "leases").mkdir()
        rows += lease_rows(folder / "leases")
        (folder / "database").mkdir()
        rows += database_rows(folder / "database")
    print(f"\nB, the median fdatasync: {b_ms:.3f} ms\n")
    print_rows(rows)
    target = os.environ.get("BENCH_JSON")
    if target:
        Path(target).write_text(json.dumps([{"name": r.name, "value": r.value, "goal": r.goal} for r in rows]))
    return 0 if all(row.holds for row in rows) else 1


def _fdatasync_ms(folder: Path) -> float:
    took = []
    with (folder / "sync").open("ab", buffering=0) as file:
        for _ in range(500):
            file.write(b"x" * 512)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000


@contextmanager
def _bare() -> Iterator[str]:
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", str(port)], cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _is_up(address), "the bare handler answers")
        yield address
    finally:
        process.kill()
        process.wait()


def _is_up(address: str) -> bool:
    try:
        return load(address, 1, 1, path="x").requests > 0
    except (OSError, subprocess.CalledProcessError):
        return False


def _requests(folder: Path, bare: str, three: Cluster, b_ms: float) -> list[Row]:
    leader, token = three.wait_leader(), three.root_token
    leader.call("POST", "secret/data/read", {"data": {"value": "x" * 300}}, token=token)

    def writes(connections: int, turn: int) -> tuple[Load, Load]:
        script = write_script(folder, f"w{connections}-{turn}")
        print(f"  {connections} writers, round {turn + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        return (
            load(leader.address, connections, SECONDS, token=token, script=script),
            load(bare, connections, SECONDS, token=token, script=script),
        )

    one = [writes(1, turn)[0] for turn in range(ROUNDS)]
    many = {connections: [writes(connections, turn) for turn in range(ROUNDS)] for connections in (32, 128)}
    reads = []
    for turn in range(ROUNDS):
        print(f"  32 readers, round {turn + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        reads.append(
            (
                load(leader.address, 32, SECONDS, token=token, path="secret/data/read"),
                load(bare, 32, SECONDS, token=token, path="secret/data/read"),
            )
        )
    p50_ms = statistics.median(each.p50_ms for each in one)
    bad = sum(each.bad for each in (*one, *(o for pairs in (*many.values(), reads) for o, _ in pairs)))
    return [
        Row("1 writer, p50 in ms (12 B, 1 ms at best)", p50_ms, max(12 * b_ms, 1.0), at_most=True),
        _ratio("32 writers / A", many[32], 0.20),
        _ratio("128 writers / A", many[128], 0.25),
        _ratio("32 readers of the leader / A", reads, 0.50),
        Row("requests that failed", bad, 0, at_most=True),
    ]


def _sessions(folder: Path, bare: str, three: Cluster) -> list[Row]:
    leader = three.wait_leader()
    rows = []
    for kind in kinds(folder, three):
        print(f"  {kind.name}", file=sys.stderr, flush=True)
        pairs = [(kind.send(leader.address, SECONDS), kind.send(bare, SECONDS)) for _ in range(ROUNDS)]
        rows.append(_ratio(kind.name, pairs, kind.goal))
        rows.append(Row(f"{kind.name}: failed", sum(own.bad for own, _ in pairs), 0, at_most=True))
    return [*rows, index_row(folder, three)]


def _ratio(name: str, pairs: list[tuple[Load, Load]], goal: float) -> Row:
    ratio = statistics.median(own.per_second / yardstick.per_second for own, yardstick in pairs)
    own = statistics.median(own.per_second for own, _ in pairs)
    yardstick = statistics.median(yardstick.per_second for _, yardstick in pairs)
    return Row(name, ratio, goal, note=f"{own:,.0f}/s of {yardstick:,.0f}/s")


def _largest(three: Cluster) -> float:
    return max(rss_mib(node) for node in three.running())


def _memory_at_rest(three: Cluster) -> list[Row]:
    return [Row("memory of a node at rest, MiB", _largest(three), 120, at_most=True)]


def _filled(folder: Path, three: Cluster) -> list[Row]:
    leader, done, turn = three.wait_leader(), 0, 0
    while done < SECRETS:
        turn += 1
        done += load(
            leader.address, 64, SECONDS, token=three.root_token, script=write_script(folder, f"f{turn}")
        ).requests
        print(f"  {done:,} of {SECRETS:,} secrets", file=sys.stderr, flush=True)
    memory = _largest(three)
    for node in three.nodes:
        node.kill()
    started = time.monotonic()
    for node in three.nodes:
        node.launch()
    wait_until(lambda: three.leader() is not None, "a node is active again")
    took_s = time.monotonic() - started
    return [
        Row(f"memory with {SECRETS:,} secrets, MiB", memory, 400, at_most=True, note=f"{done:,} written by then"),
        Row(f"active again with {SECRETS:,} secrets, s", took_s, 5, at_most=True, note="all three killed and started"),
    ]


if __name__ == "__main__":
    sys.exit(main())
