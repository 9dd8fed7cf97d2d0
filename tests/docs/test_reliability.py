"""docs/reliability.md names tests, faults and mutants that exist, and all of the latter two."""

import re
from pathlib import Path

import pytest

from tests.torture.broken_server import MUTANTS
from tests.torture.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT))))
def test_named_tests_exist(named: tuple[str, str]) -> None:
    """A promise rests on a test that is there."""
    file, name = named
    assert re.search(rf"^(async )?def {name or ''}", (ROOT / file).read_text(), re.MULTILINE), named


def test_every_mutant_is_listed() -> None:
    """The table of mutants is that of broken_server.py."""
    listed = set(re.findall(r"^\| ([a-z ]+?)(?::[^|]*)? \| C\d", TEXT, re.MULTILINE))
    assert listed == set(MUTANTS)


def test_named_faults_exist() -> None:
    """What the table says the torture test does is one of its faults."""
    table = TEXT[TEXT.index("## 5. Faults") :]
    rows = [line for line in table.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == 35
    named = {name for row in rows for name in re.findall(r'"([a-z ]+)"', row)}
    assert named <= {fault.name for fault in FAULTS}
