"""docs/operations/key-ceremonies.md, command by command, on one node and with the keys of three people."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.node.ceremonies.kit import Person, people
from tests.processes.cluster import ROOT, Node, clean_environment, make_cluster

pytestmark = pytest.mark.processes

TEXT: Final = (ROOT / "docs/operations/key-ceremonies.md").read_text()
BLOCK: Final = re.compile(r"^```console (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Shell:
    """Runs the blocks of the page. `facts` are the variables it tells of."""

    folder: Path
    node: Node
    facts: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def __call__(self, block: str) -> str:
        """Run a block, each command of which must succeed; what it prints."""
        lines = dict(BLOCK.findall(TEXT))[block].splitlines()
        assert lines and all(line.startswith(("$ ", "> ")) for line in lines)
        environment = {
            **clean_environment(),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "VAULT_ADDR": self.node.address,
            **self.facts,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(line[2:] for line in lines)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        self.done.append(block)
        return done.stdout


def row(printed: str, name: str) -> str:
    """The last value of this name in the tables that were printed."""
    return str(re.findall(rf"^{name}\s+(\S+)$", printed, re.MULTILINE)[-1])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A server that is not initialised, and a folder with the program."""
    made = make_cluster(tmp_path, 1, seal="")
    program = tmp_path / "strongroom"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m node "$@"\n')
    program.chmod(0o700)
    try:
        made[0].start()
        yield Shell(tmp_path, made[0])
    finally:
        made.stop()


def handed_out(printed: str, pattern: str, holders: list[Person]) -> list[str]:
    """The shares, each read by its holder."""
    messages = re.findall(pattern, printed, re.MULTILINE)
    return [holder.reads(message) for holder, message in zip(holders, messages, strict=True)]


def test_the_page_as_it_stands(shell: Shell) -> None:
    """Every command of the page succeeds, in its order, and does what the page says it does."""
    holders = people(3)
    for name, holder in zip(("alice", "bob", "carol"), holders, strict=True):
        (shell.folder / f"{name}.pgp").write_bytes(bytes(holder.key.extract_certificate()))
    facts = shell.facts

    printed = shell("init")
    shares = handed_out(printed, r"^Unseal Key \d: (\S+)$", holders)
    facts.update({f"SHARE_{number}": share for number, share in enumerate(shares, start=1)})
    facts["VAULT_TOKEN"] = holders[0].reads(re.findall(r"^Initial Root Token: (\S+)$", printed, re.MULTILINE)[0])
    assert re.findall(r"^Sealed +(\w+)$", shell("unseal"), re.MULTILINE) == ["true", "false"]

    printed = shell("rekey-begin")
    assert holders[1].fingerprint in printed and row(printed, "Verification Required") == "true"
    facts["NONCE"] = row(printed, "Nonce")
    printed = shell("rekey")
    assert "The old key shares stay in use until the new ones have been verified" in printed
    new = handed_out(printed, r"^Key \d fingerprint: \w+; value: (\S+)$", holders)
    facts.update({f"NEW_SHARE_{number}": share for number, share in enumerate(new, start=1)})
    facts["VERIFICATION_NONCE"] = re.findall(r"-verify -nonce=(\S+)", printed)[0]
    printed = shell("rekey-verify")
    assert row(printed, "Verification Progress") == "1/2"
    assert "Success! Rekey verified: the new key shares are in use" in printed
    assert shell.node.call("GET", "sys/seal-status").json["sealed"] is False

    _keep_a_backup(shell.node, holders, new, facts)
    printed = shell("backup")
    assert holders[0].fingerprint in printed

    printed = shell("generate-begin")
    facts["NONCE"], facts["OTP"] = row(printed, "Nonce"), row(printed, "OTP")
    facts["ENCODED_TOKEN"] = row(shell("generate"), "Encoded Token")
    token = shell("decode")
    found = shell.node.call("GET", "auth/token/lookup-self", token=token)
    assert found.json["data"]["policies"] == ["root"]

    printed = shell("rotate")
    assert re.findall(r"^Key Term +(\d)$", printed, re.MULTILINE) == ["1", "2"]
    assert row(printed, "interval") == "2160h0m0s"
    assert shell.done == [name for name, _ in BLOCK.findall(TEXT)], "every block, in the order of the page"


def _keep_a_backup(node: Node, holders: list[Person], shares: list[str], facts: dict[str, str]) -> None:
    """A rekey with -backup, which the page tells of in a sentence; the shares in force are replaced."""
    body = {
        "secret_shares": 3,
        "secret_threshold": 2,
        "pgp_keys": [holder.public for holder in holders],
        "backup": True,
    }
    nonce = node.call("POST", "sys/rekey/init", body).json["nonce"]
    for share in shares[:2]:
        answer = node.call("POST", "sys/rekey/update", {"key": share, "nonce": nonce}).json
    for number, (holder, message) in enumerate(zip(holders, answer["keys_base64"], strict=True), start=1):
        facts[f"NEW_SHARE_{number}"] = holder.reads(message)
