"""Seeds of the simulator, as part of the tests; and that a seed decides everything."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.simulator.plan import plan
from tests.cluster.simulator.run import Report, run_seed

_ROOT = Path(__file__).parents[3]
_AGAIN = "from tests.cluster.simulator.run import run_seed; print(run_seed(7, 20.0))"


def test_a_seed_decides_everything() -> None:
    """Two runs of a seed, in processes that hash differently, are the same event for event."""
    runs = {
        subprocess.run(
            [sys.executable, "-c", _AGAIN],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    }
    assert len(runs) == 1
    assert runs.pop().strip() == repr(run_seed(7, 20.0))


def test_seeds_differ() -> None:
    """What is compared above is not empty."""
    assert run_seed(7, 20.0).digest != run_seed(8, 20.0).digest


@pytest.mark.slow
def test_five_hundred_seeds() -> None:
    """Nothing that a seed does to a cluster breaks a property of it."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        reports: list[Report] = pool.map(partial(run_seed, seconds=20.0), range(500), chunksize=10)
    failed = [f"seed {report.seed}: {report.violation}" for report in reports if report.violation]
    assert not failed
    assert sum(report.acknowledged for report in reports) > 5000
    assert sum(report.reads for report in reports) > 5000


def test_seeds_on_real_files() -> None:
    """The same with the state in LMDB files, where a crash may fall into the middle of a flush of the state."""
    _require_sound([run_seed(seed, 20.0, on_files=True) for seed in range(2000, 2006)])


@pytest.mark.slow
def test_many_seeds_on_real_files() -> None:
    """The same at length."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        _require_sound(pool.map(partial(run_seed, seconds=20.0, on_files=True), range(2000, 2200), chunksize=10))


def _require_sound(reports: list[Report]) -> None:
    assert not [f"seed {report.seed}: {report.violation}" for report in reports if report.violation]
    assert sum(report.acknowledged for report in reports) > 5 * len(reports)


def test_clocks_beyond_the_margin_are_caught() -> None:
    """The lease rests on clocks that run at nearly one rate. Where they do not, the witness sees it break."""
    for seed in range(200):
        chosen = replace(plan(seed, 60.0, 3), clock_rates=(0.4, 1.6))
        chosen = replace(chosen, weights={**chosen.weights, "isolate_leader": 4, "cut_pair": 4})
        if run_seed(seed, 60.0, chosen=chosen).violation.startswith(("lease", "stale read")):
            return
    raise AssertionError("no seed showed it")
