"""A node whose disk fails is out of the way at once, so that its clients and its supervisor can go on."""

import errno
import time
from pathlib import Path

import pytest

from tests.processes.cluster import wait_until
from tests.torture.clients import Clients
from tests.torture.faults import STOPS_WITHIN_S
from tests.torture.history import Outcome
from tests.torture.nodes import bench

pytestmark = pytest.mark.processes


def test_it_ends_although_requests_wait_on_it(tmp_path: Path) -> None:
    """The leader's syncs fail under load: the process ends within 3 s with one line, and nobody gets a strange answer.

    It used to wait 10 s for requests that themselves waited for a leader of which it would never have heard.
    """
    with bench(tmp_path, isolated=False) as made:
        if not made.has_library:
            pytest.skip("no C compiler for the library that fails syncs")
        leader = made.wait_leader()
        with Clients(made.nodes, made.cluster.root_token, seed=1) as clients:
            wait_until(lambda: sum(clients.history.counts.values()) > 100, "the clients are at work")
            leader.order_disk("1000")
            time.sleep(1)  # so that writes gather behind those that wait for the disk
            leader.order_disk(f"e{errno.EIO}")
            wait_until(leader.ended, "the node ends", STOPS_WITHIN_S)
            acknowledged = len(clients.acknowledged)
            wait_until(lambda: len(clients.acknowledged) > acknowledged, "the others take writes")
        assert leader.exits == [1] and leader.log.rstrip().splitlines()[-1].startswith("Error: the storage failed")
        assert not [o for o in clients.history.unexpected() if o.outcome is Outcome.UNEXPECTED]
        assert "Traceback" not in leader.log
