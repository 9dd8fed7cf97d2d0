"""The compose cluster, run: its leader killed, its containers removed and made anew, upgraded one by one under writes.

Prometheus is Debian's. Grafana is left out, because its image would have to be pulled; its files are checked in
test_monitoring.py.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from urllib.request import urlopen

import pytest

from tests.deploy.containers import Stack, base_image, build, missing, run, runtime_settings, stack, wheels
from tests.processes.cluster import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

OLD = "localhost/strongroom-test:old"
NEW = "localhost/strongroom-test:new"
NODES = ("node-1", "node-2", "node-3")
CANARY = "canary-of-the-vault"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Images of two releases, and the cluster of the first, initialised."""
    folder = tmp_path_factory.mktemp("compose")
    env = runtime_settings(folder)
    base_image(folder, env)
    wheel_folder = wheels(folder)
    build(OLD, wheel_folder, env, label="old")
    build(NEW, wheel_folder, env, label="new")
    with stack(folder, OLD, env, ("seal-key", *NODES, "prometheus")) as running:
        running.initialize()
        assert running.call(0, "POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}).status == 204
        yield running


def put(three: Stack, index: int, name: str, value: str) -> bool:
    """Whether this write was acknowledged."""
    try:
        reply = three.call(index, "POST", f"secret/data/{name}", {"data": {"v": value}}, timeout_s=20)
    except OSError:
        return False
    return reply.status == 200


def get(three: Stack, index: int, name: str) -> str:
    """The value, as this node tells it."""
    reply = three.call(index, "GET", f"secret/data/{name}")
    assert reply.status == 200, (name, reply)
    return str(reply.json["data"]["data"]["v"])


def test_the_commands_of_the_readme(three: Stack) -> None:
    """Three voters; a secret written through one node is read through the others."""
    listed = three.exec(
        "node-1", "env", f"VAULT_TOKEN={three.root_token}", "strongroom", "operator", "raft", "list-peers"
    )
    assert [line.split()[0] for line in listed.splitlines()[2:]] == list(NODES), listed
    assert put(three, 0, "first", CANARY)
    assert [get(three, index, "first") for index in range(3)] == [CANARY] * 3


def test_prometheus_sees_all_three(three: Stack) -> None:
    """With the configuration of deploy/prometheus: each node is up, and one of them is active."""

    def ask(query: str) -> list[str]:
        address = f"http://127.0.0.1:{three.prometheus_port}/api/v1/query?query={query}"
        try:
            with urlopen(address, timeout=10) as answer:
                return sorted(each["value"][1] for each in json.load(answer)["data"]["result"])
        except OSError:
            return []

    wait_until(lambda: ask("up") == ["1", "1", "1"], "all three are scraped", 90)
    wait_until(lambda: ask("vault_core_active") == ["0", "0", "1"], "one of them is active", 60)


def test_the_root_file_system_cannot_be_written(three: Stack) -> None:
    """Nor is the process root, nor does it have a capability."""
    for node in NODES:
        with pytest.raises(AssertionError, match="Read-only file system"):
            three.exec(node, "touch", "/opt/strongroom/x")
        assert three.exec(node, "id", "-u").strip() == "10001"
        status = three.exec(node, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        three.podman("healthcheck", "run", three.container(node))


def test_the_leader_is_killed(three: Stack) -> None:
    """Another leads, writes go on, and the killed one comes back as a member."""
    leader = three.wait_leader()
    three.podman("kill", "--signal", "KILL", three.container(NODES[leader]))
    wait_until(lambda: three.leader() not in (None, leader), "another one leads", 30)
    other = three.wait_leader()
    assert put(three, other, "after-the-kill", "1")
    wait_until(lambda: _started(three, NODES[leader]), "the container runs again", 60)
    wait_until(three.all_serve, "all three serve", 60)
    assert get(three, leader, "after-the-kill") == "1"


def _started(three: Stack, node: str) -> bool:
    if three.podman("inspect", "--format", "{{.State.Running}}", three.container(node)).strip() == "true":
        return True
    three.podman("start", three.container(node))
    return False


def test_volumes_outlive_their_containers(three: Stack) -> None:
    """All containers removed and made anew: the cluster unseals itself within 15 s and holds what it held."""
    three.compose("down")
    three.up("seal-key", *NODES, "prometheus")
    wait_until(three.all_serve, "all three serve", 15)
    assert get(three, three.wait_leader(), "first") == CANARY


def test_an_upgrade_of_all_three_loses_no_write(three: Stack) -> None:
    """One container after the other is made anew from another image while clients write."""
    done = threading.Event()
    told: list[str] = []

    def write(worker: int) -> None:
        number = 0
        while not done.is_set():
            name = f"upgrade-{worker}-{number}"
            if any(put(three, (worker + shift) % 3, name, name) for shift in range(3)):
                told.append(name)
            number += 1

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for writer in writers:
        writer.start()
    try:
        for node in ("node-2", "node-3", "node-1"):
            enough = len(told) + 20
            three.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", node, image=NEW)
            wait_until(three.all_serve, f"{node} serves again", 90)
            wait_until(lambda: _is_healthy(three), "the cluster can lose another one", 90)
            wait_until(partial(_has, told, enough), "writes go on", 60)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    releases = {
        three.podman("inspect", "--format", '{{index .Config.Labels "release"}}', three.container(node)).strip()
        for node in NODES
    }
    assert releases == {"new"}
    leader = three.wait_leader()
    assert len(told) > 60
    assert [name for name in told if get(three, leader, name) != name] == []


def _has(told: list[str], count: int) -> bool:
    return len(told) >= count


def _is_healthy(three: Stack) -> bool:
    reply = three.call(three.wait_leader(), "GET", "sys/storage/raft/autopilot/state")
    return reply.status == 200 and reply.json["data"]["failure_tolerance"] == 1


def test_no_secret_is_in_an_image_an_environment_or_a_log(three: Stack) -> None:
    """Neither the seal's key nor the root token nor what was written."""
    key = three.exec("node-1", "cat", "/seal/key").strip()
    places = [three.podman("history", "--no-trunc", image) for image in (OLD, NEW)]
    for node in NODES:
        places.append(three.podman("inspect", three.container(node)))
        logs = subprocess.run(
            ["podman", "logs", three.container(node)], capture_output=True, text=True, env=None, check=True
        )
        places.append(logs.stdout + logs.stderr)
        places.append(three.exec(node, "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ; cat /proc/1/cmdline"))
    for secret in (key, three.root_token, CANARY):
        assert secret and not any(secret in place for place in places)
    archive = three.folder / "image.tar"
    three.podman("save", "--output", str(archive), NEW)
    found = subprocess.run(["grep", "--quiet", "--fixed-strings", "--text", key, archive], check=False)
    assert found.returncode == 1
    assert json.loads(run("podman", "image", "inspect", NEW, env=three.environment))[0]["User"] == "10001:10001"
