"""Audit devices of real servers: rotation, the command line, forwarding, a new leader, and the search for a canary."""

import json
import signal
import socket
import stat
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.processes.cluster import PROGRAM, ROOT, Node, clean_environment, cluster, dev_server, wait_until

pytestmark = pytest.mark.processes


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _enable(node: Node, path: Path, token: str = "root", **options: str) -> None:
    wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
    body = {"type": "file", "options": {"file_path": str(path), **options}}
    assert node.call("POST", f"sys/audit/{path.stem}", body, token=token).status == 204


def _run(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(), "VAULT_ADDR": node.address, "VAULT_TOKEN": "root"}
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_line_enables_lists_and_disables(tmp_path: Path) -> None:
    """Walkthrough J: `audit enable file`, `audit list`, `audit disable`, with the documented output and exit codes."""
    with dev_server(tmp_path) as node:
        wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
        assert _run(node, "audit", "list").returncode == 2
        enabled = _run(node, "audit", "enable", "-description=all", "file", f"file_path={tmp_path / 'a.log'}")
        assert (enabled.returncode, enabled.stdout) == (0, "Success! Enabled the file audit device at: file/\n")
        listed = _run(node, "audit", "list", "-detailed")
        assert "file/" in listed.stdout and f"file_path={tmp_path / 'a.log'}" in listed.stdout
        assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o600
        refused = _run(node, "audit", "enable", "-path=exec", "file", f"file_path={tmp_path / 'x'}", "mode=0755")
        assert refused.returncode == 2 and "executable" in refused.stderr
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(20)
            port = server.getsockname()[1]
            enabled = _run(node, "audit", "enable", "socket", f"address=127.0.0.1:{port}", "socket_type=tcp")
            assert enabled.returncode == 0, enabled.stderr
            assert _run(node, "kv", "put", "secret/a", "x=canary").returncode == 0
            server.accept()[0].close()  # the trial's connection
            connection, _ = server.accept()
            with connection:
                assert connection.recv(200).startswith(b'{"time":"')
        assert _run(node, "audit", "disable", "socket").returncode == 0
        disabled = _run(node, "audit", "disable", "file")
        assert disabled.stdout == "Success! Disabled audit device (if it was enabled) at: file/\n"
        assert _run(node, "audit", "list").returncode == 2
    assert "canary" not in (tmp_path / "a.log").read_text()


def test_sighup_begins_a_new_file(tmp_path: Path) -> None:
    """Rotation: move the file away, send SIGHUP, and the next record is in a new file; none is lost."""
    path, moved = tmp_path / "a.log", tmp_path / "a.log.1"
    with dev_server(tmp_path) as node:
        _enable(node, path)
        node.call("GET", "secret/data/one", token="root")
        path.rename(moved)
        node.call("GET", "secret/data/two", token="root")
        node.signal(signal.SIGHUP)
        wait_until(path.exists, "a new file is there")
        node.call("GET", "secret/data/three", token="root")
    assert [record["request"]["path"] for record in _records(moved)][-1] == "secret/data/two"
    assert {record["request"]["path"] for record in _records(path)} == {"secret/data/three"}


def test_cve_2024_2877_forwarded_requests_are_recorded_once_by_the_leader(tmp_path: Path) -> None:
    """What a standby takes is recorded by the leader with the sender's address; nothing of it is in any node's log."""
    path = tmp_path / "audit.log"
    with cluster(tmp_path) as three:
        leader, token = three.wait_leader(), three.root_token
        _enable(leader, path, token)
        for standby in (node for node in three.nodes if node is not leader):
            before = len(_records(path))
            headers = {"X-Canary": "canary-header"}
            body = {"data": {"x": "canary-value"}}
            assert standby.call("POST", "secret/data/a", body, token=token, headers=headers).status == 200
            records = _records(path)[before:]
            assert [record["type"] for record in records] == ["request", "response"]
            assert records[0]["request"]["remote_address"] == "127.0.0.1"
            assert records[0]["request"]["remote_port"] > 0
        leader.kill()
        wait_until(lambda: three.leader() is not None, "another leads", 20)
        before = len(_records(path))
        assert three.call("GET", "secret/data/a").status == 200
        assert len(_records(path)) == before + 2
        text = path.read_text() + "".join(node.log for node in three.nodes)
    assert "canary" not in text and token not in text


def test_no_canary_in_any_record(tmp_path: Path) -> None:
    """Every operation of every engine, also with fields of the wrong type: no secret value and no token in clear."""
    canary, files = "canary-5d1f", [tmp_path / "one.log", tmp_path / "two.log"]
    secrets: list[str] = [canary]
    with dev_server(tmp_path, root_token="root-canary-77aa") as node:
        root = "root-canary-77aa"
        secrets.append(root)
        for path in files:
            _enable(node, path, root, **({"hmac_accessor": "true"} if path is files[0] else {"prefix": "@cee: "}))
        node.call("POST", "sys/mounts/v1", {"type": "kv"}, token=root)

        def call(method: str, path: str, body: object = None, token: str = root, wrap: str = "") -> Any:
            headers = {"X-Vault-Wrap-TTL": wrap} if wrap else None
            answer = node.call(method, path, body, token=token, headers=headers)
            found = answer.json if answer.body else {}
            for part in (found.get("auth") or {}, found.get("wrap_info") or {}):
                secrets.extend(str(part[name]) for name in ("client_token", "token", "accessor") if part.get(name))
            return found

        value: dict[str, object] = {"x": canary, "deep": [{"y": canary}, [canary]], "n": 1}
        for mount in ("v1/a", "cubbyhole/a"):
            call("POST", mount, value)
            call("GET", mount)
            call("DELETE", mount)
            call("LIST", mount.partition("/")[0])
        for body in (
            {"data": value},
            {"data": value, "options": {"cas": canary}},
            {"data": canary},
            {"data": [canary]},
        ):
            call("POST", "secret/data/a", body)
        call("GET", "secret/data/a")
        call("GET", "secret/data/a", wrap="60s")
        call("GET", "secret/subkeys/a")
        call("POST", "secret/metadata/a", {"custom_metadata": {"x": canary}, "max_versions": canary})
        call("POST", "secret/metadata/a", {"custom_metadata": {"x": canary}})
        call("GET", "secret/metadata/a")
        for verb in ("delete", "undelete", "destroy"):
            call("POST", f"secret/{verb}/a", {"versions": [canary]})
            call("POST", f"secret/{verb}/a", {"versions": [1]})
        call("GET", "secret/data/a")
        call("DELETE", "secret/metadata/a")
        made = call("POST", "auth/token/create", {"policies": ["default"], "ttl": canary})
        made = call("POST", "auth/token/create", {"policies": ["default"], "num_uses": 3})
        token, accessor = made["auth"]["client_token"], made["auth"]["accessor"]
        call("GET", "auth/token/lookup-self", token=token)
        call("POST", "auth/token/lookup", {"token": token})
        call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        call("POST", "auth/token/renew", {"token": token, "increment": canary})
        call("POST", "auth/token/renew", {"token": token})
        call("LIST", "auth/token/accessors")
        call("POST", "auth/token/create", {"type": "batch", "policies": ["default"]})
        call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
        call("GET", "secret/data/a", token=canary)
        node.call("POST", "sys/auth/userpass", {"type": "userpass"}, token=root)
        call("POST", "auth/userpass/users/ann", {"password": canary, "token_policies": "default"})
        for password in (canary, [canary], f"wrong-{canary}"):
            call("POST", "auth/userpass/login/ann", {"password": password}, token="")
        call("POST", "auth/userpass/login/ann", {"password": canary}, token="", wrap="60s")
        call("POST", "auth/userpass/users/ann/password", {"password": canary})
        # CVE-2024-8365: of AppRole, the secret id as well as the token and accessor that a login gives out.
        node.call("POST", "sys/auth/approle", {"type": "approle"}, token=root)
        call("POST", "auth/approle/role/r", {"token_policies": "default"})
        role_id = call("GET", "auth/approle/role/r/role-id")["data"]["role_id"]
        made = call("POST", "auth/approle/role/r/secret-id", {"metadata": "{}"})["data"]
        secrets.extend((made["secret_id"], made["secret_id_accessor"]))
        login = {"role_id": role_id, "secret_id": made["secret_id"]}
        assert call("POST", "auth/approle/login", login, token="")["auth"]["client_token"]
        call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": canary}, token="")
        call("POST", "auth/approle/role/r/secret-id/lookup", {"secret_id": made["secret_id"]})
        call(
            "POST", "auth/approle/role/r/secret-id-accessor/lookup", {"secret_id_accessor": made["secret_id_accessor"]}
        )
        call("POST", "auth/approle/role/r/secret-id/destroy", {"secret_id": made["secret_id"]})
        wrapped = call("POST", "sys/wrapping/wrap", value, wrap="60s")["wrap_info"]["token"]
        call("POST", "sys/wrapping/lookup", {"token": wrapped})
        wrapped = call("POST", "sys/wrapping/rewrap", {"token": wrapped})["wrap_info"]["token"]
        call("POST", "sys/wrapping/unwrap", {"token": wrapped})
        call("POST", "sys/wrapping/unwrap", {"token": canary})
        call("POST", "sys/policies/acl/own", {"policy": f'path "x" {{ {canary}'})
        call("POST", "sys/tools/hash", {"input": canary})
        call("POST", "sys/tools/random", {"bytes": canary})
        call("POST", "sys/audit-hash/one", {"input": canary})
        call("POST", "sys/mounts/v2", {"type": "kv", "options": {"version": canary}})
        for malformed in (b'{"x": "' + canary.encode(), b'["' + canary.encode() + b'"]', canary.encode()):
            node.call("POST", "secret/data/a", malformed, token=root)
        log = node.log.replace(f"Root Token: {root}", "")
        records = [json.loads(line.removeprefix("@cee: ")) for path in files for line in path.read_text().splitlines()]
    text = "".join(path.read_text() for path in files)
    assert len(set(secrets)) > 10
    for secret in secrets:
        assert secret not in text
        assert secret not in log
    counted = Counter((record["request"]["id"], record["type"]) for record in records)
    assert len(records) > 150 and max(counted.values()) <= 2
