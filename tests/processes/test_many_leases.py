"""Leases in number, on real processes. benchmarks/leases.py measures the same with a million."""

import time
from pathlib import Path

import pytest

from benchmarks.rows import rss_mib
from tests.processes.cluster import Cluster, Node, make_cluster, single, wait_until
from tests.processes.many_leases import Bulk, put_leases

pytestmark = pytest.mark.processes

_HOUR_MS = 3_600_000


def is_there(node: Node, token: str, lease_id: str) -> bool:
    """Whether this node knows the lease."""
    reply = node.call("POST", "sys/leases/lookup", {"lease_id": lease_id}, token=token)
    assert reply.status == 200 or b"invalid lease" in reply.body, reply
    return reply.status == 200


def ended(made: Cluster, bulk: Bulk, step: int) -> bool:
    """Whether every so many-th lease of these is gone."""
    node = made.wait_leader()
    sample = (bulk.lease_id(bulk.first + number) for number in range(0, bulk.count, step))
    return not any(is_there(node, made.root_token, lease_id) for lease_id in sample)


def test_leases_in_number(tmp_path: Path) -> None:
    """With 50,000 leases a node starts and stays small as if there were none, and ends 5,000 within seconds."""
    now_ms = int(time.time() * 1000)
    past, future = Bulk(5_000, now_ms - 5_000), Bulk(45_000, now_ms + _HOUR_MS, first=5_000)
    with single(tmp_path) as one:
        node = one[0]
        node.stop()
        put_leases(node, past, future)
        node.launch()
        one.wait_leader(10)
        started = time.monotonic()
        wait_until(lambda: ended(one, past, 250), "what ended while the node was down is revoked", 30)
        assert rss_mib(node) < 200
        assert past.count / (time.monotonic() - started) > 300  # a small part of what it does by itself
        assert all(is_there(node, one.root_token, future.lease_id(number)) for number in range(5_000, 50_000, 5_000))


def test_a_leader_falls_while_leases_end(tmp_path: Path) -> None:
    """A new leader goes on where the old one was cut off: all that has ended goes, and nothing else."""
    three = make_cluster(tmp_path)
    first = three[0]
    try:
        first.start()
        init = first.call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).json
        three.root_token = init["root_token"]
        three.wait_leader()
        three.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        first.stop()
        now_ms = int(time.time() * 1000)
        ending, staying = Bulk(12_000, now_ms + 12_000), Bulk(2_000, now_ms + _HOUR_MS, first=12_000)
        put_leases(first, ending, staying)
        for node in three.nodes:
            node.launch()
        wait_until(lambda: len(three.peers()) == 3, "all nodes have joined")
        wait_until(
            lambda: [node.call("GET", "sys/health").status for node in three.nodes].count(429) == 2,
            "the others have the leases",
        )
        leader = three.wait_leader()
        wait_until(lambda: not is_there(leader, three.root_token, ending.lease_id(500)), "the sweep has begun")
        leader.kill()
        wait_until(lambda: ended(three, ending, 400), "all that ended is revoked", 60)
        leader = three.wait_leader()
        assert all(
            is_there(leader, three.root_token, staying.lease_id(number)) for number in range(12_000, 14_000, 100)
        )
    finally:
        three.stop()
