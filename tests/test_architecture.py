"""docs/ARCHITECTURE.md is true: the parts import what its table says, and the files it names are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| .* \| (none|`.*`) \|$", re.MULTILINE)
ROWS = [(part, set(re.findall(r"`(\w+)`", imports))) for part, imports in ROW.findall(TEXT)]
PARTS = {part for part, _ in ROWS} | {"tests", "benchmarks"}


def modules_imported(file: Path) -> set[str]:
    """Full names of what the file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def parts_imported(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in modules_imported(file)} & PARTS


@pytest.mark.parametrize(("part", "may"), ROWS)
def test_imports_follow_the_map(part: str, may: set[str]) -> None:
    """A part imports exactly the parts its row names: a permission nobody uses leaves the map."""
    files = list((ROOT / part).rglob("*.py"))
    assert {name for file in files for name in parts_imported(file)} - {part} == may


def test_every_part_is_on_the_map() -> None:
    """Whatever folder holds Python is in the table, but for the tests and the benchmarks."""
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[a-z]*/**/*.py")}
    assert folders == PARTS


def test_the_command_line_does_not_load_the_node() -> None:
    """Of ours, node/cli imports the version, and the parser that `policy fmt` needs: a command starts within 150 ms."""
    imported = {name for file in (ROOT / "node/cli").rglob("*.py") for name in modules_imported(file)}
    ours = {name for name in imported if name.partition(".")[0] in PARTS}
    assert {name for name in ours if not name.startswith("node.cli")} == {"node.version", "engines.common.hcl"}


def test_private_names_of_the_consensus_engine_stay_in_one_file() -> None:
    """PySyncObj's own modules are reached through cluster/pysyncobj_seams.py (decision 0001)."""
    files = {
        str(file.relative_to(ROOT))
        for part in ("cluster", "node", "engines")
        for file in (ROOT / part).rglob("*.py")
        if any(name.startswith("pysyncobj.syncobj") for name in modules_imported(file))
    }
    assert files == {"cluster/pysyncobj_seams.py"}


def test_engines_import_no_other_engine() -> None:
    """An engine uses itself and engines/common, nothing else of ours."""
    for folder in (ROOT / "engines").iterdir():
        for file in folder.rglob("*.py"):
            ours = {name for name in modules_imported(file) if name.startswith("engines.")}
            others = {name.split(".")[1] for name in ours} - {folder.name, "common"}
            assert not others, f"{file} imports {others}"


def test_the_files_it_names_exist() -> None:
    """Every path in code is one of this tree."""
    named = set(re.findall(r"`((?:cluster|node|engines|deploy|docs|tests)/[\w./]*)`", TEXT))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
