"""Network namespaces joined by a bridge, and what can be cut between them. Needs root, `ip` and `iptables`.

What a node no longer hears is dropped where it would come in, so a cut can have one direction. The clients are
outside, at the bridge: they always reach every node.
"""

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.processes.cluster import wait_until


def why_not() -> str:
    """Why no namespaces can be made here; "" if they can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("ip", "iptables"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    name = f"torture-{os.getpid()}-try"
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "iptables", "-A", "INPUT", "-s", "10.0.0.1", "-j", "DROP")
        finally:
            run("ip", "netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd[:2])} is refused: {error.stderr.decode().strip()}"
    return ""


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Network:
    """Namespaces 0, 1, 2, ... and the addresses in them."""

    names: tuple[str, ...]
    hosts: tuple[str, ...]

    def prefix(self, index: int) -> tuple[str, ...]:
        """What starts a program in a namespace; the process is then that program."""
        return ("ip", "netns", "exec", self.names[index])

    def deafen(self, index: int, other: int) -> None:
        """From now on, what `other` sends does not reach `index`."""
        self._rule(index, "-s", self.hosts[other], "-j", "DROP")

    def cut(self, index: int, other: int) -> None:
        """Neither hears the other."""
        self.deafen(index, other)
        self.deafen(other, index)

    def lose(self, index: int, share: float) -> None:
        """This share of the packets from other nodes to `index` is lost."""
        for other, host in enumerate(self.hosts):
            if other != index:
                chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share}")
                self._rule(index, "-s", host, *chance, "-j", "DROP")

    def heal(self) -> None:
        """Everything is heard again."""
        for name in self.names:
            run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")

    def _rule(self, index: int, *words: str) -> None:
        run("ip", "netns", "exec", self.names[index], "iptables", "-A", "INPUT", *words)


@contextmanager
def network(size: int) -> Iterator[Network]:
    """Namespaces, with the machine itself at the bridge. All of it is removed at the end."""
    # Wires of an earlier network of this process may still be on their way out.
    mark = f"{os.getpid() % 0xFFFF:04x}{next(_serial) % 100}"
    subnet = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
    bridge = f"tort{mark}"
    names = tuple(f"torture-{mark}-{i + 1}" for i in range(size))
    hosts = tuple(f"{subnet}.{i + 11}" for i in range(size))
    with ExitStack() as stack:
        run("ip", "link", "add", "name", bridge, "type", "bridge")
        stack.callback(run, "ip", "link", "del", bridge)
        run("ip", "addr", "add", f"{subnet}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for i, name in enumerate(names):
            outside = f"{bridge}-{i + 1}"
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)  # and with it both ends of its wire
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", outside, "master", bridge, "up")
            inside = ("ip", "-n", name)
            run(*inside, "addr", "add", f"{hosts[i]}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")
        for host in hosts:
            wait_until(partial(_answers, host), f"{host} is reached", 10)
        yield Network(names, hosts)


def _answers(host: str) -> bool:
    try:
        socket.create_connection((host, 1), timeout=1).close()
    except ConnectionRefusedError:
        return True  # by the machine there: nobody listens on this port
    except OSError:
        return False
    return True
