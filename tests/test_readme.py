"""README's commands do what README says they do.

A fenced block of language `console` holds commands (`$ `, continued with `> `) and what they print. A `…` there stands
for anything; `(exit code N)` after the output says that the command fails so. Commands without output print what they
like, and must succeed.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.local_cluster import LocalCluster, three_ports
from tests.processes.cluster import ROOT, clean_environment

pytestmark = pytest.mark.processes

BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", re.MULTILINE)
EXIT_CODE: Final = re.compile(r"^\(exit code (\d+)\)\n", re.MULTILINE)
MARK: Final = "---- readme ----"


@dataclass(frozen=True)
class Step:
    """One command and what README shows of its output."""

    command: str
    expected: str
    code: int


def blocks() -> list[str]:
    return BLOCK.findall((ROOT / "README.md").read_text())


def steps(block: str) -> list[Step]:
    found = []
    for command, expected in COMMAND.findall(block):
        code = EXIT_CODE.search(expected)
        typed = re.sub(r"^> ", "", command, flags=re.MULTILINE)
        found.append(Step(typed, EXIT_CODE.sub("", expected).strip(), int(code[1]) if code else 0))
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether the output is what README shows, up to its `…` and to space at the ends of lines."""
    words = [re.escape(part) for part in _trimmed(expected).split("…")]
    return re.fullmatch(".*".join(words), _trimmed(printed), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if line.strip())


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """What `make up` starts, in a folder and on ports of its own."""
    with LocalCluster.started(tmp_path_factory.mktemp("readme")) as running:
        yield running


def test_the_first_screen_holds(local: LocalCluster) -> None:
    """`make up` prints what README shows, on other ports."""
    shown = local.in_place_of_readme(blocks()[0].removeprefix("$ make up\n"))
    # The widths of the table's columns follow the ports' digits.
    assert matches(_narrow(shown), _narrow(local.output)), local.output


def _narrow(text: str) -> str:
    return re.sub(r"-{3,}", "---", re.sub(r" {2,}", "  ", text))


def test_the_walkthrough_holds(local: LocalCluster, tmp_path: Path) -> None:
    """Every command after the first block runs, in the order of the page, in one shell, and prints what is shown."""
    page = [step for block in blocks()[1:] for step in steps(local.in_place_of_readme(block))]
    dev, a, b = three_ports()
    own_ports = {"8300": f"{dev}", "8310": f"{a}", "8311": f"{a + 1}", "8320": f"{b}", "8321": f"{b + 1}"}

    def placed(text: str) -> str:
        text = text.replace("$PWD/.venv", str(ROOT / ".venv"))
        return re.sub("|".join(own_ports), lambda port: own_ports[port[0]], text)

    script = "".join(f"echo '{MARK}'\n{placed(step.command)}printf '\\n%s\\n' \"{MARK} $?\"\n" for step in page)
    printed = run(script, tmp_path)
    outcomes = re.findall(rf"^{MARK}\n(.*?)^{MARK} (\d+)$", printed, re.MULTILINE | re.DOTALL)
    assert len(outcomes) == len(page), printed[-2000:]
    for step, (output, code) in zip(page, outcomes, strict=True):
        assert int(code) == step.code, f"{step.command}{output}"
        if step.expected:
            expected = placed(step.expected)
            assert matches(_narrow(expected), _narrow(output)), f"{step.command}{output}"


def run(script: str, folder: Path) -> str:
    """What bash prints for the script. Ends whatever the script left running."""
    file, output = folder / "readme.sh", folder / "readme.out"
    file.write_text(script)
    with output.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", str(file)],
            cwd=folder,
            env={**clean_environment(), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(90)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    return output.read_text(errors="replace")


def test_the_commands_exist() -> None:
    """What README calls with make is in the Makefile, and the files it names are there."""
    page = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?= {2,}|`)", page)) <= targets
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / link).exists(), link
