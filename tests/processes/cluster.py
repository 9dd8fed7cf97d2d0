"""Real server processes for tests: dev mode, one node, or a cluster, on free ports of 127.0.0.1.

A wait is for a condition, with a generous bound; nothing here sleeps to let something happen.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

WAIT_S: Final = 60.0
ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = (sys.executable, "-m", "node")


# Below what the system hands out to outgoing connections, which would take a port between here and its server's start.
_PORTS: Final = range(12_000, 32_000)
_WORKERS_MAX: Final = 8


def _own_ports() -> Iterator[int]:
    """Ports of this test process alone, round and round: those that run beside it have others (pytest-xdist)."""
    share = len(_PORTS) // _WORKERS_MAX
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS_MAX
    mine = _PORTS[worker * share : (worker + 1) * share]
    start = os.getpid() * 97 % share  # so that two runs on one machine seldom meet
    while True:
        yield from mine[start:]
        yield from mine[:start]


_candidates: Final = _own_ports()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, and that no other call gives out for a while."""
    found: list[int] = []
    while len(found) < count:
        port = next(_candidates)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def wait_until(condition: Callable[[], Any], what: str, seconds: float = WAIT_S) -> Any:
    """The condition's first true value. Fails the test, naming what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s: {what}")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The decoded body; None without one."""
        return json.loads(self.body) if self.body else None


def call(
    address: str,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str = "",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Reply:
    """One request to /v1/<path>; any status is an answer. Raises OSError when there is none."""
    request = urllib.request.Request(f"{address}/v1/{path}", method=method)
    for name, value in {**({"X-Vault-Token": token} if token else {}), **(headers or {})}.items():
        request.add_header(name, value)
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=timeout_s) as answer:
            return Reply(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(), dict(error.headers))


@dataclass
class Node:
    """One server process and its files. `config` is the text of its configuration file, `program` what is started."""

    name: str
    folder: Path
    api_port: int
    cluster_port: int
    config: str
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = PROGRAM
    data_folder: Path | None = None

    @property
    def address(self) -> str:
        """The API's URL."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def data(self) -> Path:
        """The data folder: `data_folder`, or one beside the log."""
        return self.data_folder or self.folder / self.name

    @property
    def log(self) -> str:
        """Everything that the process has printed, over all its lives."""
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the process; returns once its API answers."""
        self.launch()
        wait_until(self.answers, f"{self.name} answers; its log ends with: {self.log[-2000:]}")

    def launch(self, before: Callable[[], None] | None = None) -> None:
        """Start the process and do not wait. `before` runs in it ahead of the program."""
        file = self.folder / f"{self.name}.hcl"
        file.write_text(self.config)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "server", f"-config={file}"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**clean_environment(), **self.environment},
                preexec_fn=before,
            )

    def refuses(self) -> str:
        """Start the process, which must end by itself with exit code 1 and one error for the operator: that line."""
        already = len(self.log)
        self.launch()
        assert self.process is not None
        code = self.process.wait(WAIT_S)
        self.process = None
        said = self.log[already:]
        assert code == 1 and "Traceback" not in said, f"{code}: {said}"
        errors = [line for line in said.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1 and said.rstrip().endswith(errors[0]), said
        return errors[0]

    def answers(self) -> bool:
        """Whether the API answers now. Fails at once when the process has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.log[-2000:]}")
        try:
            return self.call("GET", "sys/seal-status").status == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: object = None, **options: Any) -> Reply:
        """One request to this node."""
        return call(self.address, method, path, body, **options)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
        return process.wait(WAIT_S)


def clean_environment() -> dict[str, str]:
    """The environment without anything that would configure a server or a client."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "STRONGROOM_"))}


STATIC_KEY: Final = b64encode(bytes(range(32))).decode()


def node_config(folder: Path, name: str, api: int, cluster: int, *, joins: Sequence[int] = (), seal: str = "") -> str:
    """The configuration of one node. `seal` "static" unseals by itself; "" takes key shares."""
    blocks = "".join(f'  retry_join {{ leader_api_addr = "http://127.0.0.1:{port}" }}\n' for port in joins)
    seal_block = f'seal "static" {{\n  current_key_id = "test"\n  current_key = "{STATIC_KEY}"\n}}\n' if seal else ""
    return (
        f'storage "raft" {{\n  path = "{folder / name}"\n  node_id = "{name}"\n{blocks}}}\n'
        f'listener "tcp" {{\n  address = "127.0.0.1:{api}"\n'
        f'  cluster_address = "127.0.0.1:{cluster}"\n  tls_disable = true\n}}\n'
        f'{seal_block}api_addr = "http://127.0.0.1:{api}"\ncluster_addr = "https://127.0.0.1:{cluster}"\n'
    )


@dataclass
class Cluster:
    """Nodes n1, n2, n3, ... of one cluster."""

    nodes: list[Node]
    root_token: str = ""
    keys: tuple[str, ...] = ()

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def running(self) -> list[Node]:
        """The nodes whose process has not been ended by the test."""
        return [node for node in self.nodes if node.process is not None]

    def leader(self) -> Node | None:
        """The node that says it is active."""
        for node in self.running():
            try:
                if node.call("GET", "sys/health", timeout_s=5).status == 200:
                    return node
            except OSError:
                continue
        return None

    def wait_leader(self, seconds: float = WAIT_S) -> Node:
        """The active node, once there is one."""
        found: Node = wait_until(self.leader, "a node is active", seconds)
        return found

    def call(self, method: str, path: str, body: object = None, **options: Any) -> Reply:
        """One request to the active node, with the root token unless told otherwise."""
        options.setdefault("token", self.root_token)
        return self.wait_leader().call(method, path, body, **options)

    def peers(self) -> list[dict[str, Any]]:
        """The Raft peers as the active node lists them."""
        servers: list[dict[str, Any]] = self.call("GET", "sys/storage/raft/configuration").json["data"]["config"][
            "servers"
        ]
        return servers

    def wait_applied(self) -> None:
        """Wait until every running node has applied what the leader has committed."""

        def same() -> bool:
            indexes = {node.call("GET", "sys/leader").json.get("raft_applied_index") for node in self.running()}
            return len(indexes) == 1

        wait_until(same, "all nodes have applied the same index")

    def stop(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.kill()


def make_cluster(folder: Path, size: int = 3, *, seal: str = "static") -> Cluster:
    """Nodes that are configured and not started; with `seal` "static" the others join n1 by themselves."""
    ports = free_ports(2 * size)
    nodes = []
    for i in range(size):
        name, api, cluster = f"n{i + 1}", ports[2 * i], ports[2 * i + 1]
        joins = [ports[2 * j] for j in range(size) if j != i]
        nodes.append(Node(name, folder, api, cluster, node_config(folder, name, api, cluster, joins=joins, seal=seal)))
    return Cluster(nodes)


@contextmanager
def single(folder: Path) -> Iterator[Cluster]:
    """A running cluster of one auto-unsealed node, with KV version 2 at secret/."""
    with cluster(folder, 1) as one:
        yield one


@contextmanager
def cluster(folder: Path, size: int = 3, *, prepare: Callable[[Node], None] = lambda node: None) -> Iterator[Cluster]:
    """A running cluster of auto-unsealed nodes, initialised, with KV version 2 at secret/."""
    made = make_cluster(folder, size)
    for node in made.nodes:
        prepare(node)
    with initialized(made):
        reply = made.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        assert reply.status == 204, reply.body
        yield made


@contextmanager
def initialized(made: Cluster) -> Iterator[Cluster]:
    """A running, initialised cluster of these nodes, which unseal by themselves. One recovery key share."""
    try:
        for node in made.nodes:
            node.launch()
        wait_until(made[0].answers, "n1 answers")
        reply = made[0].call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1})
        assert reply.status == 200, reply.body
        init = reply.json
        made.root_token = init["root_token"]
        made.keys = tuple(init["recovery_keys_base64"])
        wait_until(lambda: len(made.peers()) == len(made.nodes), "all nodes have joined")
        wait_until(
            lambda: all(n.call("GET", "sys/health").status in (200, 429) for n in made.nodes), "all are unsealed"
        )
        yield made
    finally:
        made.stop()


@contextmanager
def dev_server(folder: Path, root_token: str = "root") -> Iterator[Node]:
    """A server in dev mode."""
    (port,) = free_ports(1)
    node = Node("dev", folder, port, 0, "")
    with (folder / "dev.log").open("ab") as log:
        node.process = subprocess.Popen(
            [
                *PROGRAM,
                "server",
                "-dev",
                f"-dev-root-token-id={root_token}",
                f"-dev-listen-address=127.0.0.1:{port}",
                "-dev-no-store-token",
            ],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
        )
    try:
        # It listens a moment before it has initialised itself.
        wait_until(
            lambda: node.answers() and node.call("GET", "sys/health").status == 200, "the dev server is unsealed"
        )
        yield node
    finally:
        node.kill()
