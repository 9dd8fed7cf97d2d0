"""`make up` as a test runs it: on free ports, with its data in a folder of the test."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes.cluster import ROOT, clean_environment, wait_until

LAST_LINE = "`make down` removes it."


def make(*words: str) -> list[str]:
    return ["make", "--no-print-directory", "-C", str(ROOT), *words]


def environment() -> dict[str, str]:
    """As typed by a person: without the settings of the make that runs the tests."""
    return {name: value for name, value in clean_environment().items() if not name.startswith("MAKE")}


def three_ports() -> list[int]:
    """Three free ports with a free one after each, from below those that the system hands out to clients."""
    found: list[int] = []
    while len(found) < 3:
        port = random.randrange(20_000, 32_000, 2)
        if port not in found and can_bind(port) and can_bind(port + 1):
            found.append(port)
    return found


def can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class LocalCluster:
    """A running `make up`."""

    folder: Path
    ports: list[int]
    process: subprocess.Popen[bytes]

    @property
    def data(self) -> Path:
        return self.folder / ".data"

    @property
    def output(self) -> str:
        """What it has printed in this life."""
        return (self.folder / "up.out").read_text()

    def in_place_of_readme(self, text: str) -> str:
        """README's text with this cluster's ports and folder."""
        for shown, port in zip((8200, 8210, 8220), self.ports, strict=True):
            text = text.replace(str(shown), str(port)).replace(str(shown + 1), str(port + 1))
        return text.replace(".data/", f"{self.data}/")

    def interrupt(self) -> None:
        """Ctrl-C, which reaches make and what it runs; waits for the end of both."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(60)

    @staticmethod
    def launch(folder: Path, ports: list[int]) -> "LocalCluster":
        """Start `make up` without waiting."""
        words = make("up", f"UP_DATA={folder / '.data'}", f"UP_PORTS={','.join(map(str, ports))}")
        with (folder / "up.out").open("wb") as out:
            process = subprocess.Popen(
                words,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Whoever runs the tests in the background may ignore Ctrl-C, and a child would inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return LocalCluster(folder, ports, process)

    @staticmethod
    @contextmanager
    def started(folder: Path, ports: list[int] | None = None) -> "Iterator[LocalCluster]":
        """`make up` once it says that the cluster is up; ended afterwards."""
        local = LocalCluster.launch(folder, ports or three_ports())
        try:
            wait_until(lambda: LAST_LINE in local.output or local.process.poll() is not None, "make up is up", 180)
            assert local.process.poll() is None, local.output
            yield local
        finally:
            if local.process.poll() is None:
                local.interrupt()
