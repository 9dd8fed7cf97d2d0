"""The commands that a document shows, to be run as they stand there."""

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.processes.cluster import PROGRAM, ROOT, clean_environment


def commands_of(document: str) -> list[list[str]]:
    """The words after `$ strongroom` in the document's ```console blocks, line by line."""
    text = (ROOT / "docs" / document).read_text()
    blocks = [block.split("```", 1)[0] for block in text.split("```console\n")[1:]]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert all(line.startswith("$ strongroom ") for line in lines), lines
    return [shlex.split(line.removeprefix("$ strongroom ")) for line in lines]


def block_of(document: str, name: str) -> str:
    """The commands of the document's block that begins with ```sh NAME."""
    found = re.search(rf"^```sh {name}\n(.*?)^```$", (ROOT / "docs" / document).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def variables_of(document: str) -> set[str]:
    """What the document's `env` block tells the reader to set."""
    return set(re.findall(r"^(?:export )?([A-Z_]+)=", block_of(document, "env"), re.MULTILINE))


def run_block(commands: str, variables: Mapping[str, str], folder: Path) -> str:
    """Run commands of a document in a shell that has the program as `strongroom`; what they print."""
    program = f'strongroom() {{ {shlex.join(PROGRAM)} "$@"; }}\n'
    done = subprocess.run(
        ["/bin/bash", "-euc", program + commands],
        env={**clean_environment(), **variables, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (commands, done.stdout, done.stderr)
    return done.stdout
