"""The simulator finds what it is there to find: every point of design.md, section 4, switched off in turn."""

import pytest

from tests.cluster.simulator.mutants import MUTANTS, Mutant
from tests.cluster.simulator.run import run_seed

# The most that any needed is in docs/reliability.md; the rest is room for changes of the fault mix.
_SEEDS_MAX = 400
_SECONDS = 60.0


def test_every_point_has_a_mutant() -> None:
    """Nine points, nine and more breakages."""
    assert {mutant.point for mutant in MUTANTS} == set(range(1, 10))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_simulator_finds(mutant: Mutant) -> None:
    """Within a bounded number of seeds a property is broken."""
    for seed in range(_SEEDS_MAX):
        with mutant.apply():
            report = run_seed(seed, _SECONDS, chosen=mutant.plan(seed, _SECONDS))
        if report.violation:
            print(f"{mutant.name}: {seed + 1} seeds: {report.violation}")
            return
    raise AssertionError(f"not found in {_SEEDS_MAX} seeds")
