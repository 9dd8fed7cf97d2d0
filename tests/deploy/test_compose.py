"""The compose cluster's files: what can be checked without a container engine."""

import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.config.load import load
from node.config.storage import RaftStorage

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose"


def services(prefix: str = "node-") -> dict[str, dict[str, Any]]:
    """The services of compose.yaml whose names begin so."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return {name: service for name, service in found.items() if name.startswith(prefix)}


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


def test_the_key_of_the_seal_is_made_once(tmp_path: Path) -> None:
    """The seal-key service's own command, twice: the second time it leaves the key alone. It is a good one."""
    command = [part.replace("/seal", str(tmp_path)) for part in services("seal-key")["seal-key"]["entrypoint"]]
    subprocess.run(command, check=True)
    key = (tmp_path / "key").read_text()
    assert len(b64decode(key)) == 32
    subprocess.run(command, check=True)
    assert [each.name for each in tmp_path.iterdir()] == ["key"] and (tmp_path / "key").read_text() == key


def test_only_loopback_is_published() -> None:
    """Nothing here has TLS."""
    for service in services("").values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_image_runs_as_a_user_without_an_account() -> None:
    """CVE-2020-35192: no login account; the user is a bare number."""
    lines = (COMPOSE / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
