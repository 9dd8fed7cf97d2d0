"""`make up` and `make down`: three nodes of one cluster on this machine. Standard library only.

up    Starts the nodes, initialises and joins them the first time, shows that they work, and runs until Ctrl-C.
down  Stops them, wherever they were started, and removes their data.

Everything is in one folder, open to its owner alone:

seal.key       the key that unseals the nodes, made the first time
root-token     the cluster's first token
init.json      what initialising printed: the recovery keys and the same token
node-N.hcl     configuration of a node, written at each start
node-N.log     what it logs
node-N/        its data
lock           held (flock) by this program and by the nodes; holds their process numbers
ports          the ports the data was made with

No secret is printed, and none is on a command line.
"""

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 60.0  # a node answers in about one second, a cluster leads in about five
STOP_S: Final = 15.0  # handing over leadership takes up to three
LOG_LINES_SHOWN: Final = 20
NO_VALUE: Final = 2  # exit code of the command line for what the server refuses or does not have


class Failed(Exception):
    """Why it does not go on, and what to do about it; for the person at the terminal."""


# -- the folder


@dataclass(frozen=True)
class Node:
    """One node: its name, its folder's folder and its ports."""

    name: str
    data: Path
    port: int

    @property
    def cluster_port(self) -> int:
        """Where the other nodes reach it."""
        return self.port + 1

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config_file(self) -> Path:
        """What the server is started with."""
        return self.data / f"{self.name}.hcl"

    @property
    def log(self) -> Path:
        """What the server logs."""
        return self.data / f"{self.name}.log"

    def config(self, others: Sequence["Node"]) -> str:
        """The text of its configuration file. The seal's key is named, not held."""
        joins = "".join(f'  retry_join {{ leader_api_addr = "{other.address}" }}\n' for other in others)
        return (
            f'storage "raft" {{\n  path    = "{self.data / self.name}"\n  node_id = "{self.name}"\n{joins}}}\n\n'
            f'listener "tcp" {{\n  address         = "127.0.0.1:{self.port}"\n'
            f'  cluster_address = "127.0.0.1:{self.cluster_port}"\n'
            "  tls_disable     = true # this machine only\n}\n\n"
            'seal "static" {\n  current_key_id = "local"\n'
            f'  current_key    = "file://{self.data / "seal.key"}"\n}}\n\n'
            f'api_addr     = "{self.address}"\ncluster_addr = "https://127.0.0.1:{self.cluster_port}"\n'
        )


def nodes_of(data: Path, ports: Sequence[int]) -> list[Node]:
    """node-1, node-2, node-3 on these ports."""
    return [Node(f"node-{number}", data, port) for number, port in enumerate(ports, 1)]


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, all of it or none."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


@contextlib.contextmanager
def locked(data: Path) -> Iterator[int]:
    """The folder, made if need be, as the only `up` that uses it. The descriptor is for the nodes to inherit."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(
                f"another `make up` is running with {data}. Use its nodes, or stop it: Ctrl-C there, or `make down`"
            ) from None
        yield fd
    finally:
        os.close(fd)


def require_same_ports(data: Path, ports: str) -> None:
    """Peers know each other by address, so a cluster keeps its ports."""
    file = data / "ports"
    if file.exists() and (before := file.read_text().strip()) != ports:
        raise Failed(f"{data} was made with the ports {before}. Use `make up UP_PORTS={before}`, or `make down` first")
    write_private(file, ports.encode())


def require_free(port: int) -> None:
    """Say who is in the way before a node's log does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Failed(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror}. Stop what listens there "
                "(`ss -ltnp` shows it), or choose other ports: make up UP_PORTS=9200,9210,9220"
            ) from None


# -- the nodes


def clean_environment() -> dict[str, str]:
    """The environment without the settings of some other server or client."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "STRONGROOM_"))}


def program() -> str:
    """The installed command beside this interpreter."""
    path = Path(sys.executable).with_name("strongroom")
    if not path.exists():
        raise Failed(f"{path} is missing. Start this with `make up`, which installs it")
    return str(path)


@dataclass
class Cluster:
    """The running nodes."""

    data: Path
    nodes: list[Node]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, lock_fd: int) -> None:
        """Start all nodes. In sessions of their own, so that Ctrl-C reaches this program only."""
        for node in self.nodes:
            write_private(node.config_file, node.config([n for n in self.nodes if n != node]).encode())
            with node.log.open("ab") as log:
                self.processes[node.name] = subprocess.Popen(
                    [program(), "server", f"-config={node.config_file}"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=clean_environment(),
                    pass_fds=[lock_fd],
                    start_new_session=True,
                )
        pids = [os.getpid(), *(process.pid for process in self.processes.values())]
        os.pwrite(lock_fd, " ".join(map(str, pids)).encode(), 0)
        os.ftruncate(lock_fd, len(" ".join(map(str, pids))))

    def require_alive(self) -> None:
        """Raises Failed with the end of its log when a node has ended."""
        for node in self.nodes:
            code = self.processes[node.name].poll()
            if code is not None:
                raise Failed(f"{node.name} has ended with code {code}. The end of {node.log}:\n{end_of(node.log)}")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it holds. Raises Failed when a node ends, or when it takes too long."""
        deadline = time.monotonic() + START_S
        while not condition():
            self.require_alive()
            if time.monotonic() > deadline:
                raise Failed(f"{what} took more than {START_S:.0f} s. The logs are in {self.data}/node-*.log")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the nodes and wait for their end."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S
        for name, process in self.processes.items():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                print(f"{name} did not stop in {STOP_S:.0f} s and is killed. Nothing that it confirmed is lost.")
                process.kill()
                process.wait()


def end_of(log: Path) -> str:
    """The last lines of a log."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    return "\n".join(f"    {line}" for line in lines)


def asked(node: Node, path: str) -> Any:
    """The JSON body of GET /v1/<path>; None while the node does not answer."""
    try:
        with urllib.request.urlopen(f"{node.address}/v1/{path}", timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def health(node: Node) -> int:
    """The status of sys/health: 200 active, 429 standby, 501 not initialised, 503 sealed; 0 without an answer."""
    try:
        with urllib.request.urlopen(f"{node.address}/v1/sys/health", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def is_whole(nodes: Sequence[Node]) -> bool:
    """Whether one node is active and all others are its standbys."""
    return sorted(map(health, nodes)) == [200] + [429] * (len(nodes) - 1)


def command(node: Node, *words: str, token: str = "", show: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line against a node; `show` prints what a person would have typed, and its answer."""
    done = subprocess.run(
        [program(), *words],
        env={**clean_environment(), "VAULT_ADDR": node.address, **({"VAULT_TOKEN": token} if token else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if show and done.returncode == 0:
        print(f"\n$ VAULT_ADDR={node.address} strongroom {shlex.join(words)}\n{done.stdout.rstrip()}")
    return done


def require_done(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed. Raises Failed with its error."""
    if done.returncode != 0:
        raise Failed(f"`strongroom {shlex.join(done.args[1:])}` failed: {done.stderr.strip()}")
    return done.stdout


# -- up


class Progress:
    """One line per step, with the seconds since the start."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start_s:5.1f} s] {text}", flush=True)


def up(data: Path, ports: Sequence[int]) -> int:
    """Run the cluster until Ctrl-C or SIGTERM. Raises Failed."""
    nodes = nodes_of(data, ports)
    say = Progress()
    with locked(data) as lock_fd:
        require_same_ports(data, ",".join(map(str, ports)))
        for node in nodes:
            require_free(node.port)
            require_free(node.cluster_port)
        if not (data / "seal.key").exists():
            write_private(data / "seal.key", secrets.token_bytes(32))
        cluster = Cluster(data, nodes)
        try:
            say(f"starting {', '.join(node.name for node in nodes)}")
            cluster.start(lock_fd)
            bring_up(cluster, say)
            show_it_works(cluster)
            print_summary(cluster)
            while True:
                cluster.require_alive()
                time.sleep(0.5)
        except KeyboardInterrupt:
            print("\nStopping the nodes; `make up` brings them back with their data.", flush=True)
            return 0
        finally:
            # A second Ctrl-C must not leave nodes behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            cluster.stop()


def bring_up(cluster: Cluster, say: Progress) -> None:
    """From started processes to a cluster in which every node serves."""
    first = cluster.nodes[0]
    cluster.wait(lambda: all(map(health, cluster.nodes)), "starting")
    token_file = cluster.data / "root-token"
    if asked(first, "sys/init")["initialized"]:
        if not token_file.exists():
            raise Failed(f"the cluster is initialised, but {token_file} is missing. Start anew with `make down`")
        say("they have data from before; waiting until they serve")
    else:
        say(f"initialising {first.name}; the others join by themselves (retry_join)")
        words = ("operator", "init", "-recovery-shares=1", "-recovery-threshold=1", "-format=json")
        printed = require_done(command(first, *words, show=False))
        write_private(cluster.data / "init.json", printed.encode())
        write_private(token_file, json.loads(printed)["root_token"].encode())
    cluster.wait(lambda: is_whole(cluster.nodes), "forming the cluster")
    say("one node leads, the others follow")


def show_it_works(cluster: Cluster) -> None:
    """A secret written on one node is read from another. One from an earlier run is still there."""
    token = (cluster.data / "root-token").read_text().strip()
    first, second, third = cluster.nodes
    mounted = json.loads(require_done(command(first, "secrets", "list", "-format=json", token=token, show=False)))
    if "secret/" not in mounted:
        require_done(command(first, "secrets", "enable", "-path=secret", "-version=2", "kv", token=token))
    if command(third, "kv", "get", "secret/hello", token=token, show=False).returncode == NO_VALUE:
        require_done(command(second, "kv", "put", "secret/hello", "message=kept by three nodes", token=token))
    require_done(command(third, "kv", "get", "secret/hello", token=token))
    require_done(command(first, "operator", "raft", "list-peers", token=token))


def print_summary(cluster: Cluster) -> None:
    """Where everything is."""
    print("\nStrongroom is up: three nodes, one cluster.\n")
    for node in cluster.nodes:
        role = "leader" if health(node) == 200 else "standby"
        print(f"  {node.name}  {node.address}  {role:8} log: {shown(node.log)}")
    print(
        f"\nThe root token is in {shown(cluster.data / 'root-token')}; only you can read it. In another terminal:\n\n"
        f"  export VAULT_ADDR={cluster.nodes[0].address} VAULT_TOKEN=$(cat {shown(cluster.data / 'root-token')})\n"
        f"  {shown(Path(program()))} kv get secret/hello\n\n"
        "Ctrl-C stops the nodes and keeps the data; `make down` removes it.",
        flush=True,
    )


def shown(path: Path) -> str:
    """The path as a person would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


# -- down


def down(data: Path) -> int:
    """Stop what runs with this folder and remove it. Raises Failed."""
    if not data.exists():
        print(f"Nothing to remove: there is no {shown(data)}.")
        return 0
    if not (data / "lock").exists():
        raise Failed(f"{data} was not made by `make up` and is left alone")
    stop_others(data)
    shutil.rmtree(data)
    print(f"Removed {shown(data)}.")
    return 0


def stop_others(data: Path) -> None:
    """Ask the `up` that holds the lock to stop; when it is gone, its nodes. Raises Failed if they stay."""
    with (data / "lock").open("rb+") as lock:
        parent, *children = [int(word) for word in lock.read().split()] or [0]
        for pid, sign, seconds in (
            (parent, "run.py", STOP_S + 5),
            *((child, str(data), STOP_S) for child in children),
        ):
            if is_free(lock.fileno()):
                return
            if pid and sign in command_line(pid):  # the number may have gone to another program since
                print(f"Stopping process {pid}.", flush=True)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline and command_line(pid):
                    time.sleep(0.05)
        if not is_free(lock.fileno()):
            raise Failed(f"a process still uses {data}; end it and try again")


def is_free(fd: int) -> bool:
    """Whether nobody holds the lock; if so, it is held by the caller from now on."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def command_line(pid: int) -> str:
    """The words of a running process; "" when there is none, or when it has ended and waits for its parent."""
    words = ["ps", "-o", "stat=,args=", "-p", str(pid)]
    printed = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return "" if printed.startswith("Z") else printed


# -- the command line


def ports_of(text: str) -> list[int]:
    """Three different ports, with room for the cluster port after each."""
    try:
        ports = [int(word) for word in text.split(",")]
    except ValueError:
        ports = []
    used = {*ports, *(port + 1 for port in ports)}
    if len(ports) != 3 or len(used) != 6 or not all(0 < port < 65536 for port in used):
        raise argparse.ArgumentTypeError("three ports are needed, two or more apart: 8200,8210,8220")
    return ports


def main() -> int:
    """The exit code: 0 after Ctrl-C, 1 when something is wrong, said in one sentence."""
    parser = argparse.ArgumentParser(description="Three nodes on this machine.")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), default=ROOT / ".data")
    parser.add_argument("--ports", type=ports_of, default=[8200, 8210, 8220])
    options = parser.parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return up(options.data, options.ports) if options.command == "up" else down(options.data)
    except Failed as failed:
        print(f"Error: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


if __name__ == "__main__":
    sys.exit(main())
