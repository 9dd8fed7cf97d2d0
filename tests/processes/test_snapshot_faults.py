"""Snapshots while a node dies: a broken download is found out, and a restore happens whole or not at all."""

import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.processes.cluster import PROGRAM, ROOT, Cluster, Node, clean_environment, wait_until
from tests.processes.conftest import SnapshotNodes
from tests.processes.dying_server import RENAMING, SENDING, STEPS, doom

pytestmark = pytest.mark.processes

SNAPSHOT = "sys/storage/raft/snapshot"


@pytest.fixture
def three(snapshot_nodes: SnapshotNodes) -> Cluster:
    return snapshot_nodes.cluster


def put(node: Node, token: str, key: str, value: str) -> None:
    reply = node.call("POST", f"secret/data/{key}", {"data": {"x": value}}, token=token)
    assert reply.status == 200, reply.body


def get(node: Node, token: str, key: str) -> object:
    reply = node.call("GET", f"secret/data/{key}", token=token)
    return reply.json["data"]["data"]["x"] if reply.status == 200 else None


def operator(node: Node, token: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`strongroom operator raft snapshot` against a node."""
    environment = {**clean_environment(), "VAULT_ADDR": node.address, "VAULT_TOKEN": token}
    command = [*PROGRAM, "operator", "raft", "snapshot", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)


def has_died(node: Node) -> bool:
    return node.process is not None and node.process.poll() is not None


def revive(three: Cluster, node: Node) -> None:
    """Start a node that has died, and wait until the cluster is whole."""
    node.kill()
    node.start()
    wait_until(lambda: node.call("GET", "sys/health").status in (200, 429), f"{node.name} serves again")
    three.wait_leader()
    three.wait_applied()


def leaves_nothing(node: Node) -> bool:
    """Whether nothing of a transfer is left in a node's data folder."""
    return not any((node.data / "raft" / "snapshots").iterdir())


def marked(steps: tuple[str, ...], often: tuple[str, ...]) -> list[object]:
    return [step if step in often else pytest.param(step, marks=pytest.mark.slow) for step in steps]


@pytest.mark.parametrize("step", marked(("save: not spooled", "save: spooled", SENDING), (SENDING,)))
def test_the_leader_is_killed_during_a_save(three: Cluster, tmp_path: Path, step: str) -> None:
    """`save` fails and leaves no file; what a client got of the download is refused by inspect and by restore."""
    leader, token = three.wait_leader(), three.root_token
    target = tmp_path / "backup.snap"
    target.write_text("an older one")
    doom(leader, step)
    done = operator(leader, token, "save", str(target))
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert target.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [target]
    assert has_died(leader)
    revive(three, leader)
    assert leaves_nothing(leader)


def test_a_broken_download_is_refused(three: Cluster, tmp_path: Path) -> None:
    """What curl would keep of it: inspect says that it is cut off, and so does the server; nothing is changed."""
    leader, token = three.wait_leader(), three.root_token
    put(leader, token, "which", "now")
    doom(leader, SENDING)
    broken = tmp_path / "broken.snap"
    with broken.open("wb") as file:
        subprocess.run(
            ["curl", "-sS", "-H", f"X-Vault-Token: {token}", f"{leader.address}/v1/{SNAPSHOT}"],
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    assert broken.stat().st_size > 1_000_000
    revive(three, leader)
    leader = three.wait_leader()
    for arguments in (("inspect", str(broken)), ("restore", str(broken)), ("restore", "-force", str(broken))):
        done = operator(leader, token, *arguments)
        assert done.returncode in (1, 2) and "cut off" in done.stderr, done
    for path in (SNAPSHOT, f"{SNAPSHOT}-force"):
        reply = leader.call("POST", path, broken.read_bytes(), token=token)
        assert (reply.status, "cut off" in str(reply.json["errors"])) == (400, True), reply
    assert get(leader, token, "which") == "now"


CHANGES_NOTHING = ("receiving", "received", "unpacked", "checked", "index reserved", "rewritten", "staging", "staged")
IS_DONE = ("applying", RENAMING, "applied", "committed")
# Each kind of step in every run, all of them in the slow one.
OFTEN = ("receiving", "staged by all", RENAMING)


def restore_with_death(three: Cluster, victim: Node, step: str) -> tuple[int, set[object]]:
    """Restore "old" over "new" while a node dies at a step: the answer (0 for none), and what all nodes hold then."""
    leader, token = three.wait_leader(), three.root_token
    put(leader, token, "which", "old")
    saved = leader.call("GET", SNAPSHOT, token=token)
    assert saved.status == 200
    put(leader, token, "which", "new")
    doom(victim, step)
    outcome: list[int] = []

    def run() -> None:
        try:
            outcome.append(leader.call("POST", SNAPSHOT, saved.body, token=token).status)
        except OSError:
            outcome.append(0)

    restoring = threading.Thread(target=run)
    restoring.start()
    wait_until(partial(has_died, victim), f"{victim.name} dies at {step!r}", 30)
    restoring.join()
    revive(three, victim)
    wait_until(lambda: all(get(node, token, "which") for node in three.nodes), "all serve again")
    found = {get(node, token, "which") for node in three.nodes}
    put(three.wait_leader(), token, "then", "1")
    for node in three.nodes:
        wait_until(partial(leaves_nothing, node), "nothing is left behind")
    return outcome[0], found


@pytest.mark.parametrize("step", marked((*CHANGES_NOTHING, "staged by all", *IS_DONE), OFTEN))
def test_the_leader_is_killed_during_a_restore(three: Cluster, step: str) -> None:
    """Before the entry is proposed nothing was changed; once it is applied anywhere it is done; on all nodes alike."""
    answer, found = restore_with_death(three, three.wait_leader(), step)
    assert answer == 0
    assert found == ({"old"} if step in IS_DONE else {"new"})


@pytest.mark.parametrize("step", marked(("taking the stream", "staging", "staged", "applying", RENAMING), (RENAMING,)))
def test_another_node_is_killed_during_a_restore(three: Cluster, step: str) -> None:
    """A majority is enough: the restore is done, and the node that died has it too when it is back."""
    leader = three.wait_leader()
    victim = next(node for node in three.nodes if node is not leader)
    assert restore_with_death(three, victim, step) == (204, {"old"})


def test_every_step_is_tested() -> None:
    """A step that is added to the server's list is killed at."""
    tested = {*CHANGES_NOTHING, *IS_DONE, "staged by all", "taking the stream", "save: not spooled", "save: spooled"}
    assert tested == {*STEPS, RENAMING}
