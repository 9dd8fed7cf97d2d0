"""A short torture run in which nothing may be wrong, and short ones of broken servers in which something must be."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.torture.network import why_not
from tests.torture.run import torture

pytestmark = pytest.mark.processes

SEED = 20_261_121
TRIES = 3  # a stale answer takes a client that asks for the right key at the right time


@dataclass(frozen=True)
class Hunt:
    """What brings a mutant of broken_server.py out, and the checks that may find it."""

    seconds: float
    faults: tuple[str, ...]
    checks: tuple[str, ...]
    pair_share: float = 0.0
    needs_network: bool = False


MUTANTS = {
    "serve without lease": Hunt(15, ("cut off the leader", "pause the leader"), ("C1",)),
    "refuse without lease": Hunt(30, ("cut off the leader",), ("C1",), needs_network=True),
    "acknowledge before commit": Hunt(15, ("slow disks of all nodes", "pause two nodes"), ("C1", "C2", "C3")),
    "forward again": Hunt(40, ("slow disks of all nodes", "kill the leader"), ("C1", "C3"), pair_share=1.0),
    "keep cached entries": Hunt(6, ("step down",), ("C1",)),
    "skip an entry": Hunt(6, ("step down",), ("C2", "C5")),
    "give uses away": Hunt(6, ("step down",), ("C8",)),
}


def test_nothing_is_lost_or_stale(tmp_path: Path) -> None:
    """45 seconds of faults of every kind that is possible here: no check finds anything."""
    report = torture(tmp_path, SEED, 45)
    assert report.set_acknowledged > 50
    assert not report.violations, report.markdown()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_server_is_found(mutant: str, tmp_path: Path) -> None:
    """The checks find each promise that is taken out of the server."""
    hunt = MUTANTS[mutant]
    if hunt.needs_network and (reason := why_not()):
        pytest.skip(f"no network namespaces: {reason}")
    program = (sys.executable, "-m", "tests.torture.broken_server", mutant)
    report = None
    for seed in range(SEED, SEED + TRIES):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        report = torture(folder, seed, hunt.seconds, program=program, only=hunt.faults, pair_share=hunt.pair_share)
        found = [violation for violation in report.violations if violation.startswith(hunt.checks)]
        if found:
            print("\n".join(found))
            return
    assert report is not None
    pytest.fail(f"{TRIES} runs found nothing: {report.markdown()}")
