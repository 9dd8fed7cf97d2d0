"""Keys that are rotated, nodes that are sealed, clocks that jump and logins that storm, while others go on working."""

import resource
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.processes.cluster import Node, Reply, wait_until
from tests.processes.test_faults import contents, revive
from tests.processes.writers import Writers, differing, require_nothing_lost
from tests.torture.nodes import Bench, TortureNode, bench

pytestmark = [pytest.mark.processes, pytest.mark.slow]

CANARY = "canary-6d1f0c5b2e"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("hard-times"), isolated=False) as made:
        yield made


@pytest.fixture
def three(shared: Bench) -> Iterator[Bench]:
    """The shared cluster, whole; after the test no node has logged a traceback."""
    whole(shared)
    yield shared
    for node in shared.nodes:
        assert "Traceback" not in node.log, node.log[-4000:]


def whole(three: Bench) -> None:
    for node in three.nodes:
        if node.process is None:
            revive(node)

    def is_whole() -> bool:
        return sorted(status(node) for node in three.nodes) == [200, 429, 429]

    wait_until(is_whole, "one node is active and two follow")
    three.cluster.wait_applied()


def status(node: Node) -> int:
    try:
        return node.call("GET", "sys/health", timeout_s=5).status
    except OSError:
        return 0


def wait_sealed(node: Node) -> None:
    wait_until(lambda: status(node) == 503, f"{node.name} is sealed")


def wait_another(three: Bench, old: Node) -> None:
    wait_until(lambda: three.leader() not in (None, old), "another node leads")


def root(three: Bench, node: Node, method: str, path: str, body: object = None, **options: float) -> Reply:
    return node.call(method, path, body, token=three.cluster.root_token, **options)


def until_done(three: Bench, method: str, path: str, body: object = None) -> Reply:
    """Ask whoever answers until it is done."""

    def asked() -> Reply | None:
        for node in three.nodes:
            try:
                reply = root(three, node, method, path, body, timeout_s=20)
            except OSError:
                continue
            if reply.status in (200, 204):
                return reply
        return None

    found: Reply = wait_until(asked, f"{method} {path} is done")
    return found


# -- row 32: keys and seals -------------------------------------------------------------------------------------------


def key_term(three: Bench, node: Node) -> int:
    return int(root(three, node, "GET", "sys/key-status").json["data"]["term"])


def test_the_leader_dies_while_the_key_is_rotated(three: Bench) -> None:
    """One keyring wins, a rotation that was acknowledged has happened, and what older keys sealed can be read."""
    until_done(three, "POST", "secret/data/canary", {"data": {"value": CANARY}})
    first = key_term(three, three.wait_leader())
    rotated = 0
    with Writers(three.nodes, three.cluster.root_token, "rotate") as writers:
        for turn in range(5):
            writers.wait_for(20)
            leader = three.wait_leader()
            killer = threading.Timer((0.0, 0.002, 0.005, 0.02, 0.1)[turn], leader.kill)
            killer.start()
            for _ in range(10):
                try:
                    rotated += root(three, leader, "POST", "sys/rotate", timeout_s=20).status == 204
                except OSError:
                    break
            killer.join()
            until_done(three, "POST", "sys/rotate")
            rotated += 1
            writers.wait_for(20)
            revive(leader)
    whole(three)
    require_nothing_lost(three.cluster, writers)
    terms = {key_term(three, node) for node in three.nodes}
    assert len(terms) == 1
    assert terms.pop() - first >= rotated
    assert until_done(three, "GET", "secret/data/canary").json["data"]["data"] == {"value": CANARY}
    for node in three.nodes:
        assert node.stop() == 0
    states = [contents(node) for node in three.nodes]
    assert differing(states) <= {"core/active"}
    assert len({state["core/keyring"] for state in states}) == 1
    for node in three.nodes:
        for file in Path(node.data).rglob("*"):
            assert not file.is_file() or CANARY.encode() not in file.read_bytes(), f"{file} holds a secret in clear"


def test_nodes_are_sealed_in_the_middle_of_writes(three: Bench) -> None:
    """A sealed leader acknowledges nothing more; the others go on; unsealed again it has everything."""
    with Writers(three.nodes, three.cluster.root_token, "seal") as writers:
        for _ in range(3):
            writers.wait_for(30)
            leader = three.wait_leader()
            assert root(three, leader, "PUT", "sys/seal").status == 204
            wait_sealed(leader)
            wait_another(three, leader)
            writers.wait_for(30)
            assert leader.stop() == 0
            revive(leader)
        # Two at once: no majority is left, and nothing is acknowledged until one is back.
        writers.wait_for(30)
        for _ in range(2):
            sealed = three.wait_leader()
            assert root(three, sealed, "PUT", "sys/seal").status == 204
            wait_sealed(sealed)
            if sum(status(node) == 503 for node in three.nodes) == 1:
                wait_another(three, sealed)
        for node in three.nodes:
            if status(node) == 503:
                assert node.stop() == 0
                revive(node)
        writers.wait_for(30)
    whole(three)
    require_nothing_lost(three.cluster, writers)


# -- row 24: disks ----------------------------------------------------------------------------------------------------


def empty(folder: Path) -> None:
    """Remove what is in it; it may be the mount point of a disk."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def follower(three: Bench) -> TortureNode:
    leader = three.wait_leader()
    return next(node for node in three.nodes if node is not leader)


def replace_member(three: Bench, node: TortureNode) -> None:
    """What the messages say: remove it, empty its folder, let it join again."""
    if node.process is not None:
        node.kill()
    until_done(three, "POST", "sys/storage/raft/remove-peer", {"server_id": node.name})
    empty(node.data)
    revive(node)
    wait_until(lambda: len(three.cluster.peers()) == 3, "it is a member again")
    whole(three)


def test_an_old_copy_of_a_disk_is_stopped(three: Bench, tmp_path: Path) -> None:
    """A node on its disk of some time ago is told by the leader, ends with one line, and does not start again."""
    node = follower(three)
    with Writers(three.nodes, three.cluster.root_token, "old-disk", count=4) as writers:
        writers.wait_for(20)
        assert node.stop() == 0
        shutil.copytree(node.data, tmp_path / "copy")
        revive(node)
        three.cluster.wait_applied()
        writers.wait_for(100)
        node.kill()
        empty(node.data)
        shutil.copytree(tmp_path / "copy", node.data, dirs_exist_ok=True)
        node.launch()
        wait_until(node.ended, "the node ends")
        assert "lacks entries that it had acknowledged" in node.log.rstrip().splitlines()[-1]
        said = node.refuses()
        assert "old copy or was emptied" in said and "remove-peer" in said
        writers.wait_for(20)
    replace_member(three, node)
    require_nothing_lost(three.cluster, writers)


def test_an_emptied_disk_does_not_join_as_who_it_was(three: Bench) -> None:
    """A node with a new folder and an old name is refused by the leader until the old member is removed."""
    node = follower(three)
    with Writers(three.nodes, three.cluster.root_token, "new-disk", count=4) as writers:
        writers.wait_for(20)
        node.kill()
        empty(node.data)
        at = len(node.log)
        node.launch()
        wait_until(lambda: "is a peer already and its data folder is empty" in node.log[at:], "it is refused")
        assert status(node) in (501, 503)
        writers.wait_for(20)
    replace_member(three, node)
    require_nothing_lost(three.cluster, writers)


# -- row 16: clocks ---------------------------------------------------------------------------------------------------


def new_token(three: Bench, ttl: str) -> str:
    reply = until_done(three, "POST", "auth/token/create", {"ttl": ttl, "policies": ["default"]})
    return str(reply.json["auth"]["client_token"])


def lives(node: Node, token: str) -> bool:
    """Whether the cluster, asked through this node, takes the token."""
    code: int = wait_until(
        lambda: next((c for c in (node.call("GET", "auth/token/lookup-self", token=token).status,) if c < 500), None),
        "the node answers",
    )
    assert code in (200, 403)
    return code == 200


def accessors(three: Bench, node: Node) -> list[str]:
    """Of the tokens that there are, whether or not they are past their end."""
    return [str(each) for each in root(three, node, "LIST", "auth/token/accessors").json["data"]["keys"]]


def raft_term(node: Node) -> str:
    """What changes with each election: who leads, and since when."""
    said = node.call("GET", "sys/leader").json
    return f"{said['leader_address']} {said.get('active_time')}"


def set_clocks(nodes: list[TortureNode], ahead_s: int) -> None:
    for node in nodes:
        node.set_clock(ahead_s)


def test_clocks_that_jump_elect_nobody_and_revive_nothing(three: Bench) -> None:
    """Raft does not look at the wall clock. What was ended by a clock stays ended when that clock is set back."""
    leader = three.wait_leader()
    led = raft_term(leader)
    long, middle, short = (new_token(three, ttl) for ttl in ("20h", "30m", "1s"))
    accessor = str(leader.call("GET", "auth/token/lookup-self", token=middle).json["data"]["accessor"])
    wait_until(lambda: not lives(leader, short), "the short one has ended")
    try:
        for ahead_s in (-3600, 3600, -60, 60, 0):
            set_clocks([leader], ahead_s)
            time.sleep(0.3)  # the fault itself: strobing
            assert lives(leader, long)
            assert not lives(leader, short), f"with the clock {ahead_s} s ahead an ended token lives again"
        set_clocks([leader], 3600)
        wait_until(lambda: not lives(leader, middle), "half an hour is over by this clock")
        wait_until(lambda: accessor not in accessors(three, leader), "and the token is cleared away")
        set_clocks([leader], 0)
        for node in three.nodes:
            assert (lives(node, long), lives(node, middle), lives(node, short)) == (True, False, False)
        assert raft_term(leader) == led, "the clock has cost the leader its leadership"
    finally:
        set_clocks(three.nodes, 0)


def test_a_new_leader_with_a_slow_clock_revives_nothing(three: Bench) -> None:
    """After a failover to a node whose clock is an hour behind, ended tokens stay ended, and others live on."""
    leader = three.wait_leader()
    others = [node for node in three.nodes if node is not leader]
    before = set(accessors(three, leader))
    living, ended = new_token(three, "10h"), new_token(three, "1s")
    wait_until(lambda: len(set(accessors(three, leader)) - before) == 1, "one of the two is cleared away")
    try:
        set_clocks(others, -3600)
        leader.kill()
        wait_another(three, leader)
        for node in others:
            assert (lives(node, ended), lives(node, living)) == (False, True)
        fresh = new_token(three, "2s")
        wait_until(lambda: not lives(others[0], fresh), "a clock that is behind counts as fast as any")
    finally:
        set_clocks(three.nodes, 0)


def test_a_boot_with_a_clock_years_ahead_revokes_nothing(three: Bench) -> None:
    """Row 17: it is said, nothing is cleared away, and with the clock set right all tokens are as they were."""
    tokens = [new_token(three, "20h") for _ in range(5)]
    there = set(accessors(three, three.wait_leader()))
    for node in three.nodes:
        assert node.stop() == 0
    try:
        set_clocks(three.nodes, 10 * 365 * 86400)
        at = {node.name: len(node.log) for node in three.nodes}
        for node in three.nodes:
            node.launch()
        said = "days ahead of what it should show"
        wait_until(lambda: any(said in node.log[at[node.name] :] for node in three.nodes), "the active node says so")
        leader = three.wait_leader()
        assert not lives(leader, tokens[0])
        assert set(accessors(three, leader)) == there
        set_clocks(three.nodes, 0)
        wait_until(lambda: "the clock of this node is right again" in leader.log, "it goes on")
        assert all(lives(leader, token) for token in tokens)
    finally:
        set_clocks(three.nodes, 0)


# -- rows 26 and 8: logins, memory ------------------------------------------------------------------------------------


def resident_kib(node: Node) -> int:
    assert node.process is not None
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def test_a_storm_of_logins_is_queued(three: Bench) -> None:
    """While 200 logins wait for bcrypt, others are answered, the leader leads, and memory does not grow with them."""
    until_done(three, "POST", "sys/auth/userpass", {"type": "userpass"})
    until_done(three, "POST", "auth/userpass/users/ann", {"password": "right"})
    until_done(three, "POST", "secret/data/calm", {"data": {"value": "1"}})
    leader = three.wait_leader()
    led, before_kib = raft_term(leader), resident_kib(leader)
    logins, slowest_s, grown_kib = 200, 0.0, 0

    def login(number: int) -> int:
        password = "right" if number % 2 else "wrong"
        return int(leader.call("POST", "auth/userpass/login/ann", {"password": password}, timeout_s=120).status)

    with ThreadPoolExecutor(logins) as pool:
        storm = [pool.submit(login, number) for number in range(logins)]
        while not all(each.done() for each in storm):
            began_s = time.monotonic()
            assert root(three, leader, "GET", "secret/data/calm").status == 200
            assert root(three, leader, "POST", "secret/data/calm", {"data": {"value": "2"}}).status == 200
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            grown_kib = max(grown_kib, resident_kib(leader) - before_kib)
    answers = {each.result() for each in storm}
    assert answers <= {200, 400, 403}, answers  # in, wrong password, or locked out for the many of these
    assert slowest_s < 5.0, f"others waited {slowest_s:.1f} s"
    assert grown_kib < 64 * 1024, f"{grown_kib} KiB more"
    assert raft_term(leader) == led, "the logins have cost the leader its leadership"


def test_a_leader_without_memory_loses_nothing(three: Bench) -> None:
    """A leader that is given no more memory refuses or ends; there is no half of a write, and it comes back."""
    with Writers(three.nodes, three.cluster.root_token, "memory") as writers:
        writers.wait_for(50)
        leader = three.wait_leader()
        assert leader.process is not None
        pid = leader.process.pid
        mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        soft, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (mapped + 2 * 1024 * 1024, hard))
        large = {"data": {"value": "x" * 400_000}}
        with ThreadPoolExecutor(16) as pool:
            put = partial(root, three, leader, "POST", timeout_s=30)
            for each in [pool.submit(put, f"secret/data/large{number}", large) for number in range(64)]:
                error = each.exception()
                assert error is None or isinstance(error, OSError)
                # 400: the JSON library has no other word for what it finds no memory to read.
                assert error is not None or each.result().status in (200, 400, 500, 503)
        if not leader.ended():
            resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard))
        else:
            revive(leader)
        writers.wait_for(50, 60.0)
    whole(three)
    require_nothing_lost(three.cluster, writers)
