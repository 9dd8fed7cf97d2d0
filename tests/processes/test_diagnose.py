"""`operator diagnose` beside a running node, and after its end."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.processes.cluster import PROGRAM, ROOT, Node, clean_environment, single

pytestmark = pytest.mark.processes


def diagnose(node: Node, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the node's configuration."""
    return subprocess.run(
        [*PROGRAM, "operator", "diagnose", f"-config={node.folder / node.name}.hcl", *flags],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_beside_a_running_node_and_after_its_end(tmp_path: Path) -> None:
    """It leaves the running one alone; afterwards it counts the voters, and the node starts again as it was."""
    with single(tmp_path) as one:
        running = diagnose(one[0])
        assert running.returncode == 1 and "running server" in running.stdout
        assert "[ skipped ] Check For Raft Quorum" in running.stdout
        assert one[0].stop() == 0
        stopped = diagnose(one[0], "-format=json", "-skip=Check Operating System")
        assert stopped.returncode == 2, stopped
        report = json.loads(stopped.stdout)
        storage = next(each for each in report["children"] if each["name"] == "Check Storage")
        said = {each["name"]: each.get("message", "") for each in storage["children"]}
        assert said["Check For Raft Quorum"] == "There are 1 voters."
        assert "Check Operating System" not in stopped.stdout
        one[0].start()
        one.wait_leader()
        assert one.call("GET", "sys/mounts/secret").status == 200


def test_without_a_configuration_it_says_which_flag() -> None:
    """A usage error, exit code 1."""
    done = subprocess.run(
        [*PROGRAM, "operator", "diagnose"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "-config" in done.stderr
