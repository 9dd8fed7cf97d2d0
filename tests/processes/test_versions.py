"""Nodes of two versions in one cluster: what the older one cannot read it refuses, and never passes over."""

import sys
from collections.abc import Iterator

import pytest

from tests.processes.cluster import Node, wait_until
from tests.processes.test_faults import contents, revive
from tests.processes.writers import differing
from tests.torture.nodes import Bench, TortureNode, bench

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("versions"), isolated=False) as made:
        yield made
    for node in made.nodes:
        assert "Traceback" not in node.log, node.log[-3000:]


def program(what: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.processes.next_version", what)


def put(three: Bench, name: str, value: str) -> int:
    return int(three.cluster.call("POST", f"secret/data/{name}", {"data": {"value": value}}).status)


def value_of(three: Bench, node: Node, name: str) -> object:
    reply = node.call("GET", f"secret/data/{name}", token=three.cluster.root_token)
    return reply.json["data"]["data"]["value"] if reply.status == 200 else reply.status


def upgrade(node: TortureNode, what: str) -> None:
    node.stop()
    node.program = program(what)
    node.start()


def test_another_protocol_is_refused_in_one_line(three: Bench) -> None:
    """A node that speaks another version is told so and counts as down; the others go on, and it comes back."""
    assert put(three, "before", "1") == 200
    leader = three.wait_leader()
    other = next(node for node in three.nodes if node is not leader)
    at = {node.name: len(node.log) for node in three.nodes}
    term = leader.call("GET", "sys/storage/raft/autopilot/state", token=three.cluster.root_token)
    upgrade(other, "wire")
    says = "speaks version 2 of the protocol, this node 1"
    wait_until(
        lambda: any(says in node.log[at[node.name] :] for node in three.nodes if node is not other), "it is refused"
    )
    wait_until(
        lambda: "speaks version 1 of the protocol, this node 2" in other.log[at[other.name] :], "and refuses the others"
    )
    for number in range(20):
        assert put(three, f"meanwhile{number}", "2") == 200
    assert three.leader() is leader, "it has disturbed the leader"
    assert term.status == 200
    other.stop()
    other.program = (sys.executable, "-m", "node")
    revive(other)
    three.cluster.wait_applied()
    assert value_of(three, other, "meanwhile19") == "2"


def test_newer_entries_stop_an_older_node(three: Bench) -> None:
    """Rolling to a version with other entries: the old nodes stop and say why, and go on once they are updated."""
    assert put(three, "old", "1") == 200
    newest = three.nodes[-1]
    upgrade(newest, "entries")
    wait_until(lambda: newest.call("GET", "sys/health").status in (200, 429), "the newer node is unsealed")
    assert put(three, "both", "2") == 200
    three.cluster.wait_applied()  # it reads what the older ones write

    def leads() -> bool:
        if three.leader() is newest:
            return True
        three.cluster.call("PUT", "sys/step-down")
        return False

    wait_until(leads, "the newer node leads")
    newest.call("POST", "secret/data/new", {"data": {"value": "3"}}, token=three.cluster.root_token, timeout_s=20)
    older = [node for node in three.nodes if node is not newest]
    wait_until(lambda: all(node.ended() or node.process is None for node in older), "the older nodes stop")
    for node in older:
        assert node.exits == [1]
        last = node.log.rstrip().splitlines()[-1]
        assert "is of another version of this program; update this node" in last, node.log[-2000:]
    for node in older:
        node.program = program("entries")
        node.start()
    wait_until(lambda: three.leader() is not None, "they lead and follow again")
    assert put(three, "after", "4") == 200
    three.cluster.wait_applied()
    for node in three.nodes:
        for name, value in (("old", "1"), ("both", "2"), ("new", "3"), ("after", "4")):
            assert value_of(three, node, name) == value, (node.name, name)
    for node in three.nodes:
        assert node.stop() == 0
    assert differing([contents(node) for node in three.nodes]) <= {"core/active"}
