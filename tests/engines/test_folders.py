"""Knowing one engine is knowing them all: each folder holds the same files and has a twin of tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {"__init__.py", "model.py", "paths.py", "logic.py", "store.py"}
ENGINES = sorted(p.name for p in (ROOT / "engines").iterdir() if p.is_dir() and p.name not in {"common", "__pycache__"})


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_folder_has_every_file(engine: str) -> None:
    """No file of the five is missing, and each opens with a docstring that says its purpose."""
    present = {p.name for p in (ROOT / "engines" / engine).glob("*.py")}
    assert not FILES - present, f"engines/{engine}/ lacks {sorted(FILES - present)}"
    for name in FILES:
        assert (ROOT / "engines" / engine / name).read_text().startswith('"""'), f"engines/{engine}/{name}"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_has_a_twin_of_tests(engine: str) -> None:
    """tests/engines/<engine>/ tests at least the paths."""
    assert (ROOT / "tests" / "engines" / engine / "test_paths.py").exists()
