"""Run seeds: `python -m tests.cluster.simulator --seeds 0-99 [--seconds 60] [--nodes 3] [--jobs 2] [--trace]`."""

import argparse
import multiprocessing
import sys
import time
from functools import partial

from tests.cluster.simulator.run import Report, run_seed


def main() -> int:
    """1 if any seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.simulator", description=__doc__)
    parser.add_argument("--seeds", default="0-99", help="one seed, or the first and the last: 0-99")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated time with faults, of each seed")
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="without it the seed chooses")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--files", action="store_true", help="the states of the nodes are LMDB files")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    run = partial(
        run_seed,
        seconds=chosen.seconds,
        nodes=chosen.nodes,
        on_files=chosen.files,
        on_event=print if chosen.trace else None,
    )
    started = time.monotonic()
    if chosen.jobs > 1:
        with multiprocessing.Pool(chosen.jobs) as pool:
            reports = _told(pool.imap_unordered(run, seeds), chosen)
    else:
        reports = _told(map(run, seeds), chosen)
    took_s = time.monotonic() - started
    simulated_s = sum(report.simulated_s for report in reports)
    failed = [report for report in reports if report.violation]
    print(
        f"{len(reports)} seeds, {simulated_s:.0f} simulated seconds in {took_s:.1f} s "
        f"({simulated_s / took_s:.0f} a second), {sum(report.acknowledged for report in reports)} writes "
        f"acknowledged, {sum(report.reads for report in reports)} reads under a lease, "
        f"{sum(report.leaders for report in reports)} elections won, {len(failed)} seeds failed"
    )
    return 1 if failed else 0


def _told(reports: object, chosen: argparse.Namespace) -> list[Report]:
    done: list[Report] = []
    for report in reports:  # type: ignore[attr-defined]
        done.append(report)
        if len(done) % 500 == 0:
            print(f"{len(done)} seeds, {sum(report.simulated_s for report in done):.0f} simulated seconds", flush=True)
        if report.violation:
            nodes = (f" --nodes {chosen.nodes}" if chosen.nodes else "") + (" --files" if chosen.files else "")
            print(
                f"seed {report.seed} failed: {report.violation}\n"
                f"  again: python -m tests.cluster.simulator --seeds {report.seed} --seconds {chosen.seconds:g}{nodes}"
                " --trace",
                flush=True,
            )
    return done


if __name__ == "__main__":
    sys.exit(main())
