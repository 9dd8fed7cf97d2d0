"""deploy/compose for real: podman, podman-compose, and images that are built here from Debian's packages.

Nothing is pulled, so that it runs behind any proxy: debootstrap makes the base image, and pip installs from a folder
of wheels that this machine's own pip has fetched.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.processes.cluster import ROOT, Reply, call, free_ports, wait_until

COMPOSE: Final = ROOT / "deploy" / "compose"
BASE_IMAGE: Final = "localhost/strongroom-test-base"
PACKAGES: Final = "python3,python3-venv,ca-certificates,prometheus"
PROGRAMS: Final = ("podman", "debootstrap", "runc")
BUILD_TIMEOUT_S: Final = 900
UP_ATTEMPTS: Final = 3
NAMES_WITHIN_S: Final = 20.0


def missing() -> str:
    """Why containers cannot run here; "" when they can."""
    if os.geteuid() != 0:
        return "containers are built as root here"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return (
        f"not installed: {', '.join(absent)} (Debian's packages of these names, netavark, aardvark-dns)"
        if absent
        else ""
    )


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a command that must succeed; its standard output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@dataclass
class Stack:
    """One compose project."""

    project: str
    folder: Path
    environment: dict[str, str]
    ports: tuple[int, ...]
    prometheus_port: int
    root_token: str = field(default="", repr=False)

    def compose(self, *words: str, image: str = "") -> str:
        """podman-compose with the project's environment; `image` is that of the nodes."""
        extra = {"STRONGROOM_IMAGE": image} if image else {}
        command = (sys.executable, "-m", "podman_compose", "--project-name", self.project)
        return run(*command, *words, env={**self.environment, **extra}, cwd=COMPOSE)

    def up(self, *services: str) -> None:
        """Start these services in containers of their own.

        Debian 12's aardvark-dns sometimes answers nobody after a network was made on a busy machine; then both are
        made anew, since nothing of ours could find another node.
        """
        for _ in range(UP_ATTEMPTS):
            self.compose("up", "--detach", "--no-build", *services)
            if self._names_resolve([name for name in services if name.startswith("node-")]):
                return
            self.compose("down")
        raise AssertionError("the containers cannot resolve each other's names")

    def _names_resolve(self, names: Sequence[str]) -> bool:
        deadline = time.monotonic() + NAMES_WITHIN_S
        asked = [(node, other) for node in names for other in names if node != other]
        while asked and time.monotonic() < deadline:
            asked = [(node, other) for node, other in asked if not self._resolves(node, other)]
        return not asked

    def _resolves(self, node: str, name: str) -> bool:
        command = ("podman", "exec", self.container(node), "getent", "hosts", name)
        return subprocess.run(command, env={**os.environ, **self.environment}, check=False).returncode == 0

    def podman(self, *words: str) -> str:
        """podman, whatever runtime it takes by itself."""
        return run("podman", *words, env=self.environment)

    def container(self, service: str) -> str:
        """The container of a service."""
        return f"{self.project}_{service}_1"

    def exec(self, service: str, *words: str) -> str:
        """A command inside of it."""
        return self.podman("exec", self.container(service), *words)

    def call(self, index: int, method: str, path: str, body: object = None, **options: Any) -> Reply:
        """One request to node-<index + 1> through its published port."""
        options.setdefault("token", self.root_token)
        return call(f"http://127.0.0.1:{self.ports[index]}", method, path, body, **options)

    def status(self, index: int) -> int:
        """What sys/health says; 0 when nobody answers."""
        try:
            return self.call(index, "GET", "sys/health", token="", timeout_s=5).status
        except OSError:
            return 0

    def leader(self) -> int | None:
        """The index of the active node."""
        return next((index for index in range(len(self.ports)) if self.status(index) == 200), None)

    def wait_leader(self) -> int:
        """The same, once there is one."""
        wait_until(lambda: self.leader() is not None, "a node is active", 60)
        found = self.leader()
        return self.wait_leader() if found is None else found

    def initialize(self) -> None:
        """As the README says, and wait until all three are unsealed members."""
        wait_until(lambda: self.status(0) == 501, "node-1 answers and is not initialised", 120)
        init = self.exec(
            "node-1", "strongroom", "operator", "init", "-format=json", "-recovery-shares=5", "-recovery-threshold=3"
        )
        self.root_token = json.loads(init)["root_token"]
        wait_until(lambda: self.all_serve() and len(self.voters()) == len(self.ports), "all have joined", 120)

    def all_serve(self) -> bool:
        """Whether one is active and the others stand by."""
        return sorted(self.status(index) for index in range(len(self.ports))) == [200, 429, 429]

    def voters(self) -> Sequence[str]:
        """The members that vote."""
        reply = self.call(self.wait_leader(), "GET", "sys/storage/raft/configuration")
        if reply.status != 200:
            return ()
        return [each["node_id"] for each in reply.json["data"]["config"]["servers"] if each["voter"]]


def base_image(folder: Path, env: Mapping[str, str]) -> None:
    """Debian with Python, unless there is one from an earlier run."""
    found = subprocess.run(["podman", "image", "exists", BASE_IMAGE], check=False, env={**os.environ, **env})
    if found.returncode == 0:
        return
    root = folder / "base"
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
    archive = folder / "base.tar"
    run("tar", "--directory", root, "--create", "--file", archive, ".")
    run("podman", "import", archive, BASE_IMAGE, env=env)
    shutil.rmtree(root)
    archive.unlink()


def wheels(folder: Path) -> Path:
    """All that the image's pip needs, fetched by the pip of this machine with its own settings."""
    target = folder / "wheels"
    pip = (sys.executable, "-m", "pip")
    # The image's Python is not this one, so what a marker leaves out here may be needed there.
    lock = folder / "every.lock"
    lock.write_text(re.sub(r" ; [^\\\n]*", " ", (ROOT / "requirements.lock").read_text()))
    run(*pip, "download", "--quiet", "--no-deps", "--require-hashes", "--dest", target, "--requirement", lock)
    run(*pip, "download", "--quiet", "--dest", target, "hatchling")
    return target


def build(tag: str, wheel_folder: Path, env: Mapping[str, str], *, label: str) -> None:
    """The image of the Dockerfile."""
    run(
        *(
            "podman",
            "build",
            "--quiet",
            "--format",
            "docker",
            "--tag",
            tag,
            "--file",
            COMPOSE / "Dockerfile",
            "--label",
            f"release={label}",
        ),
        *("--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--volume", f"{wheel_folder}:/wheels:ro"),
        *("--env", "PIP_NO_INDEX=1", "--env", "PIP_FIND_LINKS=/wheels", "--ulimit", "nofile=16384:16384", ROOT),
        env=env,
    )


def runtime_settings(folder: Path) -> dict[str, str]:
    """podman with runc, whatever its configuration names."""
    file = folder / "containers.conf"
    limits = '["nofile=16384:16384", "nproc=4096:4096"]'  # what any machine has
    file.write_text(f'[engine]\nruntime = "runc"\n[containers]\ndefault_ulimits = {limits}\n')
    return {"CONTAINERS_CONF": str(file)}


@contextmanager
def stack(folder: Path, image: str, env: Mapping[str, str], services: Sequence[str]) -> Iterator[Stack]:
    """These services of compose.yaml, up; everything of the project is removed afterwards."""
    *ports, prometheus_port, grafana_port = free_ports(5)
    environment = {
        **env,
        "STRONGROOM_IMAGE": image,
        "PROMETHEUS_IMAGE": BASE_IMAGE,
        "STRONGROOM_BASE_IMAGE": BASE_IMAGE,
        "PROMETHEUS_PORT": str(prometheus_port),
        "GRAFANA_PORT": str(grafana_port),
        **{f"STRONGROOM_PORT_{i + 1}": str(port) for i, port in enumerate(ports)},
    }
    made = Stack(f"strongroom-test-{os.getpid()}", folder, environment, tuple(ports), prometheus_port)
    try:
        made.up(*services)
        yield made
    finally:
        made.compose("down", "--volumes")
