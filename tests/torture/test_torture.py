"""A short torture run in which nothing may be wrong, and short ones of broken servers in which something must be."""

import sys
from pathlib import Path

import pytest

from tests.torture.run import torture

pytestmark = pytest.mark.processes

SEED = 20_261_121

# For each mutant of broken_server.py: seconds, faults that bring it out, and the checks that may find it.
MUTANTS = {
    "serve without lease": (20, ["cut off the leader", "pause the leader"], ("C1",)),
    "refuse without lease": (20, ["cut off the leader", "pause the leader"], ("C1",)),
    "acknowledge before commit": (15, ["slow disks of all nodes", "pause two nodes"], ("C1", "C2")),
    "forward again": (40, ["slow disks of all nodes", "kill the leader"], ("C1",)),
    "keep cached entries": (6, ["step down"], ("C1",)),
    "skip an entry": (6, ["step down"], ("C2", "C5")),
    "give uses away": (6, ["step down"], ("C8",)),
}


def test_nothing_is_lost_or_stale(tmp_path: Path) -> None:
    """45 seconds of faults of every kind that is possible here: no check finds anything."""
    report = torture(tmp_path, SEED, 45)
    assert report.set_acknowledged > 50
    assert not report.violations, report.markdown()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_server_is_found(mutant: str, tmp_path: Path) -> None:
    """The checks find each promise that is taken out of the server."""
    seconds, faults, checks = MUTANTS[mutant]
    program = (sys.executable, "-m", "tests.torture.broken_server", mutant)
    report = torture(tmp_path, SEED, seconds, program=program, only=faults, pair_share=1.0)
    found = [violation for violation in report.violations if violation.startswith(checks)]
    print("\n".join(found))
    assert found, report.markdown()
