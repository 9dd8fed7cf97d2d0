"""The faults: each is a context in which something is broken, and in which nothing is again when it ends.

A context ends with every process running again, though perhaps not serving yet.
"""

import errno
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.torture.nodes import Bench, TortureNode

SLOW_MS: Final = (200, 500, 1000)
STOPS_WITHIN_S: Final = 3.0  # with requests that wait on the node


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `begin` breaks something; leaving its context puts it right."""

    name: str
    begin: Callable[[Bench, random.Random], AbstractContextManager[None]]
    seconds: tuple[float, float]  # how long it lasts
    needs: str = ""  # what the machine must allow: "network", "library", "small disk"
    stops_nodes: bool = False  # whether a node is right to end its process
    alone: bool = False  # whether it needs everything else to be whole


def _others(bench: Bench, node: TortureNode) -> list[TortureNode]:
    return [each for each in bench.nodes if each is not node]


def _leader(bench: Bench, rng: random.Random) -> TortureNode:
    return bench.leader() or rng.choice(bench.nodes)


def _follower(bench: Bench, rng: random.Random) -> TortureNode:
    return rng.choice(_others(bench, _leader(bench, rng)))


def start_ended(bench: Bench) -> None:
    """Start every node whose process has ended."""
    for node in bench.nodes:
        if node.process is None or node.ended():
            node.launch()


# -- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def _killed(bench: Bench, nodes: Sequence[TortureNode]) -> Iterator[None]:
    for node in nodes:
        if node.process is not None and node.process.poll() is None:
            node.signal(signal.SIGKILL)
    for node in nodes:
        node.kill()
    try:
        yield
    finally:
        start_ended(bench)


@contextmanager
def _paused(nodes: Sequence[TortureNode]) -> Iterator[None]:
    processes = [node.process for node in nodes if node.process is not None]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@contextmanager
def _rolling_restart(bench: Bench, rng: random.Random) -> Iterator[None]:
    for node in rng.sample(bench.nodes, len(bench.nodes)):
        code = node.stop()
        assert code == 0, f"{node.name} ended with {code} when asked to: {node.log[-2000:]}"
        node.start()
        _wait_serving(node)
    yield


def _wait_serving(node: TortureNode) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if node.call("GET", "sys/health", timeout_s=2).status in (200, 429):
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{node.name} does not serve 30 s after its start: {node.log[-2000:]}")


@contextmanager
def _step_down(bench: Bench, rng: random.Random) -> Iterator[None]:
    leader = _leader(bench, rng)
    with suppress(OSError):
        leader.call("PUT", "sys/step-down", token=bench.cluster.root_token, timeout_s=10)
    yield


# -- disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def _slow_disk(nodes: Sequence[TortureNode], milliseconds: int) -> Iterator[None]:
    for node in nodes:
        node.order_disk(f"{milliseconds}")
    try:
        yield
    finally:
        for node in nodes:
            node.order_disk("0")


@contextmanager
def _failing_disk(bench: Bench, node: TortureNode) -> Iterator[None]:
    node.order_disk(f"e{errno.EIO}")
    try:
        yield
        _wait_ended(node)
    finally:
        node.order_disk("0")
        start_ended(bench)


def _wait_ended(node: TortureNode) -> None:
    """An error of a sync is never retried: the node must stop."""
    deadline = time.monotonic() + STOPS_WITHIN_S
    while time.monotonic() < deadline:
        if node.process is None or node.ended():
            return
        time.sleep(0.05)
    raise AssertionError(f"{node.name} still runs although its disk fails: {node.log[-2000:]}")


@contextmanager
def _full_disk(bench: Bench) -> Iterator[None]:
    node = next(node for node in bench.nodes if node.has_small_disk)
    node.fill_disk()
    try:
        yield
    finally:
        node.free_disk()
        start_ended(bench)


# -- clocks and descriptors ------------------------------------------------------------------------------------------


@contextmanager
def _wrong_clock(nodes: Sequence[TortureNode], rng: random.Random) -> Iterator[None]:
    """The wall clocks jump by up to an hour, back or forth, and a few seconds later by another amount."""
    try:
        for _ in range(rng.randrange(1, 4)):
            for node in nodes:
                node.set_clock(rng.choice((-3600, -60, -1, 1, 60, 3600)))
            time.sleep(rng.uniform(0.5, 2))
        yield
    finally:
        for node in nodes:
            node.set_clock(0)


@contextmanager
def _no_descriptors(bench: Bench, node: TortureNode) -> Iterator[None]:
    """The node can open no file and accept no connection; those that it has go on."""
    process = node.process
    if process is None or node.ended():
        yield
        return
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    in_use = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (min(in_use, limits[0]), limits[1]))
    try:
        yield
    finally:
        if process.poll() is None:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        start_ended(bench)


# -- network ---------------------------------------------------------------------------------------------------------


@contextmanager
def _cut(bench: Bench, cuts: Sequence[tuple[int, int]], *, deaf: bool = False) -> Iterator[None]:
    net = bench.network
    assert net is not None
    for index, other in cuts:
        (net.deafen if deaf else net.cut)(index, other)
    try:
        yield
    finally:
        net.heal()


@contextmanager
def _loss(bench: Bench, share: float) -> Iterator[None]:
    net = bench.network
    assert net is not None
    for index in range(len(bench.nodes)):
        net.lose(index, share)
    try:
        yield
    finally:
        net.heal()


@contextmanager
def _flapping(bench: Bench, rng: random.Random) -> Iterator[None]:
    """Links go one by one and come back together, each second or so."""
    net = bench.network
    assert net is not None
    pairs = [(0, 1), (0, 2), (1, 2)]
    try:
        for _ in range(rng.randrange(2, 6)):
            for index, other in rng.sample(pairs, rng.randrange(1, 4)):
                net.cut(index, other)
                time.sleep(rng.uniform(0.2, 1.2))
            net.heal()
            time.sleep(rng.uniform(0.2, 1.2))
        yield
    finally:
        net.heal()


def _alone(bench: Bench, node: TortureNode) -> list[tuple[int, int]]:
    at = bench.nodes.index(node)
    return [(at, other) for other in range(len(bench.nodes)) if other != at]


def _from(bench: Bench, node: TortureNode) -> list[tuple[int, int]]:
    return [(other, at) for at, other in _alone(bench, node)]


def _bridge(bench: Bench, rng: random.Random) -> list[tuple[int, int]]:
    """Two nodes hear only the third."""
    one, other, _ = rng.sample(range(3), 3)
    return [(one, other)]


FAULTS: Final = (
    Fault("kill the leader", lambda b, r: _killed(b, [_leader(b, r)]), (0, 5)),
    Fault("kill a follower", lambda b, r: _killed(b, [_follower(b, r)]), (0, 5)),
    Fault("kill two nodes", lambda b, r: _killed(b, r.sample(b.nodes, 2)), (0, 5)),
    Fault("kill all nodes", lambda b, r: _killed(b, b.nodes), (0, 2)),
    Fault("pause the leader", lambda b, r: _paused([_leader(b, r)]), (1, 15)),
    Fault("pause a follower", lambda b, r: _paused([_follower(b, r)]), (1, 15)),
    Fault("pause two nodes", lambda b, r: _paused(r.sample(b.nodes, 2)), (1, 6)),
    Fault("restart each node in turn", _rolling_restart, (0, 1), alone=True),
    Fault("step down", _step_down, (0, 1)),
    Fault(
        "slow disk of the leader",
        lambda b, r: _slow_disk([_leader(b, r)], r.choice(SLOW_MS)),
        (4, 12),
        "library",
    ),
    Fault("slow disks of all nodes", lambda b, r: _slow_disk(b.nodes, r.choice(SLOW_MS)), (4, 12), "library"),
    Fault("sync fails on the leader", lambda b, r: _failing_disk(b, _leader(b, r)), (1, 4), "library", True, True),
    Fault("sync fails on a follower", lambda b, r: _failing_disk(b, _follower(b, r)), (1, 4), "library", True, True),
    Fault("the clock of the leader jumps", lambda b, r: _wrong_clock([_leader(b, r)], r), (1, 6), "library"),
    Fault("all clocks jump", lambda b, r: _wrong_clock(b.nodes, r), (1, 6), "library"),
    Fault("no descriptors on the leader", lambda b, r: _no_descriptors(b, _leader(b, r)), (2, 8), "", True, True),
    Fault("no descriptors on a follower", lambda b, r: _no_descriptors(b, _follower(b, r)), (2, 8), "", True, True),
    Fault("full disk", lambda b, r: _full_disk(b), (3, 8), "small disk", True, True),
    Fault("cut off the leader", lambda b, r: _cut(b, _alone(b, _leader(b, r))), (1, 15), "network"),
    Fault("cut off a follower", lambda b, r: _cut(b, _alone(b, _follower(b, r))), (1, 15), "network"),
    Fault("cut all links", lambda b, r: _cut(b, [(0, 1), (0, 2), (1, 2)]), (1, 8), "network"),
    Fault("the leader hears nobody", lambda b, r: _cut(b, _alone(b, _leader(b, r)), deaf=True), (1, 12), "network"),
    Fault("nobody hears the leader", lambda b, r: _cut(b, _from(b, _leader(b, r)), deaf=True), (1, 12), "network"),
    Fault("a follower hears nobody", lambda b, r: _cut(b, _alone(b, _follower(b, r)), deaf=True), (1, 12), "network"),
    Fault("nobody hears a follower", lambda b, r: _cut(b, _from(b, _follower(b, r)), deaf=True), (1, 12), "network"),
    Fault("two nodes hear only the third", lambda b, r: _cut(b, _bridge(b, r)), (2, 15), "network"),
    Fault("lost packets", lambda b, r: _loss(b, r.choice((0.1, 0.3, 0.5))), (4, 15), "network"),
    Fault("flapping links", _flapping, (0, 1), "network"),
)


def possible(bench: Bench) -> tuple[list[Fault], dict[str, str]]:
    """The faults that this machine allows, and why each other one is left out."""
    missing = {}
    if bench.network is None:
        missing["network"] = f"no network namespaces: {bench.network_missing}"
    if not bench.has_library:
        missing["library"] = "no C compiler for the library that bends disk and clock"
    if not any(node.has_small_disk for node in bench.nodes):
        missing["small disk"] = "mounting a small file system needs root" if os.geteuid() else "no node has one"
    left_out = {fault.name: missing[fault.needs] for fault in FAULTS if fault.needs in missing}
    return [fault for fault in FAULTS if fault.name not in left_out], left_out
