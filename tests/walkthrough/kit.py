"""The command line as a person runs it: one process per command, with a home folder of its own."""

import json
import os
import re
import subprocess
import termios
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac

from tests.processes.cluster import PROGRAM, ROOT, Node, clean_environment, wait_until

ENVELOPE = {
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
    "mount_type",
}
"""The members of every answer that is not bare."""


@dataclass(frozen=True)
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, decoded."""
        return json.loads(self.out)

    @property
    def rows(self) -> dict[str, str]:
        """A table of two columns as a mapping; of several tables the later rows win."""
        lines = (re.split(r"\s{2,}", line, maxsplit=1) for line in self.out.splitlines())
        return {words[0]: words[1].strip() for words in lines if len(words) == 2}


@dataclass(frozen=True)
class Cli:
    """`strongroom` with the environment of one user."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def _environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "HOME": str(self.home), **self.environment, **(more or {})}
        return {**clean_environment(), **own}

    def at_terminal(self, typed: str, *words: str) -> tuple[Done, str]:
        """Run one command on a terminal where somebody types a line; how it ended, and what the terminal echoed."""
        ours, theirs = os.openpty()
        with open(ours, "r+b", buffering=0) as terminal:
            process = subprocess.Popen(
                [*PROGRAM, *words],
                cwd=self.home,
                env=self._environment(),
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            # Typed only once the prompt has switched the echo off, as a person would.
            wait_until(lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO, "the prompt hides what is typed")
            terminal.write(f"{typed}\n".encode())
            out, err = process.communicate(timeout=60)
            os.set_blocking(ours, False)
            echoed = terminal.read(65536) or b""
            os.close(theirs)
        return Done(process.returncode, out.decode(), err.decode()), echoed.decode()

    def __call__(self, *words: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Run one command; any exit code is an answer."""
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=self.home,
            env=self._environment(env),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *words: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Run one command that must succeed."""
        done = self(*words, stdin=stdin, env=env)
        assert done.code == 0, (words, done)
        return done

    def refused(self, *words: str, code: int = 2, stdin: str | bytes = b"", says: str = "") -> Done:
        """Run one command that must fail with this exit code, and say so on standard error."""
        done = self(*words, stdin=stdin)
        assert done.code == code, (words, done)
        assert says in done.err, (words, done)
        assert "Traceback" not in done.err
        return done


def cli_for(home: Path, address: str, token: str = "") -> Cli:
    """The command line with VAULT_ADDR and VAULT_TOKEN."""
    home.mkdir(parents=True, exist_ok=True)
    return Cli(home, {"VAULT_ADDR": address, **({"VAULT_TOKEN": token} if token else {})})


def client_for(node: Node, token: str = "") -> hvac.Client:
    """The client library, as an application uses it."""
    return hvac.Client(url=node.address, token=token, timeout=60)
