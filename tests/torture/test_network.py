"""What the torture test does to the network is what it says, and is gone afterwards."""

import socket
import subprocess

import pytest

from tests.processes.cluster import wait_until
from tests.torture.network import network, why_not

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(bool(why_not()), reason=f"no network namespaces: {why_not()}"),
]


def _reaches(prefix: tuple[str, ...], host: str) -> bool:
    """Whether a datagram from that namespace is answered: a closed port answers at once, a cut one never does."""
    code = (
        "import socket; s = socket.socket(); s.settimeout(0.5)\n"
        f"try: s.connect(('{host}', 1))\n"
        "except ConnectionRefusedError: print('reached')\n"
        "except OSError: pass"
    )
    return b"reached" in subprocess.run([*prefix, "python3", "-c", code], check=True, capture_output=True).stdout


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_cuts_and_healing() -> None:
    """A cut separates two nodes and no others, never from the clients; healing ends it."""
    with network(3) as net:
        assert _reaches(net.prefix(0), net.hosts[1])
        net.cut(0, 1)
        assert not _reaches(net.prefix(0), net.hosts[1])
        assert not _reaches(net.prefix(1), net.hosts[0])
        assert _reaches(net.prefix(0), net.hosts[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((net.hosts[0], 1), timeout=5)
        net.heal()
        assert _reaches(net.prefix(0), net.hosts[1])


def test_everything_is_removed_after_a_failure() -> None:
    """Namespaces and bridge are gone when the test within has failed."""
    with pytest.raises(ZeroDivisionError), network(3) as net:
        assert all(name in _said("ip", "netns", "list") for name in net.names)
        raise ZeroDivisionError
    assert not any(name in _said("ip", "netns", "list") for name in net.names)
    wires = f"tort{net.names[0].split('-')[1]}"
    wait_until(lambda: wires not in _said("ip", "link"), "bridge and wires are gone", 10)  # the kernel takes a moment
