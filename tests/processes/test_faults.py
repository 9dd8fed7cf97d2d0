"""Processes that die, stop and come back under load: nothing acknowledged is lost, nothing stale is answered.

The leader is killed 6 times in a normal run; FAULT_KILLS=30 asks for as many as the issue names.
"""

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from cluster.state import State
from tests.processes.cluster import Cluster, Node, cluster, wait_until
from tests.processes.writers import Client, NotSent, Writers, differing, require_nothing_lost, timed

pytestmark = pytest.mark.processes

KILLS = int(os.environ.get("FAULT_KILLS", "6"))
NEW_LEADER_S = 5.0
GRACEFUL_S = 6.0
USES = 100_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that every test leaves running."""
    with cluster(tmp_path_factory.mktemp("faults")) as three:
        yield three


@pytest.fixture
def three(shared: Cluster) -> Iterator[Cluster]:
    """The shared cluster, whole; and after the test no node has logged a traceback or failed a request by a bug."""
    wait_whole(shared)
    yield shared
    for node in shared.nodes:
        assert "Traceback" not in node.log and " failed: " not in node.log, node.log[-4000:]


def wait_whole(three: Cluster) -> None:
    """Wait until one node leads, the others follow and all have applied the same."""

    def whole() -> bool:
        try:
            codes = sorted(node.call("GET", "sys/health").status for node in three.nodes)
        except OSError:
            return False
        return codes == [200, 429, 429]

    wait_until(whole, "one node is active and two follow")
    three.wait_applied()


def wait_followed(three: Cluster) -> None:
    """Wait until every node knows the leader: the next kill then leaves a majority that can elect."""

    def followed() -> bool:
        return all(n.call("GET", "sys/leader").json["leader_address"] for n in three.nodes)

    wait_until(followed, "every node knows the leader")


def revive(node: Node) -> None:
    """Start a node that was killed and wait until it serves."""
    node.start()
    wait_until(lambda: node.call("GET", "sys/health").status in (200, 429), f"{node.name} is unsealed again")


def stop_and_compare(three: Cluster) -> None:
    """Stop all nodes gracefully and compare what each holds, entry by entry; then start them again."""
    wait_whole(three)
    for node in three.nodes:
        assert node.stop() == 0, node.log[-2000:]
    states = [contents(node) for node in three.nodes]
    # A node that was stopped earlier lacks what the last leaders wrote about themselves, and nothing else.
    apart = differing(states)
    assert apart <= {"core/active"}, apart
    for node in three.nodes:
        node.start()
    wait_whole(three)


def contents(node: Node) -> dict[str, bytes]:
    """The sealed entries in the data folder of a stopped node."""
    state = State(node.data, lambda call: call(), threaded=False)
    try:
        return {key: stored.value for key, stored in state.scan("")}
    finally:
        state.close(flush=False)


def anyone_writes(nodes: Sequence[Node], body: object, token: str) -> bool:
    """Whether one of these nodes takes a write."""
    return any(node.call("POST", "secret/data/stale", body, token=token).status == 200 for node in nodes)


def read_into(answers: list[tuple[int, object]], client: Client) -> None:
    """Read on a connection that is open already."""
    answers.append(client.call("GET", "secret/data/stale"))


def another_leads(three: Cluster, old: Node) -> bool:
    """Whether a node other than `old` is active."""
    for node in three.running():
        if node is not old:
            try:
                if node.call("GET", "sys/health", timeout_s=2).status == 200:
                    return True
            except OSError:
                continue
    return False


def test_killing_leaders_loses_nothing(three: Cluster) -> None:
    """SIGKILL of the leader under 16 writers, again and again: another leads within 5 s, nothing is lost."""
    times = []
    with Writers(three.nodes, three.root_token, "kills") as writers:
        for _ in range(KILLS):
            writers.wait_for(50)
            leader = three.wait_leader()
            leader.kill()
            times.append(timed(partial(another_leads, three, leader), "another node leads", NEW_LEADER_S))
            writers.wait_for(20)
            revive(leader)
            wait_followed(three)
    print(f"{KILLS} kills, {len(writers.acknowledged)} acknowledged, {len(writers.unknown)} of unknown outcome")
    print("seconds to a new leader:", " ".join(f"{t:.2f}" for t in sorted(times)))
    require_nothing_lost(three, writers)
    stop_and_compare(three)


def test_two_of_three_killed_and_brought_back(three: Cluster) -> None:
    """With one node left nothing is acknowledged and nothing is answered; with a majority back everything is there."""
    with Writers(three.nodes, three.root_token, "two") as writers:
        writers.wait_for(100)
        leader = three.wait_leader()
        other, survivor = (node for node in three.nodes if node is not leader)
        leader.kill()
        other.kill()
        name = next(iter(writers.acknowledged))
        alone = {"data": {"value": "x"}}
        with ThreadPoolExecutor(2) as pool:
            write = pool.submit(survivor.call, "POST", "secret/data/alone", alone, token=three.root_token)
            read = pool.submit(survivor.call, "GET", f"secret/data/{name}", token=three.root_token)
        assert (write.result().status, read.result().status) == (500, 500), (write.result(), read.result())
        revive(other)
        writers.wait_for(100)
        revive(leader)
    wait_whole(three)
    require_nothing_lost(three, writers)


def test_all_three_killed_at_once(three: Cluster) -> None:
    """After all nodes were killed in the same moment and started again, every acknowledged write is there."""
    with Writers(three.nodes, three.root_token, "three") as writers:
        writers.wait_for(200)
        for node in three.nodes:
            node.signal(signal.SIGKILL)
        for node in three.nodes:
            node.kill()
        for node in three.nodes:
            node.start()
        writers.wait_for(100)
    wait_whole(three)
    require_nothing_lost(three, writers)


def test_paused_leader_gives_no_stale_answer(three: Cluster) -> None:
    """A leader that slept through its successor's writes answers no read with what it knew (etcd #20418)."""
    token = three.root_token
    pool = ThreadPoolExecutor(16)
    for turn in range(2):
        leader = three.wait_leader()
        others = [node for node in three.nodes if node is not leader]
        assert leader.call("POST", "secret/data/stale", {"data": {"value": f"old {turn}"}}, token=token).status == 200
        # Connections that the paused node has accepted already, on which reads wait for it when it wakes.
        pinned = [Client(leader.api_port, token) for _ in range(16)]
        for client in pinned:
            assert client.call("GET", "secret/data/stale")[0] == 200
        leader.signal(signal.SIGSTOP)
        try:
            wait_until(partial(another_leads, three, leader), "another node leads", NEW_LEADER_S)
            new = {"data": {"value": f"new {turn}"}}
            wait_until(
                partial(anyone_writes, others, new, token),
                "the new leader takes a write",
            )
            asked = [pool.submit(client.call, "GET", "secret/data/stale") for client in pinned]
        finally:
            leader.signal(signal.SIGCONT)
        answers = [each.result(60) for each in asked]
        for client in pinned:
            client.close()
        read = [body["data"]["data"]["value"] for status, body in answers if status == 200]
        assert set(read) <= {f"new {turn}"}, read
        wait_whole(three)


def test_paused_leader_acknowledges_nothing_that_is_lost(three: Cluster) -> None:
    """What a leader says of writes after it was paused is true: what it acknowledged is there on every node."""
    leader = three.wait_leader()
    with Writers([leader], three.root_token, "paused") as writers:
        writers.wait_for(50)
        leader.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: another_leads(three, leader), "another node leads", NEW_LEADER_S)
        finally:
            leader.signal(signal.SIGCONT)
        writers.wait_for(50)
    wait_whole(three)
    require_nothing_lost(three, writers)


def test_leader_lost_while_forwarding(three: Cluster) -> None:
    """A client of a standby gets an acknowledgement that holds, or is told that the outcome is unknown."""
    leader = three.wait_leader()
    standbys = [node for node in three.nodes if node is not leader]
    with Writers(standbys, three.root_token, "forwarded") as writers:
        writers.wait_for(100)
        leader.kill()
        writers.wait_for(100)
        revive(leader)
    wait_whole(three)
    require_nothing_lost(three, writers)


def test_no_read_takes_two_uses(three: Cluster) -> None:
    """Of a use-limited token each answered read took one use, each of unknown outcome at most one (section 3)."""
    leader, token = three.wait_leader(), three.root_token
    standbys = [node for node in three.nodes if node is not leader]
    assert leader.call("POST", "secret/data/uses", {"data": {"value": "x"}}, token=token).status == 200
    limited = []
    for _ in range(16):
        made = leader.call("POST", "auth/token/create", {"num_uses": USES, "policies": ["root"]}, token=token)
        limited.append(made.json["auth"]["client_token"])
    stop = threading.Event()

    def read(number: int) -> tuple[int, int]:
        answered = unknown = 0
        client = Client(standbys[number % 2].api_port, limited[number])
        while not stop.is_set():
            try:
                status = client.call("GET", "secret/data/uses")[0]
            except NotSent:
                continue
            except (OSError, http.client.HTTPException):
                status = 500
            answered += status == 200
            unknown += status == 500
            assert status in (200, 307, 500, 503), status
        client.close()
        return answered, unknown

    with ThreadPoolExecutor(16) as pool:
        reading = [pool.submit(read, number) for number in range(16)]
        try:
            wait_until(lambda: uses_left(leader, token, limited[0]) < USES - 20, "they read")
            leader.kill()
            wait_until(partial(another_leads, three, leader), "another node leads", NEW_LEADER_S)
            before = uses_left(three.wait_leader(), token, limited[0])
            wait_until(lambda: uses_left(three.wait_leader(), token, limited[0]) < before - 20, "they read again")
        finally:
            stop.set()
        counted = [each.result(120) for each in reading]
    for (answered, unknown), limited_token in zip(counted, limited, strict=True):
        used = USES - uses_left(three.wait_leader(), token, limited_token)
        assert answered <= used <= answered + unknown, (answered, used, unknown)
    print(f"{sum(a for a, _ in counted)} answered, {sum(u for _, u in counted)} of unknown outcome")
    revive(leader)
    wait_whole(three)


def uses_left(node: Node, token: str, limited: str) -> int:
    """How many uses a token has left, as a node says."""
    return int(node.call("POST", "auth/token/lookup", {"token": limited}, token=token).json["data"]["num_uses"])


def test_step_down_under_load(three: Cluster) -> None:
    """Handing over leadership fails no request of a client that retries, and loses nothing."""
    with Writers(three.nodes, three.root_token, "stepdown", retry_all=True) as writers:
        for _ in range(3):
            writers.wait_for(50)
            leader = three.wait_leader()
            reply = leader.call("PUT", "sys/step-down", token=three.root_token)
            assert reply.status == 204, reply.body
            wait_until(partial(another_leads, three, leader), "another node leads", NEW_LEADER_S)
        writers.wait_for(50)
    assert not writers.unknown
    wait_whole(three)
    require_nothing_lost(three, writers)


def test_graceful_stop_under_load(three: Cluster) -> None:
    """SIGTERM to the leader: it hands over, ends with 0 at once, and no client that retries fails."""
    with Writers(three.nodes, three.root_token, "term", retry_all=True) as writers:
        for _ in range(2):
            writers.wait_for(50)
            leader = three.wait_leader()
            stopping = time.monotonic()
            assert leader.stop() == 0, leader.log[-2000:]
            assert time.monotonic() - stopping < GRACEFUL_S
            wait_until(partial(another_leads, three, leader), "another node leads", NEW_LEADER_S)
            writers.wait_for(20)
            revive(leader)
    assert not writers.unknown
    wait_whole(three)
    require_nothing_lost(three, writers)
