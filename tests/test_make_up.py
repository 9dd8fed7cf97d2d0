"""`make up` and `make down`, as a newcomer meets them (README)."""

import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.local_cluster import LocalCluster, environment, make, three_ports
from tests.processes.cluster import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(make(*words), env=environment(), capture_output=True, text=True, timeout=120, check=False)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def created(local: LocalCluster) -> str:
    found = re.search(r"created_time +(\S+)", local.output)
    assert found is not None, local.output
    return found[1]


def test_it_comes_back_with_its_data(tmp_path: Path) -> None:
    """After Ctrl-C nothing runs; the second start finds the secret of the first; `make down` leaves nothing."""
    with LocalCluster.started(tmp_path) as first:
        written = created(first)
        token = (first.data / "root-token").read_text()
    assert all(is_free(port) and is_free(port + 1) for port in first.ports)
    assert "Traceback" not in first.output
    for name in (".", "seal.key", "root-token", "init.json", "node-1.hcl", "node-1.log", "node-1"):
        assert not stat.S_IMODE((first.data / name).stat().st_mode) & 0o077, f"{name} is open to others"
    with LocalCluster.started(tmp_path, first.ports) as second:
        assert created(second) == written
        assert "kv put" not in second.output
    logs = "".join(path.read_text() for path in first.data.glob("*.log"))
    assert token not in first.output + second.output + logs, "the root token is in a file of its own only"
    assert run("down", f"UP_DATA={first.data}").returncode == 0
    assert not first.data.exists()


def test_a_second_one_is_refused_and_down_stops_the_first(tmp_path: Path) -> None:
    """One folder has one `make up`; `make down` from another terminal ends it before it removes the data."""
    with LocalCluster.started(tmp_path) as local:
        again = run("up", f"UP_DATA={local.data}", f"UP_PORTS={','.join(map(str, local.ports))}")
        assert again.returncode != 0
        assert "another `make up` is running" in again.stderr
        down = run("down", f"UP_DATA={local.data}")
        assert down.returncode == 0, down.stderr
        local.process.wait(60)
        assert not local.data.exists()
        assert all(map(is_free, local.ports))


def test_nodes_without_their_parent_are_stopped(tmp_path: Path) -> None:
    """Should `up` itself be killed, its nodes go on, hold the folder, and `make down` ends them."""
    with LocalCluster.started(tmp_path) as local:
        os.killpg(local.process.pid, signal.SIGKILL)
        local.process.wait(60)
        assert not is_free(local.ports[0])
        down = run("down", f"UP_DATA={local.data}")
        assert down.returncode == 0, down.stderr
        assert all(map(is_free, local.ports))


def test_a_node_that_ends_is_named(tmp_path: Path) -> None:
    """When a node dies, the others are stopped too, and the terminal shows which it was and the end of its log."""
    with LocalCluster.started(tmp_path) as local:
        pids = (local.data / "lock").read_text().split()
        os.kill(int(pids[2]), signal.SIGKILL)
        wait_until(lambda: local.process.poll() is not None, "make up has ended")
        assert "node-2 has ended with code -9. The end of" in local.output
        assert "Traceback" not in local.output
        assert all(map(is_free, local.ports))


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """The port and the remedy are named before anything starts."""
    ports = three_ports()
    with socket.create_server(("127.0.0.1", ports[1])):
        refused = run("up", f"UP_DATA={tmp_path / 'd'}", f"UP_PORTS={','.join(map(str, ports))}")
    assert refused.returncode != 0
    assert f"port {ports[1]} of 127.0.0.1 cannot be used: Address already in use" in refused.stderr
    assert "UP_PORTS=" in refused.stderr


def test_down_leaves_other_folders_alone(tmp_path: Path) -> None:
    """A folder that `make up` did not make is not removed, and a missing one is no error."""
    (tmp_path / "letters").write_text("dear")
    assert "was not made by `make up`" in run("down", f"UP_DATA={tmp_path}").stderr
    assert (tmp_path / "letters").exists()
    assert run("down", f"UP_DATA={tmp_path / 'none'}").returncode == 0
