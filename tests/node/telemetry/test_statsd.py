"""Pushing to statsd, DogStatsD and statsite: what arrives, and that a server that is away costs nothing."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.meters import Registry, Spread
from node.config.load import load
from node.config.services import Telemetry
from node.telemetry.exposition import Look
from node.telemetry.names import Filter
from node.telemetry.statsd import Pusher

LOOK = Look(prefix="vault", shown=Filter((), default=True))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        yield listening


def settings(**changed: object) -> Telemetry:
    return replace(load([], {}, dev=True).telemetry, **changed)  # type: ignore[arg-type]


def pushed(pusher: Pusher, registry: Registry) -> None:
    samples = {
        meter: taken
        for family in registry.families.values()
        for meter in family.children.values()
        if isinstance(meter, Spread) and (taken := meter.tick())
    }
    pusher.send(pusher.rows(registry.families.values(), samples))


def some() -> Registry:
    registry = Registry()
    registry.counters("token.creation", "Tokens.", "mount_point").of("auth/token/").value = 3
    registry.spread("core.handle_request", "Requests.").add(0.0015)
    registry.gauge("raft.peers", "Peers.", lambda: 3)
    return registry


def lines(listening: socket.socket) -> list[str]:
    return listening.recv(65_536).decode().splitlines()


def test_statsd(server: socket.socket) -> None:
    """Counters, timings and gauges; labels are parts of the name, and the host is before a gauge's."""
    address = f"127.0.0.1:{server.getsockname()[1]}"
    pusher, registry = Pusher(settings(statsd_address=address), LOOK, "host-1"), some()
    pushed(pusher, registry)
    assert sorted(lines(server)) == [
        "vault.core.handle_request:1.500000|ms",
        "vault.host-1.raft.peers:3.000000|g",
        "vault.token.creation.auth-token-:3|c",
    ]
    pushed(pusher, registry)
    assert lines(server) == ["vault.host-1.raft.peers:3.000000|g"]  # what has not grown is not sent again
    pusher.close()


def test_dogstatsd(server: socket.socket) -> None:
    """Labels and configured tags are tags; with disable_hostname gauges keep their names."""
    address = f"127.0.0.1:{server.getsockname()[1]}"
    given = settings(dogstatsd_addr=address, dogstatsd_tags=("env:prod",), disable_hostname=True)
    pusher = Pusher(given, LOOK, "host-1")
    pushed(pusher, some())
    assert sorted(lines(server)) == [
        "vault.core.handle_request:1.500000|ms|#env:prod",
        "vault.raft.peers:3.000000|g|#env:prod",
        "vault.token.creation:3|c|#env:prod,mount_point:auth/token/",
    ]
    pusher.close()


def test_busy_summaries_are_sampled(server: socket.socket) -> None:
    """At most a hundred samples of a second, with the rate that says what they stand for."""
    registry = Registry()
    spread = registry.spread("core.handle_request", "Requests.")
    for _ in range(1000):
        spread.add(0.001)
    pusher = Pusher(settings(statsd_address=f"127.0.0.1:{server.getsockname()[1]}"), LOOK, "h")
    pushed(pusher, registry)
    found: list[str] = []
    while len(found) < 100:
        found += lines(server)
    assert found == ["vault.core.handle_request:1.000000|ms|@0.100000"] * 100
    pusher.close()


def test_statsite() -> None:
    """The same over TCP; before it listens, and after it has gone, nothing happens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        pusher, registry = Pusher(settings(statsite_address=address), LOOK, "h"), some()
        pushed(pusher, registry)
        listening.listen()
        registry.counters("token.creation", "Tokens.", "mount_point").of("auth/token/").value += 1
        pushed(pusher, registry)
        connection, _ = listening.accept()
        with connection:
            assert b"vault.token.creation.auth-token-:1|c\n" in connection.recv(65_536)
    for _ in range(3):
        pushed(pusher, registry)
    pusher.close()
