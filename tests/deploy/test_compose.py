"""The compose cluster's files: what can be checked without a container engine."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from node.config.load import load
from node.config.storage import RaftStorage

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose"


def services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml, by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


@pytest.mark.parametrize("name", ["node-1", "node-2", "node-3"])
def test_a_node_has_all_it_needs(name: str) -> None:
    """node.hcl with a service's environment is a whole configuration that joins all three and unseals by itself."""
    environment = services()[name]["environment"]
    config = load([COMPOSE / "node.hcl"], environment)
    assert isinstance(config.storage, RaftStorage)
    assert config.storage.node_id == name
    assert config.api_addr == f"http://{name}:8200"
    assert [join.leader_api_addr for join in config.storage.retry_join] == [
        f"http://{each}:8200" for each in services()
    ]
    assert config.seal.type == "static"
    assert not config.warnings


def test_a_node_may_write_its_volume_and_nothing_else() -> None:
    """Read-only root file system, no capabilities, no new privileges, and the seal key only for reading."""
    for service in services().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        written = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
        assert [volume.split(":")[1] for volume in written] == ["/data"]


def test_the_image_runs_as_a_user_without_an_account() -> None:
    """CVE-2020-35192: no login account; the user is a bare number."""
    lines = (COMPOSE / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
