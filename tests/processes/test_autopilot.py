"""Members that are gone for good, on real processes: they are removed in time, and never too many of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.processes.cluster import Cluster, Node, cluster, wait_until
from tests.processes.hasty_server import hasty, often

pytestmark = [pytest.mark.processes, pytest.mark.slow]

BASE = "sys/storage/raft/autopilot"


def rules(group: Cluster, **changes: object) -> None:
    reply = group.call("POST", f"{BASE}/configuration", {"cleanup_dead_servers": True, **changes})
    assert reply.status == 204, reply.body


def state(group: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = group.call("GET", f"{BASE}/state").json["data"]
    return found


def members(group: Cluster) -> set[str]:
    return {peer["node_id"] for peer in group.peers()}


def is_gone(group: Cluster, node: Node) -> bool:
    return node.name not in members(group)


def standby(group: Cluster) -> Node:
    leader = group.wait_leader()
    return next(node for node in group.running() if node is not leader)


def require_writes(group: Cluster, key: str) -> None:
    """A write is taken, and read on every running node."""
    assert group.call("POST", f"secret/data/{key}", {"data": {"x": 1}}).status == 200
    for node in group.running():
        assert node.call("GET", f"secret/data/{key}", token=group.root_token).status == 200


def silent_s(group: Cluster, name: str) -> float:
    """For how many seconds a member has not answered, as the leader says."""
    text = str(state(group)["servers"][name]["last_contact"])
    minutes, _, rest = text.rpartition("m") if "m" in text.replace("ms", "") else ("", "", text)
    seconds = float(rest.removesuffix("ms")) / 1000 if rest.endswith("ms") else float(rest.removesuffix("s"))
    hours, _, left = minutes.rpartition("h")
    return int(hours or 0) * 3600 + int(left or 0) * 60 + seconds


@contextmanager
def with_the_dead_removed(
    folder: Path, size: int, threshold_s: int, prepare: Callable[[Node], None]
) -> Iterator[tuple[Cluster, Node, Node]]:
    """Kill one after the other: the first are removed after the threshold, the last is kept for min_quorum.

    The cluster, the node that was removed last, and the one that was kept.
    """
    with cluster(folder, size, prepare=prepare) as group:
        times = {"last_contact_threshold": "2s", "dead_server_last_contact_threshold": f"{threshold_s}s"}
        rules(group, min_quorum=3, **times)
        require_writes(group, "before")
        for left in range(size - 1, 2, -1):
            victim = standby(group)
            victim.kill()
            died_s = time.monotonic()
            wait_until(partial(is_gone, group, victim), "it is removed", threshold_s + 30)
            assert time.monotonic() - died_s >= threshold_s - 2, "not before its time"
            assert len(members(group)) == left
            require_writes(group, f"after{left}")
        # Three are left. One more is silent for as long: min_quorum keeps it, and two of three go on.
        last = standby(group)
        last.kill()
        wait_until(lambda: silent_s(group, last.name) > threshold_s + 2, "it is silent for long", threshold_s + 30)
        assert len(members(group)) == 3 and last.name in members(group)
        assert state(group)["failure_tolerance"] == 0
        require_writes(group, "at-the-end")
        yield group, victim, last
        for node in group.nodes:
            assert "Traceback" not in node.log, node.log[-3000:]


def test_the_dead_are_removed(tmp_path: Path) -> None:
    """Four nodes, one of which dies, then another, with a threshold of seconds that the real server would refuse."""
    with with_the_dead_removed(tmp_path, 4, 4, hasty) as (group, removed, kept):
        assert members(group) == {node.name for node in group.nodes} - {removed.name}
        assert kept.name in members(group)


def test_the_dead_are_removed_by_the_real_server(tmp_path: Path) -> None:
    """Five nodes, three of which die one after the other, with the least threshold allowed; then two come back."""
    with with_the_dead_removed(tmp_path, 5, 60, often) as (group, removed, kept):
        leader = group.wait_leader()
        removed.launch()
        wait_until(removed.answers, "it answers")
        # A node that was removed does not come back by itself, and disturbs nobody.
        assert leader.call("POST", "secret/data/beside", {"data": {"x": 1}}, token=group.root_token).status == 200
        assert group.wait_leader() is leader and len(members(group)) == 3
        kept.start()
        wait_until(lambda: state(group)["failure_tolerance"] == 1, "it is healthy again")
