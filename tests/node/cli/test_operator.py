"""status and operator: init, unseal, seal, step-down, members, rotate, rekey, generate-root, usage."""

import base64
from typing import Any

import pytest

from tests.node.cli.conftest import FakeNode, Terminal

SEAL_STATUS: dict[str, Any] = {
    "type": "shamir",
    "initialized": True,
    "sealed": False,
    "t": 3,
    "n": 5,
    "progress": 0,
    "nonce": "",
    "version": "1.18.0+strongroom.0.1.0",
    "build_date": "",
    "migration": False,
    "cluster_name": "vault-cluster-1",
    "cluster_id": "0d7b5d3e",
    "recovery_seal": False,
    "storage_type": "raft",
}
LEADER: dict[str, Any] = {
    "ha_enabled": True,
    "is_self": True,
    "active_time": "2026-01-02T03:04:05Z",
    "leader_address": "http://127.0.0.1:8200",
    "leader_cluster_address": "https://127.0.0.1:8201",
    "raft_committed_index": 38,
    "raft_applied_index": 38,
}


def test_status_of_the_active_node(node: FakeNode, sr: Terminal) -> None:
    """Rows in the documented order, exit code 0."""
    node.on("GET sys/seal-status", SEAL_STATUS)
    node.on("GET sys/leader", LEADER)
    result = sr("status")
    assert result.code == 0
    assert result.out == (
        "Key                     Value\n"
        "---                     -----\n"
        "Seal Type               shamir\n"
        "Initialized             true\n"
        "Sealed                  false\n"
        "Total Shares            5\n"
        "Threshold               3\n"
        "Version                 1.18.0+strongroom.0.1.0\n"
        "Build Date              n/a\n"
        "Storage Type            raft\n"
        "Cluster Name            vault-cluster-1\n"
        "Cluster ID              0d7b5d3e\n"
        "HA Enabled              true\n"
        "HA Cluster              https://127.0.0.1:8201\n"
        "HA Mode                 active\n"
        "Active Since            2026-01-02T03:04:05Z\n"
        "Raft Committed Index    38\n"
        "Raft Applied Index      38\n"
    )


def test_status_of_a_standby(node: FakeNode, sr: Terminal) -> None:
    """A standby names the active node."""
    node.on("GET sys/seal-status", SEAL_STATUS)
    node.on("GET sys/leader", {**LEADER, "is_self": False, "active_time": None})
    out = sr("status").out
    assert "HA Mode                 standby\nActive Node Address     http://127.0.0.1:8200\n" in out


def test_status_of_a_sealed_node(node: FakeNode, sr: Terminal) -> None:
    """Sealed is exit code 2, with the progress; the leader is asked once and may say 503."""
    sealed = {**SEAL_STATUS, "sealed": True, "progress": 1, "cluster_name": "", "nonce": "n-1"}
    node.on("GET sys/seal-status", sealed)
    node.refuse("GET sys/leader", 503, "Vault is sealed")
    result = sr("status")
    assert result.code == 2
    assert "Unseal Progress    1/3\nUnseal Nonce       n-1\n" in result.out
    assert result.out.endswith("HA Enabled         true\n")
    assert len(node.received) == 2
    assert sr("status", "-format=json").json["sealed"] is True


def test_init_and_its_json(node: FakeNode, sr: Terminal) -> None:
    """Keys and token in the lines scripts cut from, and under the documented names in json."""
    node.on("GET sys/seal-status", {**SEAL_STATUS, "initialized": False})
    node.on("PUT sys/init", {"keys": ["61", "62"], "keys_base64": ["YQ==", "Yg=="], "root_token": "hvs.root"})
    result = sr("operator", "init", "-key-shares=2", "-t", "2")
    assert result.code == 0
    assert result.out.startswith("Unseal Key 1: YQ==\nUnseal Key 2: Yg==\n\nInitial Root Token: hvs.root\n\n")
    assert node.last.json == {"secret_shares": 2, "secret_threshold": 2}
    assert sr("operator", "init", "-format=json", "-n=2", "-t=2").json == {
        "unseal_keys_b64": ["YQ==", "Yg=="],
        "unseal_keys_hex": ["61", "62"],
        "unseal_shares": 2,
        "unseal_threshold": 2,
        "recovery_keys_b64": [],
        "recovery_keys_hex": [],
        "recovery_keys_shares": 0,
        "recovery_keys_threshold": 0,
        "root_token": "hvs.root",
    }


def test_init_with_auto_unseal(node: FakeNode, sr: Terminal) -> None:
    """A seal that unseals by itself gets recovery keys."""
    node.on("GET sys/seal-status", {**SEAL_STATUS, "recovery_seal": True})
    node.on("PUT sys/init", {"keys": [], "recovery_keys_base64": ["YQ=="], "root_token": "hvs.root"})
    out = sr("operator", "init", "-recovery-shares=1", "-recovery-threshold=1").out
    assert out.startswith("Recovery Key 1: YQ==\n\nInitial Root Token: hvs.root\n\nSuccess! Vault is initialized\n")
    assert node.last.json == {
        "secret_shares": 0,
        "secret_threshold": 0,
        "recovery_shares": 1,
        "recovery_threshold": 1,
    }


@pytest.mark.parametrize(("initialized", "code", "line"), [(True, 0, "is"), (False, 2, "is not")])
def test_init_status(node: FakeNode, sr: Terminal, initialized: bool, code: int, line: str) -> None:
    """-status only asks."""
    node.on("GET sys/init", {"initialized": initialized})
    result = sr("operator", "init", "-status")
    assert (result.code, result.out) == (code, f"Vault {line} initialized\n")


def test_unseal(node: FakeNode, sr: Terminal) -> None:
    """A share that is accepted is exit code 0 even if more are needed; nobody to ask is wrong usage."""
    node.on("PUT sys/unseal", {**SEAL_STATUS, "sealed": True, "progress": 1})
    node.refuse("GET sys/leader", 503, "Vault is sealed")
    result = sr("operator", "unseal", "YQ==")
    assert result.code == 0
    assert "Unseal Progress    1/3" in result.out
    assert node.received[0].json == {"key": "YQ==", "reset": False, "migrate": False}
    assert sr("operator", "unseal", "-", stdin="YQ==\n").code == 0
    assert sr("operator", "unseal", "-reset").code == 0
    assert node.received[-2].json == {"reset": True}
    assert sr("operator", "unseal").code == 1


def test_unseal_with_a_bad_key(node: FakeNode, sr: Terminal) -> None:
    """The server's refusal is exit code 2, without the key."""
    node.refuse("PUT sys/unseal", 400, "'key' must be a valid hex or base64 string")
    result = sr("operator", "unseal", "s3cret")
    assert result.code == 2
    assert "s3cret" not in result.err


def test_seal_and_step_down(node: FakeNode, sr: Terminal) -> None:
    """Both answer nothing and say what they did."""
    node.on("PUT sys/seal")
    node.on("PUT sys/step-down")
    assert sr("operator", "seal").out == "Success! Vault is sealed.\n"
    assert sr("operator", "step-down").out == f"Success! Stepped down: {node.address}\n"


@pytest.mark.parametrize("wrapped", [True, False])
def test_members(node: FakeNode, sr: Terminal, wrapped: bool) -> None:
    """The list is called Nodes or nodes, with or without the envelope."""
    active = {"hostname": "a", "api_address": "http://a", "cluster_address": "https://a", "active_node": True}
    standby = {"hostname": "b", "api_address": "http://b", "cluster_address": "https://b", "last_echo": "2026"}
    nodes = [{**active, "version": "1"}, standby]
    node.on("GET sys/ha-status", {"data": {"nodes": nodes}} if wrapped else {"Nodes": nodes})
    lines = [line.split("    ") for line in sr("operator", "members").out.split("\n")]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0][3:5] == ["Active Node", "Version"]
    assert cells[2] == ["a", "http://a", "https://a", "true", "1", "n/a", "n/a", "n/a"]
    assert cells[3] == ["b", "http://b", "https://b", "false", "n/a", "n/a", "n/a", "2026"]


def test_rotate_and_key_status(node: FakeNode, sr: Terminal) -> None:
    """rotate prints the new key's rows."""
    node.on("PUT sys/rotate")
    node.data("GET sys/key-status", {"term": 2, "install_time": "2026-01-02T03:04:05.5Z", "encryptions": 7})
    table = (
        "Key                 Value\n---                 -----\n"
        "Key Term            2\nInstall Time        02 Jan 26 03:04 UTC\nEncryption Count    7\n"
    )
    assert sr("operator", "rotate").out == "Success! Rotated key\n\n" + table
    assert sr("operator", "key-status").out == table


def test_rekey(node: FakeNode, sr: Terminal) -> None:
    """Start, progress, done, cancel."""
    started = {"nonce": "n-1", "started": True, "t": 3, "n": 5, "progress": 0, "required": 2}
    node.on("PUT sys/rekey/init", started)
    node.on("GET sys/rekey/init", started)
    node.on("PUT sys/rekey/update", {**started, "progress": 1})
    node.on("PUT sys/rekey/update", {"complete": True, "nonce": "n-1", "keys_base64": ["YQ==", "Yg=="]})
    node.on("DELETE sys/rekey/init")
    start = sr("operator", "rekey", "-init", "-n=5", "-t=3")
    assert start.out == (
        "Key                      Value\n---                      -----\nNonce                    n-1\n"
        "Started                  true\nRekey Progress           0/2\nNew Shares               5\n"
        "New Threshold            3\nVerification Required    false\n"
    )
    assert start.err.startswith("WARNING!")
    assert "Rekey Progress           1/2" in sr("operator", "rekey", "-nonce=n-1", "KEY").out
    done = sr("operator", "rekey", "-nonce=n-1", "-", stdin="KEY2\n")
    assert done.out.startswith("Key 1: YQ==\nKey 2: Yg==\n\nOperation nonce: n-1\n\n")
    assert node.last.json == {"key": "KEY2", "nonce": "n-1"}
    assert sr("operator", "rekey", "KEY").code == 1
    assert sr("operator", "rekey", "-cancel").out == "Success! Canceled rekeying (if it was started)\n"


def test_rekey_that_is_verified(node: FakeNode, sr: Terminal) -> None:
    """The new shares go to the verification, whose rows are its own; with its last share the new ones are in use."""
    waiting = {"nonce": "v-1", "started": True, "t": 2, "n": 3, "progress": 0}
    node.on("GET sys/rekey/verify", waiting)
    node.on("PUT sys/rekey/verify", {**waiting, "progress": 1})
    node.on("PUT sys/rekey/verify", {"nonce": "v-1", "complete": True})
    node.on("DELETE sys/rekey/verify", {**waiting, "nonce": "v-2"})
    assert sr("operator", "rekey", "-verify", "-nonce=v-1", "KEY").out == (
        "Key                      Value\n---                      -----\nNonce                    v-1\n"
        "Started                  true\nNew Shares               3\nNew Threshold            2\n"
        "Verification Progress    1/2\n"
    )
    assert "the new key shares are in use" in sr("operator", "rekey", "-verify", "-nonce=v-1", "KEY2").out
    assert sr("operator", "rekey", "-verify", "-cancel", "-nonce=v-1").code == 0
    assert node.last.json == {"nonce": "v-1"}


def test_warnings_of_a_ceremony(node: FakeNode, sr: Terminal) -> None:
    """What the server could not find out is told beside the keys, on standard error, and is in the JSON."""
    node.on("GET sys/rekey/init", {"nonce": "n", "started": True, "required": 1})
    done = {"complete": True, "nonce": "n", "keys": ["61"], "keys_base64": ["YQ=="], "warnings": ["keep both"]}
    node.on("PUT sys/rekey/update", done)
    result = sr("operator", "rekey", "-nonce=n", "KEY")
    assert "keep both" in result.err and result.out.startswith("Key 1: YQ==\n")
    assert sr("operator", "rekey", "-nonce=n", "-format=json", "KEY").json["warnings"] == ["keep both"]
    node.on("PUT sys/init", {"keys": ["61"], "keys_base64": ["YQ=="], "root_token": "t", "warnings": ["keep these"]})
    node.on("GET sys/seal-status", SEAL_STATUS)
    result = sr("operator", "init", "-n=1", "-t=1")
    assert "keep these" in result.err and "Unseal Key 1: YQ==" in result.out


def test_rekey_that_is_idle(node: FakeNode, sr: Terminal) -> None:
    """Idle is two rows, and a share is refused here."""
    node.on("GET sys/rekey-recovery-key/init", {"nonce": "", "started": False})
    assert sr("operator", "rekey", "-status", "-target=recovery").out.split("\n")[2:4] == [
        "Nonce      n/a",
        "Started    false",
    ]
    assert sr("operator", "rekey", "-target=recovery", "KEY").code == 1
    node.refuse("PUT sys/rekey-recovery-key/update", 400, "no rekey in progress")
    assert sr("operator", "rekey", "-target=recovery", "-nonce=x", "KEY").code == 2


def test_generate_root(node: FakeNode, sr: Terminal) -> None:
    """The OTP is printed at the start; decode with it gives the token."""
    token = "hvs.abcdef"
    otp = "0123456789"
    encoded = base64.b64encode(bytes(a ^ b for a, b in zip(token.encode(), otp.encode(), strict=True))).decode()
    started = {"nonce": "n-1", "started": True, "progress": 0, "required": 1, "complete": False, "otp_length": 10}
    node.on("PUT sys/generate-root/attempt", {**started, "otp": otp})
    node.on("GET sys/generate-root/attempt", started)
    node.on("PUT sys/generate-root/update", {**started, "progress": 1, "complete": True, "encoded_token": encoded})
    node.on("DELETE sys/generate-root/attempt")
    assert "OTP           0123456789\nOTP Length    10\n" in sr("operator", "generate-root", "-init").out
    done = sr("operator", "generate-root", "-nonce=n-1", "KEY").out
    assert f"Encoded Token    {encoded}\n" in done
    assert sr("operator", "generate-root", f"-decode={encoded.rstrip('=')}", f"-otp={otp}").out == token
    assert sr("operator", "generate-root", "-decode=-", f"-otp={otp}", stdin=encoded).out == token
    assert sr("operator", "generate-root", f"-decode={encoded}", "-otp=short").code == 1
    assert len(sr("operator", "generate-root", "-generate-otp").out) == 10
    assert "canceled" in sr("operator", "generate-root", "-cancel").out


def test_usage(node: FakeNode, sr: Terminal) -> None:
    """The root namespace is shown as [root]; a month is sent as its first moment."""
    counts = {"entity_clients": 3, "non_entity_clients": 1, "clients": 4}
    data = {
        "start_time": "2026-01-01T00:00:00Z",
        "end_time": "2026-01-31T23:59:59Z",
        "by_namespace": [{"namespace_path": "", "counts": counts}],
        "total": counts,
    }
    node.data("GET sys/internal/counters/activity", data)
    out = sr("operator", "usage", "-start-time=2026-01").out
    assert node.last.query == {"start_time": "2026-01-01T00:00:00Z"}
    assert out.startswith("Period start: 2026-01-01T00:00:00Z\nPeriod end: 2026-01-31T23:59:59Z\n\nNamespace path    ")
    assert out.split("\n")[5].split() == ["[root]", "3", "1", "0", "0", "4"]
    assert out.split("\n")[6].split() == ["Total", "3", "1", "0", "0", "4"]
