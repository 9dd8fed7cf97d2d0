"""docs/security.md: each test it names is there, and each test that is named after a weakness is in it."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [line for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("| ")]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(tests/[^`]+::test_[^`]+)`", row)})


@lru_cache
def names_in(file: Path) -> frozenset[str]:
    """The test functions of a file."""
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, _FUNCTIONS))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("name", NAMED)
def test_each_named_test_is_there(name: str) -> None:
    """A row that names a test which was renamed or removed says nothing."""
    file, _, test = name.partition("::")
    assert test in names_in(ROOT / file)


def test_each_row_says_why() -> None:
    """A row has a test, or one sentence that says why there is nothing to test."""
    for row in ROWS:
        weakness, _, says = row.strip("| ").partition(" | ")
        assert says and weakness
        assert says == "tests" or "::test_" in says or says.startswith("The ") or set(says) <= set("-| ")


def test_each_test_of_a_weakness_is_in_the_table() -> None:
    """A test whose name begins with its number is found from the table, by itself or by another of the same number."""
    text = "\n".join(ROWS)
    for file in (ROOT / "tests").rglob("test_*.py"):
        for test in names_in(file):
            for year, number in re.findall(r"cve_(\d{4})_(\d+)", test):
                assert f"CVE-{year}-{number}" in text, test
