"""secrets, auth, audit, lease, policy, plugin, monitor and version-history."""

from pathlib import Path
from typing import Any

import pytest

from tests.node.cli.conftest import FakeNode, Terminal

MOUNTS: dict[str, Any] = {
    "secret/": {
        "type": "kv",
        "accessor": "kv_1",
        "description": "",
        "uuid": "u-1",
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 3600, "force_no_cache": False},
        "options": {"version": "2"},
        "local": False,
        "seal_wrap": False,
        "external_entropy_access": False,
        "deprecation_status": "supported",
    },
    "cubbyhole/": {
        "type": "cubbyhole",
        "accessor": "c_1",
        "description": "per-token private secret storage",
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0},
        "options": None,
        "local": True,
    },
}


def test_secrets_list(node: FakeNode, sr: Terminal) -> None:
    """Sorted by path; members of the envelope beside data are no mounts."""
    node.on("GET sys/mounts", {**MOUNTS, "data": MOUNTS, "request_id": "x", "warnings": None})
    assert sr("secrets", "list").out == (
        "Path          Type         Accessor    Description\n"
        "----          ----         --------    -----------\n"
        "cubbyhole/    cubbyhole    c_1         per-token private secret storage\n"
        "secret/       kv           kv_1        n/a\n"
    )
    lines = sr("secrets", "list", "-detailed").out.split("\n")
    cells = [[cell.strip() for cell in line.split("    ") if cell.strip()] for line in lines]
    assert cells[0][3:8] == ["Default TTL", "Max TTL", "Force No Cache", "Replication", "Seal Wrap"]
    assert cells[2][3:10] == ["n/a", "n/a", "false", "local", "false", "false", "map[]"]
    assert cells[3][3:10] == ["system", "1h", "false", "replicated", "false", "false", "map[version:2]"]
    assert sr("secrets", "list", "-format=json").json == MOUNTS


def test_secrets_enable(node: FakeNode, sr: Terminal) -> None:
    """Settings that were not named are left to the server."""
    node.on("PUT sys/mounts/team-alpha")
    node.on("PUT sys/mounts/kv")
    flags = ("-path=team-alpha/", "-version=2", "-default-lease-ttl=1h", "-allowed-response-headers=A,B")
    result = sr("secrets", "enable", *flags, "kv")
    assert result.out == "Success! Enabled the kv secrets engine at: team-alpha/\n"
    assert node.last.json == {
        "type": "kv",
        "description": "",
        "config": {"default_lease_ttl": "1h0m0s", "allowed_response_headers": ["A", "B"]},
        "options": {"version": "2"},
    }
    assert sr("secrets", "enable", "kv").out == "Success! Enabled the kv secrets engine at: kv/\n"
    assert node.last.json == {"type": "kv", "description": "", "config": {}}


def test_secrets_tune(node: FakeNode, sr: Terminal) -> None:
    """-1 is the system's own lifetime; -cas-required is written to the store's own config (walkthrough B)."""
    node.on("PUT sys/mounts/pki/tune")
    node.on("PUT team-alpha/config")
    assert sr("secrets", "tune", "-max-lease-ttl=-1", "-description=x", "pki").out == (
        "Success! Tuned the secrets engine at: pki/\n"
    )
    assert node.last.json == {"max_lease_ttl": "system", "description": "x"}
    node.received.clear()
    assert sr("secrets", "tune", "-cas-required=true", "team-alpha").code == 0
    assert [one.json for one in node.received] == [{"cas_required": True}]


def test_disable(node: FakeNode, sr: Terminal) -> None:
    """Both kinds of mount say it in their own words."""
    node.on("DELETE sys/mounts/kv")
    node.on("DELETE sys/auth/userpass")
    assert sr("secrets", "disable", "kv/").out == "Success! Disabled the secrets engine (if it existed) at: kv/\n"
    assert sr("auth", "disable", "userpass").out == (
        "Success! Disabled the auth method (if it existed) at: userpass/\n"
    )


def test_move_waits(node: FakeNode, sr: Terminal) -> None:
    """A move is asked about until it is done; a failed one is exit code 2."""
    node.data("PUT sys/remount", {"migration_id": "m-1"})
    node.data("GET sys/remount/status/m-1", {"migration_info": {"status": "in-progress"}})
    node.data("GET sys/remount/status/m-1", {"migration_info": {"status": "success"}})
    node.data("GET sys/remount/status/m-1", {"migration_info": {"status": "failure"}})
    assert sr("secrets", "move", "a", "b/").out == (
        "Started moving secrets engine a/ to b/, with migration ID m-1\n"
        "Success! Finished moving secrets engine a/ to b/, with migration ID m-1\n"
    )
    assert sr.slept == [1.0]
    assert sr("auth", "move", "a", "b").code == 2
    moves = [one.json for one in node.received if one.path == "sys/remount"]
    assert moves == [{"from": "a/", "to": "b/"}, {"from": "auth/a/", "to": "auth/b/"}]
    sr("auth", "move", "auth/a/", "auth/b")
    assert node.received[-2].json == {"from": "auth/a/", "to": "auth/b/"}


def test_auth(node: FakeNode, sr: Terminal) -> None:
    """enable, list, tune and help."""
    node.on("PUT sys/auth/userpass")
    node.on("PUT sys/auth/userpass/tune")
    node.on("GET sys/auth", {"data": {"people/": {"type": "userpass", "accessor": "a", "description": "d"}}})
    assert sr("auth", "enable", "userpass").out == "Success! Enabled userpass auth method at: userpass/\n"
    assert sr("auth", "list").out.split("\n")[2] == "people/    userpass    a           d"
    flags = ("-user-lockout-threshold=3", "-user-lockout-duration=10m", "-token-type=batch")
    assert sr("auth", "tune", *flags, "userpass").out == "Success! Tuned the auth method at: userpass/\n"
    assert node.last.json == {
        "token_type": "batch",
        "user_lockout_config": {"lockout_threshold": "3", "lockout_duration": "600s"},
    }
    assert "-method=userpass" in sr("auth", "help", "people").out
    assert sr("auth", "help", "nope").code == 1


def test_audit(node: FakeNode, sr: Terminal) -> None:
    """enable, list and disable; none enabled is exit code 2."""
    node.on("PUT sys/audit/file")
    node.on("DELETE sys/audit/file")
    node.on("GET sys/audit", {"data": {}})
    node.on("GET sys/audit", {"data": {"file/": {"type": "file", "description": "", "options": {"file_path": "/a"}}}})
    assert sr("audit", "enable", "file", "file_path=/a").out == "Success! Enabled the file audit device at: file/\n"
    assert node.last.json == {"type": "file", "description": "", "options": {"file_path": "/a"}, "local": False}
    none = sr("audit", "list")
    assert (none.code, none.err) == (2, "No audit devices are enabled.\n")
    assert sr("audit", "list").out.split("\n")[2] == "file/    file    n/a"
    assert sr("audit", "list", "-detailed").out.split("\n")[2].endswith("replicated     file_path=/a")
    assert sr("audit", "disable", "file").out == "Success! Disabled audit device (if it was enabled) at: file/\n"


def test_lease(node: FakeNode, sr: Terminal) -> None:
    """lookup and renew print rows, revoke says what was asked for."""
    node.data("PUT sys/leases/lookup", {"id": "db/1", "ttl": 3600, "renewable": True})
    node.data("PUT sys/leases/renew", {}, lease_id="db/1", lease_duration=60, renewable=True)
    for path in ("revoke", "revoke-prefix/db", "revoke-force/db"):
        node.on(f"PUT sys/leases/{path}")
    assert "ttl          1h\n" in sr("lease", "lookup", "db/1").out
    assert "lease_duration     1m\n" in sr("lease", "renew", "-increment=1m", "db/1").out
    assert node.last.json == {"lease_id": "db/1", "increment": "1m0s"}
    queued = "All revocation operations queued successfully!\n"
    assert sr("lease", "revoke", "db/1").out == queued
    assert sr("lease", "revoke", "-prefix", "db").out == queued
    assert sr("lease", "revoke", "-sync", "db/1").out == "Success! Revoked lease: db/1\n"
    forced = sr("lease", "revoke", "-f", "-prefix", "db")
    assert forced.out == "Success! Force revoked any leases with prefix: db\n"
    assert forced.err.startswith("Warning!")
    assert sr("lease", "revoke", "-force", "db/1").code == 1


def test_policy(node: FakeNode, sr: Terminal, tmp_path: Path) -> None:
    """write from stdin and file, read, list, delete."""
    text = 'path "secret/*" { capabilities = ["read"] }\n'
    (tmp_path / "p.hcl").write_text(text)
    node.on("PUT sys/policies/acl/app")
    node.on("DELETE sys/policies/acl/app")
    node.data("GET sys/policies/acl/app", {"name": "app", "policy": text})
    node.data("LIST sys/policies/acl", {"keys": ["app", "default", "root"]})
    assert sr("policy", "write", "App", "-", stdin=text).out == "Success! Uploaded policy: app\n"
    assert node.last.json == {"policy": text}
    assert sr("policy", "write", "app", str(tmp_path / "p.hcl")).code == 0
    assert sr("policy", "write", "app", str(tmp_path / "none")).code == 2
    assert sr("policy", "read", "app").out == text
    missing = sr("policy", "read", "none")
    assert (missing.code, missing.err) == (2, "No policy named: none\n")
    assert sr("policy", "list").out == "app\ndefault\nroot\n"
    assert sr("policy", "list", "-format=json").json == ["app", "default", "root"]
    assert sr("policy", "delete", "app").out == "Success! Deleted policy: app\n"


def test_plugin(node: FakeNode, sr: Terminal) -> None:
    """list, info, register, deregister and reload."""
    entry = {"name": "kv", "type": "secret", "version": "v1", "builtin": True, "deprecation_status": "supported"}
    node.data("GET sys/plugins/catalog", {"detailed": [entry, {**entry, "name": "a", "type": "auth"}]})
    node.data("GET sys/plugins/catalog/secret/kv", {"name": "kv", "args": None})
    for request in ("PUT sys/plugins/catalog/secret/x", "DELETE sys/plugins/catalog/secret/x"):
        node.on(request)
    node.on("PUT sys/plugins/reload/backend")
    assert sr("plugin", "list").out.split("\n")[2:4] == ["a       auth      v1", "kv      secret    v1"]
    assert sr("plugin", "list", "secret").out == "Name    Version\n----    -------\nkv      v1\n"
    assert sr("plugin", "list", "nope").code == 1
    assert sr("plugin", "info", "-field=name", "secret", "kv").out == "kv"
    assert sr("plugin", "register", "-sha256=ab", "secret", "x").out == "Success! Registered plugin: x\n"
    assert node.last.json == {"command": "x", "sha256": "ab"}
    assert sr("plugin", "deregister", "secret", "x").out == ("Success! Deregistered plugin (if it was registered): x\n")
    assert sr("plugin", "reload", "-plugin=x").out == "Success! Reloaded plugin: x\n"
    assert sr("plugin", "reload", "-mounts=a/,b/").out == "Success! Reloaded mounts: [a/ b/]\n"
    assert sr("plugin", "reload").code == 1


def test_monitor(node: FakeNode, sr: Terminal) -> None:
    """Lines are printed as they come."""
    node.on("GET sys/monitor", b"[INFO] one\n[WARN] two\n", 200)
    assert sr("monitor", "-log-level=warn").out == "[INFO] one\n[WARN] two\n"
    assert node.last.query == {"log_level": "warn", "log_format": "standard"}
    assert sr("monitor", "-log-level=loud").code == 1


def test_version_history(node: FakeNode, sr: Terminal) -> None:
    """Two lines of notes, then the versions."""
    info = {"1.18.0": {"timestamp_installed": "2026-01-02T00:00:00Z", "build_date": None, "previous_version": None}}
    node.data("LIST sys/version-history", {"keys": ["1.18.0"], "key_info": info})
    assert sr("version-history").out.split("\n")[3:] == [
        "Version    Installation Time       Build Date",
        "-------    -----------------       ----------",
        "1.18.0     2026-01-02T00:00:00Z    n/a",
        "",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("secrets", "enable", "kv"), "Error enabling secrets engine"),
        (("auth", "list"), "Error listing auth methods"),
        (("audit", "disable", "x"), "Error disabling audit device"),
        (("lease", "lookup", "x"), "Error looking up lease"),
        (("policy", "list"), "Error listing policies"),
    ],
)
def test_refusals_name_what_was_attempted(node: FakeNode, sr: Terminal, words: tuple[str, ...], message: str) -> None:
    """The context stands in front of the documented error block."""
    for method in ("PUT", "GET", "DELETE", "LIST"):
        for path in ("sys/mounts/kv", "sys/auth", "sys/audit/x", "sys/leases/lookup", "sys/policies/acl"):
            node.refuse(f"{method} {path}", 403, "permission denied")
    result = sr(*words)
    assert result.code == 2
    assert result.err.startswith(f"{message}: Error making API request.\n\nURL: ")
    assert result.err.endswith("Code: 403. Errors:\n\n* permission denied\n")
