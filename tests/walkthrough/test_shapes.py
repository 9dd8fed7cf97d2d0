"""Status codes and members of every answer, against the samples of the published API documentation.

Written as other clients write: POST and PUT alike, LIST and ?list=true alike, with and without a trailing slash, and
with the Content-Type that curl sends when it is told nothing.
"""

from typing import Any

import pytest

from tests.processes.cluster import Node, Reply, call
from tests.walkthrough.kit import ENVELOPE

pytestmark = pytest.mark.processes

CURL = {"Content-Type": "application/x-www-form-urlencoded"}
SEAL_STATUS = {
    "type",
    "initialized",
    "sealed",
    "t",
    "n",
    "progress",
    "nonce",
    "version",
    "build_date",
    "migration",
    "recovery_seal",
    "storage_type",
    "cluster_name",
    "cluster_id",
}
HEALTH = {
    "initialized",
    "sealed",
    "standby",
    "performance_standby",
    "replication_performance_mode",
    "replication_dr_mode",
    "server_time_utc",
    "version",
    "cluster_name",
    "cluster_id",
    "enterprise",
    "echo_duration_ms",
    "clock_skew_ms",
}
LEADER = {
    "ha_enabled",
    "is_self",
    "leader_address",
    "leader_cluster_address",
    "performance_standby",
    "performance_standby_last_remote_wal",
}
MOUNT = {
    "accessor",
    "config",
    "deprecation_status",
    "description",
    "external_entropy_access",
    "local",
    "options",
    "plugin_version",
    "running_plugin_version",
    "running_sha256",
    "seal_wrap",
    "type",
    "uuid",
}
TUNE = {"default_lease_ttl", "description", "force_no_cache", "max_lease_ttl"}
TOKEN = {
    "accessor",
    "creation_time",
    "creation_ttl",
    "display_name",
    "entity_id",
    "expire_time",
    "explicit_max_ttl",
    "id",
    "meta",
    "num_uses",
    "orphan",
    "path",
    "policies",
    "ttl",
    "type",
}
VERSION = {"created_time", "custom_metadata", "deletion_time", "destroyed", "version"}
POLICY = 'path "a" { capabilities = ["read"] }'

BARE: list[tuple[str, str, int, set[str]]] = [
    ("GET", "sys/init", 200, {"initialized"}),
    ("GET", "sys/seal-status", 200, SEAL_STATUS),
    ("GET", "sys/health", 200, HEALTH),
    ("GET", "sys/leader", 200, LEADER),
    ("GET", "sys/seal-backend-status", 200, {"healthy", "backends"}),
    ("PUT", "sys/unseal", 200, SEAL_STATUS),
]

# Method, path, body; status; members of data; whether they are repeated at the top level.
ENVELOPED: list[tuple[str, str, Any, set[str], bool]] = [
    ("GET", "sys/mounts/secret", None, MOUNT, True),
    ("GET", "sys/mounts/secret/tune", None, {*TUNE, "options"}, True),
    ("GET", "sys/auth/token/tune", None, {*TUNE, "token_type"}, True),
    ("GET", "sys/mounts/auth/token/tune", None, {*TUNE, "token_type"}, True),
    ("GET", "sys/internal/ui/mounts", None, {"secret", "auth"}, False),
    ("GET", "sys/internal/ui/mounts/secret/any/path", None, {*MOUNT, "path"}, False),
    ("GET", "sys/key-status", None, {"term", "install_time", "encryptions"}, True),
    ("GET", "sys/ha-status", None, {"Nodes"}, True),
    ("GET", "sys/policy", None, {"keys", "policies"}, True),
    ("GET", "sys/policy/default", None, {"name", "rules"}, True),
    ("LIST", "sys/policies/acl", None, {"keys"}, False),
    ("GET", "sys/policies/acl/default", None, {"name", "policy"}, False),
    ("POST", "sys/capabilities-self", {"paths": ["a"]}, {"a", "capabilities"}, True),
    ("POST", "sys/capabilities-self", {"paths": ["a", "b"]}, {"a", "b"}, True),
    ("POST", "sys/capabilities", {"paths": ["a"], "token": "root"}, {"a", "capabilities"}, True),
    ("POST", "sys/tools/random", None, {"random_bytes"}, False),
    ("POST", "sys/tools/random/16", {"format": "hex"}, {"random_bytes"}, False),
    ("POST", "sys/tools/random/platform/16", None, {"random_bytes"}, False),
    ("POST", "sys/tools/hash", {"input": "aGVsbG8="}, {"sum"}, False),
    ("POST", "sys/tools/hash/sha2-512", {"input": "aGVsbG8=", "format": "base64"}, {"sum"}, False),
    ("GET", "sys/leases/count?type=irrevocable", None, {"lease_count", "counts"}, False),
    ("GET", "sys/leases?type=irrevocable", None, {"lease_count", "leases"}, False),
    ("GET", "auth/token/lookup-self", None, TOKEN, False),
    ("POST", "auth/token/lookup", {"token": "root"}, TOKEN, False),
    ("LIST", "auth/token/accessors", None, {"keys"}, False),
    ("GET", "secret/config", None, {"cas_required", "delete_version_after", "max_versions"}, False),
    ("POST", "secret/data/shape", {"data": {"a": {"b": 1}}}, VERSION, False),
    ("GET", "secret/data/shape", None, {"data", "metadata"}, False),
    ("GET", "secret/subkeys/shape", None, {"subkeys", "metadata"}, False),
    ("LIST", "secret/metadata", None, {"keys"}, False),
]

EMPTY: list[tuple[str, str, Any]] = [
    ("POST", "sys/mounts/shaped", {"type": "kv", "options": {"version": "2"}}),
    ("PUT", "sys/mounts/shaped/tune", {"default_lease_ttl": "1h", "max_lease_ttl": 7200}),
    ("DELETE", "sys/mounts/shaped", None),
    ("DELETE", "sys/mounts/shaped", None),
    ("POST", "sys/policies/acl/shaped", {"policy": POLICY}),
    ("PUT", "sys/policy/shaped", {"policy": POLICY}),
    ("DELETE", "sys/policies/acl/shaped", None),
    ("DELETE", "sys/policy/shaped", None),
    ("POST", "sys/leases/revoke", {"lease_id": "none"}),
    ("PUT", "sys/leases/revoke-prefix/none", None),
    ("PUT", "sys/leases/revoke-force/none", None),
    ("POST", "cubbyhole/shaped", {"a": 1}),
    ("DELETE", "cubbyhole/shaped", None),
    ("POST", "secret/config", {"max_versions": 0}),
    ("POST", "secret/data/gone", {"data": {}}),  # 200: it answers with the version
    ("DELETE", "secret/data/gone", None),
    ("PUT", "secret/undelete/gone", {"versions": [1]}),
    ("POST", "secret/delete/gone", {"versions": "1"}),
    ("PUT", "secret/destroy/gone", {"versions": [1]}),
    ("POST", "secret/metadata/gone", {"max_versions": 2}),
    ("DELETE", "secret/metadata/gone", None),
    ("POST", "auth/token/revoke", {"token": "hvs.never"}),
    ("POST", "auth/token/roles/shaped", {"orphan": True}),
    ("DELETE", "auth/token/roles/shaped", None),
]

REFUSED: list[tuple[str, str, Any, int, list[str] | None]] = [
    ("GET", "secret/data/never", None, 404, []),
    ("LIST", "secret/metadata/never", None, 404, []),
    ("GET", "cubbyhole/never", None, 404, []),
    ("LIST", "cubbyhole/never", None, 404, []),
    ("GET", "sys/policies/acl/never", None, 404, []),
    ("GET", "sys/nothing", None, 404, None),
    ("GET", "no/mount/here", None, 404, ['no handler for route "no/mount/here". route entry not found.']),
    ("PUT", "sys/health", None, 405, None),
    ("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, 400, ["Vault is already initialized"]),
    ("POST", "sys/leases/lookup", {"lease_id": "none"}, 400, ["invalid lease"]),
    ("POST", "sys/leases/renew", {"lease_id": "none"}, 400, ["lease not found"]),
    ("POST", "sys/policies/acl/root", {"policy": POLICY}, 400, ['cannot update "root" policy']),
    ("DELETE", "sys/policies/acl/default", None, 400, ['cannot delete "default" policy']),
    ("POST", "auth/token/lookup", {"token": "hvs.never"}, 403, ["bad token"]),
    ("POST", "secret/data/a", {"options": {"cas": 7}, "data": {}}, 400, None),
    ("PATCH", "secret/data/a", {"data": {}}, 400, None),
]


def _ask(dev: Node, method: str, path: str, body: object = None) -> Reply:
    return dev.call(method, path, body, token="root", headers={**CURL, "X-Vault-Request": "true"})


@pytest.mark.parametrize(
    ("method", "path", "status", "members"), BARE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_answers_without_an_envelope(dev: Node, method: str, path: str, status: int, members: set[str]) -> None:
    """Status routes answer the documented object alone, to anybody."""
    reply = call(dev.address, method, path, {"reset": True} if method == "PUT" else None)
    assert reply.status == status
    assert members <= set(reply.json)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("method", "path", "body", "members", "repeated"), ENVELOPED)
def test_answers_in_the_envelope(
    dev: Node, method: str, path: str, body: object, members: set[str], repeated: bool
) -> None:
    """Every other answer has all members of the envelope, and the documented ones of its own."""
    reply = _ask(dev, method, path, body)
    assert reply.status == 200, reply.body
    assert set(reply.json) >= ENVELOPE
    assert set(reply.json["data"]) >= members
    if repeated:
        assert {name: reply.json[name] for name in members} == {name: reply.json["data"][name] for name in members}
    else:
        assert set(reply.json) == ENVELOPE
    if method == "LIST":
        for other in ("LIST", "GET"):
            for same in (path, f"{path}/"):
                query = "?list=true" if other == "GET" else ""
                assert _ask(dev, other, f"{same}{query}").json["data"] == reply.json["data"]


def test_answers_without_a_body(dev: Node) -> None:
    """What has nothing to say answers 204, in the order in which an operator would call it; deletes may be repeated."""
    for method, path, body in EMPTY:
        reply = _ask(dev, method, path, body)
        expected = 200 if path == "secret/data/gone" and method == "POST" else 204
        assert reply.status == expected, (method, path, reply.body)
        assert expected == 200 or reply.body == b""


@pytest.mark.parametrize(("method", "path", "body", "status", "errors"), REFUSED)
def test_refusals(dev: Node, method: str, path: str, body: object, status: int, errors: list[str] | None) -> None:
    """A refusal is {"errors": [...]} and nothing else, with the texts that scripts match on."""
    reply = _ask(dev, method, path, body)
    assert reply.status == status, reply.body
    assert set(reply.json) == {"errors"}
    assert errors is None or reply.json["errors"] == errors


def test_who_has_no_token(dev: Node) -> None:
    """Without a token, or with one that was never issued, every path but the documented ones is 403."""
    for path in ("secret/data/a", "sys/mounts", "auth/token/lookup-self", "sys/internal/ui/mounts/secret", "no/mount"):
        for token in ("", "hvs.never"):
            reply = call(dev.address, "GET", path, token=token)
            assert reply.status == 403, path
            assert "permission denied" in reply.json["errors"][0]
    assert call(dev.address, "GET", "sys/internal/ui/mounts").json["data"] == {"secret": {}, "auth": {}}


def test_the_token_as_a_bearer(dev: Node) -> None:
    """Authorization: Bearer is the same as X-Vault-Token."""
    reply = call(dev.address, "GET", "auth/token/lookup-self", headers={"Authorization": "Bearer root"})
    assert reply.json["data"]["id"] == "root"


def test_head_of_health(dev: Node) -> None:
    """HEAD gives the status code and no body."""
    reply = call(dev.address, "HEAD", "sys/health")
    assert (reply.status, reply.body) == (200, b"")
    assert call(dev.address, "HEAD", "sys/health?activecode=204").status == 204


def test_a_first_request_may_be_a_list(dev: Node) -> None:
    """LIST on a fresh connection is answered, each time: urllib opens one for every call."""
    for _ in range(20):
        assert _ask(dev, "LIST", "sys/policies/acl").status == 200


def test_the_merge_patch(dev: Node) -> None:
    """PATCH with its own Content-Type merges; null removes a member."""
    _ask(dev, "POST", "secret/data/merge-patched", {"data": {"a": 1, "b": 2}})
    headers = {"Content-Type": "application/merge-patch+json"}
    reply = dev.call("PATCH", "secret/data/merge-patched", {"data": {"a": None, "c": 3}}, token="root", headers=headers)
    assert (reply.status, reply.json["data"]["version"]) == (200, 2)
    assert _ask(dev, "GET", "secret/data/merge-patched").json["data"]["data"] == {"b": 2, "c": 3}


def test_a_deleted_version_is_a_404_with_its_metadata(dev: Node) -> None:
    """The 404 of a deleted version is the ordinary envelope: data null, metadata as it was."""
    _ask(dev, "POST", "secret/data/removed", {"data": {"a": 1}})
    _ask(dev, "DELETE", "secret/data/removed")
    reply = _ask(dev, "GET", "secret/data/removed")
    assert reply.status == 404
    assert set(reply.json) == ENVELOPE
    assert reply.json["data"]["data"] is None
    assert reply.json["data"]["metadata"]["deletion_time"]
