"""docs/concepts: the commands of each page run as they stand there, in a shell, one page after the other."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.processes.cluster import ROOT, Node, clean_environment

pytestmark = pytest.mark.processes

PAGES: Final = ("tokens", "policies", "leases", "wrapping")


def script_of(page: str) -> str:
    """The lines behind `$ ` and `> ` in the page's ```console blocks."""
    text = (ROOT / "docs/concepts" / f"{page}.md").read_text()
    blocks = [block.split("```", 1)[0] for block in text.split("```console\n")[1:]]
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 5
    assert all(line.startswith(("$ ", "> ")) for line in lines), lines
    return "\n".join(line[2:] for line in lines)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(dev: Node, tmp_path: Path, page: str) -> None:
    """Each command succeeds, in order."""
    program = tmp_path / "strongroom"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m node "$@"\n')
    program.chmod(0o700)
    environment = {
        **clean_environment(),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "VAULT_ADDR": dev.address,
        "VAULT_TOKEN": "root",
    }
    script = f"set -euo pipefail\n{script_of(page)}\n"
    done = subprocess.run(["bash", "-x"], input=script, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
