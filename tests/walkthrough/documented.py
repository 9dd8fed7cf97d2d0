"""The commands that a document shows, to be run as they stand there."""

import shlex

from tests.processes.cluster import ROOT


def commands_of(document: str) -> list[list[str]]:
    """The words after `$ strongroom` in the document's ```console blocks, line by line."""
    text = (ROOT / "docs" / document).read_text()
    blocks = [block.split("```", 1)[0] for block in text.split("```console\n")[1:]]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert all(line.startswith("$ strongroom ") for line in lines), lines
    return [shlex.split(line.removeprefix("$ strongroom ")) for line in lines]
