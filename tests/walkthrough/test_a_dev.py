"""Walkthrough A: a server in dev mode, and what its operator sees first."""

import re
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.version import VERSION
from tests.processes.cluster import PROGRAM, ROOT, Node, clean_environment, free_ports, wait_until
from tests.walkthrough.kit import Cli, cli_for, client_for

pytestmark = pytest.mark.processes


@contextmanager
def _dev(folder: Path, port: int, flags: Sequence[str], environment: Mapping[str, str]) -> Iterator[Node]:
    node = Node("dev", folder, port, 0, "")
    with (folder / "dev.log").open("ab") as log:
        node.process = subprocess.Popen(
            [*PROGRAM, "server", "-dev", *flags],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**clean_environment(), "HOME": str(folder), **environment},
        )
    try:
        wait_until(node.answers, "the dev server answers")
        wait_until(lambda: "Root Token" in node.log, "the banner is complete")
        yield node
    finally:
        node.kill()


def test_the_banner_and_the_token_helper(tmp_path: Path) -> None:
    """-dev prints address, unseal key, root token and a warning, and leaves the token where the commands find it."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with _dev(tmp_path, port, [f"-dev-listen-address=127.0.0.1:{port}"], {}) as node:
        log = node.log
        assert "==> Strongroom server configuration:" in log
        assert re.search(rf"Api Address: {address}$", log, re.MULTILINE)
        assert "Storage: inmem" in log
        assert f"export VAULT_ADDR='{address}'" in log
        assert "WARNING! dev mode is enabled!" in log
        assert "should NOT be used in production" in log
        (unseal_key,) = re.findall(r"^Unseal Key: (\S+)$", log, re.MULTILINE)
        (token,) = re.findall(r"^Root Token: (\S+)$", log, re.MULTILINE)
        assert token.startswith("hvs.")
        helper = tmp_path / ".vault-token"
        assert helper.read_text() == token
        assert stat.S_IMODE(helper.stat().st_mode) == 0o600
        sr = cli_for(tmp_path, address)
        assert sr.ok("token", "lookup", "-format=json").json["data"]["id"] == token
        assert sr.ok("print", "token").out == f"{token}\n"
        assert sr.ok("operator", "seal").out == "Success! Vault is sealed.\n"
        assert sr("status").code == 2
        assert sr.ok("operator", "unseal", unseal_key).rows["Sealed"] == "false"
        assert sr("status").code == 0


def test_the_environment_and_the_root_token_id(tmp_path: Path) -> None:
    """VAULT_DEV_LISTEN_ADDRESS and VAULT_DEV_ROOT_TOKEN_ID do as the flags; -dev-no-store-token leaves none."""
    (port,) = free_ports(1)
    environment = {"VAULT_DEV_LISTEN_ADDRESS": f"127.0.0.1:{port}", "VAULT_DEV_ROOT_TOKEN_ID": "my-root"}
    with _dev(tmp_path, port, ["-dev-no-store-token"], environment) as node:
        assert "Root Token: my-root" in node.log
        assert not (tmp_path / ".vault-token").exists()
        assert client_for(node, "my-root").is_authenticated()


def test_a_taken_port_is_one_clear_line(dev: Node, tmp_path: Path) -> None:
    """A dev server whose port is in use says so and ends; it does not touch the token helper."""
    home = tmp_path / "home"
    home.mkdir()
    sr = Cli(home)
    done = sr.refused(
        "server", "-dev", f"-dev-listen-address=127.0.0.1:{dev.api_port}", code=1, says="cannot listen on"
    )
    assert len(done.err.strip().splitlines()) == 1
    assert not (home / ".vault-token").exists()


def test_status(dev: Node, sr: Cli) -> None:
    """`status` shows the documented rows in their order, and ends with 0 when unsealed, 1 when nobody answers."""
    done = sr.ok("status")
    names = [line.rsplit(maxsplit=1)[0].strip() for line in done.out.splitlines()[2:]]
    assert names == [
        "Seal Type",
        "Initialized",
        "Sealed",
        "Total Shares",
        "Threshold",
        "Version",
        "Build Date",
        "Storage Type",
        "Cluster Name",
        "Cluster ID",
        "HA Enabled",
    ]
    values = [line.split()[-1] for line in done.out.splitlines()[2:]]
    assert values[:6] == ["shamir", "true", "false", "1", "1", VERSION]
    assert values[7] == "inmem"
    assert values[10] == "false"
    shown = sr.ok("status", "-format=json").json
    assert shown["type"] == "shamir"
    assert shown["sealed"] is False
    assert shown["ha_enabled"] is False
    assert "sealed: false" in sr.ok("status", "-format=yaml").out
    (closed,) = free_ports(1)
    done = sr("status", f"-address=http://127.0.0.1:{closed}", env={"VAULT_MAX_RETRIES": "0"})
    assert done.code == 1
    assert done.err


def test_the_first_mounts(dev: Node, sr: Cli) -> None:
    """Dev mode mounts KV version 2 at secret/; hvac sees the same."""
    listed = sr.ok("secrets", "list", "-format=json").json
    assert listed["secret/"]["options"] == {"version": "2"}
    assert {"cubbyhole/", "sys/"} <= set(listed)
    client = client_for(dev, "root")
    assert client.sys.list_mounted_secrets_engines()["data"]["secret/"]["type"] == "kv"
    assert client.sys.retrieve_mount_option("secret", "version") == "2"


def test_version_names_the_api_level_first(sr: Cli) -> None:
    """`version` prints the API level and then this program's version, as seal-status does."""
    shown = sr.ok("version").out
    assert shown.startswith(f"Vault v{VERSION}, built ")
    assert sr.ok("-version").out == shown
