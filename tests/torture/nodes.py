"""Three nodes to torture: on loopback addresses, or each in a network namespace of its own.

Needs nothing for loopback. With root: namespaces, and a small disk for one node.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.processes.cluster import ROOT, STATIC_KEY, Cluster, Node, clean_environment, free_ports, wait_until
from tests.processes.cluster import call as http_call
from tests.torture.network import Network, network, why_not

SMALL_DISK: Final = "256m"
TRAILING_LOGS: Final = 100  # so that a node that was away for a moment needs a snapshot
VERSIONS_KEPT: Final = 1000  # every one: checks.every_version reads them
BALLAST: Final = "ballast"


@dataclass
class TortureNode(Node):
    """A node at an address of its own, started by a program that the test chooses."""

    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()  # that starts a program in the node's network namespace
    program: tuple[str, ...] = (sys.executable, "-m", "node")
    has_small_disk: bool = False
    exits: list[int] = field(default_factory=list)  # of the lives that ended by themselves

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.api_port}"

    @property
    def disk_orders(self) -> Path:
        """The file in which bent_machine.c looks for what to do."""
        return self.folder / f"{self.name}.disk"

    def launch(self, before: Any = None) -> None:
        """As Node.launch."""
        file = self.folder / f"{self.name}.hcl"
        file.write_text(self.config)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.program, "server", f"-config={file}"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**clean_environment(), **self.environment},
                preexec_fn=before,
            )

    def call(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """One request to this node."""
        return http_call(self.address, method, path, body, **options)

    def ended(self) -> bool:
        """Whether the process has ended by itself; notes its exit code once."""
        if self.process is None or self.process.poll() is None:
            return False
        self.exits.append(self.process.returncode)
        self.process = None
        return True

    def order_disk(self, order: str) -> None:
        """Tell the disk how to behave: milliseconds that each sync takes, or an errno's number behind "e"."""
        self.disk_orders.write_text(order)

    @property
    def clock_orders(self) -> Path:
        """The file in which bent_machine.c looks for what the wall clock shows."""
        return self.folder / f"{self.name}.clock"

    def set_clock(self, ahead_s: int) -> None:
        """Let the wall clock be so far ahead of the true one, from now on and over restarts."""
        self.clock_orders.write_text(f"{ahead_s}")

    def fill_disk(self) -> None:
        """Take all that is left of the small disk."""
        assert self.has_small_disk
        try:
            with (self.data / BALLAST).open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free_disk(self) -> None:
        """Give it back."""
        (self.data / BALLAST).unlink(missing_ok=True)


def config_of(node: TortureNode, others: Sequence[TortureNode]) -> str:
    """The configuration of a node that unseals by itself and joins any of the others."""
    joins = "".join(f'  retry_join {{ leader_api_addr = "{other.address}" }}\n' for other in others)
    return (
        f'storage "raft" {{\n  path = "{node.data}"\n  node_id = "{node.name}"\n  trailing_logs = {TRAILING_LOGS}\n'
        f"{joins}}}\n"
        f'listener "tcp" {{\n  address = "{node.host}:{node.api_port}"\n'
        f'  cluster_address = "{node.host}:{node.cluster_port}"\n  tls_disable = true\n}}\n'
        f'seal "static" {{\n  current_key_id = "test"\n  current_key = "{STATIC_KEY}"\n}}\n'
        f'api_addr = "{node.address}"\ncluster_addr = "https://{node.host}:{node.cluster_port}"\n'
    )


def bent_machine_library(folder: Path) -> Path | None:
    """Compile bent_machine.c; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "bent_machine.so"
    source = Path(__file__).with_name("bent_machine.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of limited size at this folder. Needs root."""
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@dataclass
class Bench:
    """A running cluster, and what can be done to it on this machine."""

    cluster: Cluster
    nodes: list[TortureNode]
    network: Network | None
    network_missing: str  # why there is none
    has_library: bool

    def leader(self) -> TortureNode | None:
        """The node that says it is active."""
        return next((node for node in self.nodes if node is self.cluster.leader()), None)

    def wait_leader(self) -> TortureNode:
        """The active node, once there is one."""
        found: TortureNode = wait_until(self.leader, "a node is active")
        return found


@contextmanager
def bench(folder: Path, *, program: tuple[str, ...] | None = None, isolated: bool = True) -> Iterator[Bench]:
    """Three initialised nodes with KV version 2 at secret/. Everything that was made is gone at the end."""
    missing = why_not() if isolated else "not asked for"
    with ExitStack() as stack:
        net = stack.enter_context(network(3)) if not missing else None
        library = bent_machine_library(folder)
        ports = free_ports(6)
        nodes = []
        for i in range(3):
            name = f"n{i + 1}"
            host = net.hosts[i] if net else "127.0.0.1"
            node = TortureNode(name, folder, ports[2 * i], ports[2 * i + 1], "", host=host)
            node.prefix = net.prefix(i) if net else ()
            node.program = program or node.program
            if library is not None:
                node.environment = {
                    "LD_PRELOAD": str(library),
                    "SLOW_DISK_ORDERS": str(node.disk_orders),
                    "WRONG_CLOCK_ORDERS": str(node.clock_orders),
                }
                node.order_disk("0")
                node.set_clock(0)
            nodes.append(node)
        for node in nodes:
            node.config = config_of(node, [other for other in nodes if other is not node])
        if os.geteuid() == 0:
            nodes[-1].has_small_disk = True
            stack.enter_context(small_disk(nodes[-1].data))
        cluster = Cluster(list(nodes))
        stack.callback(cluster.stop)
        set_up(cluster)
        yield Bench(cluster, nodes, net, missing, library is not None)


def set_up(cluster: Cluster) -> None:
    """Start, initialise and join."""
    for node in cluster.nodes:
        node.launch()
    wait_until(cluster[0].answers, "n1 answers")
    init = cluster[0].call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).json
    cluster.root_token = init["root_token"]
    wait_until(lambda: len(cluster.peers()) == len(cluster.nodes), "all nodes have joined")
    wait_until(lambda: all(n.call("GET", "sys/health").status in (200, 429) for n in cluster.nodes), "all are unsealed")
    reply = cluster.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    assert reply.status == 204, reply.body
    reply = cluster.call("POST", "secret/config", {"max_versions": VERSIONS_KEPT})
    assert reply.status in (200, 204), reply.body
    write = {"data": {"value": "ready"}}
    wait_until(lambda: cluster.call("POST", "secret/data/ready", write).status == 200, "the mount takes writes")
