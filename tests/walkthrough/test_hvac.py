"""What applications get through hvac 2.4, a client library that nobody here wrote: one test per area of its API."""

import uuid
from collections.abc import Callable
from typing import Any

import hvac
import pytest
from hvac import exceptions

from tests.processes.cluster import Node
from tests.walkthrough.kit import ENVELOPE, client_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:The raise_on_deleted_version parameter:DeprecationWarning"),
]


@pytest.fixture
def mount(client: hvac.Client) -> Callable[[str], str]:
    """Mounts KV of a version at a path of its own."""

    def enabled(version: str) -> str:
        path = f"kv-{uuid.uuid4().hex[:8]}"
        client.sys.enable_secrets_engine("kv", path=path, options={"version": version})
        return path

    return enabled


def _token(client: hvac.Client, **options: Any) -> str:
    token: str = client.auth.token.create(**{"policies": ["default"], "ttl": "1h", **options})["auth"]["client_token"]
    return token


def test_the_client_itself(dev: Node, client: hvac.Client) -> None:
    """Authentication, seal state and logout, as the client's own properties tell them."""
    assert client.is_authenticated()
    assert client.sys.is_initialized()
    assert not client.sys.is_sealed()
    assert client.seal_status["storage_type"] == "inmem"
    assert client.ha_status["ha_enabled"] is False
    assert client.key_status["term"] >= 1
    assert not client_for(dev, "nonsense").is_authenticated()
    assert not client_for(dev).is_authenticated()
    user = client_for(dev, _token(client))
    assert user.lookup_token()["data"]["policies"] == ["default"]
    user.logout(revoke_token=True)
    assert not user.is_authenticated()


def test_logical_calls(client: hvac.Client, mount: Callable[[str], str]) -> None:
    """read, write, list and delete of any path; what is absent is None."""
    at = mount("1")
    assert client.read(f"{at}/a") is None
    assert client.list(f"{at}/") is None
    client.write_data(f"{at}/a", data={"foo": {"bar": [1, None, "é"]}, "n": 12345678901234567890123})
    assert client.read(f"{at}/a")["data"] == {"foo": {"bar": [1, None, "é"]}, "n": 12345678901234567890123}
    client.write_data(f"{at}/b/c", data={"x": "y"})
    assert client.list(at)["data"]["keys"] == ["a", "b/"]
    client.delete(f"{at}/a")
    assert client.read(f"{at}/a") is None
    wrapped = client.read(f"{at}/b/c", wrap_ttl="60s")
    assert wrapped["data"] is None
    assert set(wrapped["wrap_info"]) >= {"token", "ttl", "creation_time", "creation_path"}
    assert client.sys.unwrap(wrapped["wrap_info"]["token"])["data"] == {"x": "y"}
    with pytest.raises(exceptions.InvalidRequest, match="wrapping token is not valid or does not exist"):
        client.sys.unwrap(wrapped["wrap_info"]["token"])


def test_kv_version_1(client: hvac.Client, mount: Callable[[str], str]) -> None:
    """Create by POST and PUT, read with an advisory lease duration, list, delete."""
    kv, at = client.secrets.kv.v1, mount("1")
    kv.create_or_update_secret("a/b", {"x": "y"}, mount_point=at)
    kv.create_or_update_secret("a/c", {"x": "z", "ttl": "1h"}, method="PUT", mount_point=at)
    read = kv.read_secret("a/b", mount_point=at)
    assert set(read) == ENVELOPE
    assert (read["data"], read["lease_id"], read["lease_duration"]) == ({"x": "y"}, "", 2764800)
    assert kv.read_secret("a/c", mount_point=at)["lease_duration"] == 3600
    for path in ("a", "a/"):
        assert kv.list_secrets(path, mount_point=at)["data"]["keys"] == ["b", "c"]
    kv.delete_secret("a/b", mount_point=at)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret("a/b", mount_point=at)


def test_kv_version_2_versions(client: hvac.Client, mount: Callable[[str], str]) -> None:
    """Versions are made, read, deleted, undeleted and destroyed; a deleted one is InvalidPath by default."""
    kv, at = client.secrets.kv.v2, mount("2")
    made = kv.create_or_update_secret("p", {"a": 1}, mount_point=at)["data"]
    assert set(made) == {"created_time", "custom_metadata", "deletion_time", "destroyed", "version"}
    kv.create_or_update_secret("p", {"a": 2}, cas=1, mount_point=at)
    for cas in (0, 1, 9):
        with pytest.raises(exceptions.InvalidRequest, match="did not match the current version"):
            kv.create_or_update_secret("p", {"a": 3}, cas=cas, mount_point=at)
    assert kv.patch("p", {"b": 2}, mount_point=at)["data"]["version"] == 3
    with pytest.raises(exceptions.InvalidPath):
        kv.patch("absent", {"b": 2}, mount_point=at)
    read = kv.read_secret_version("p", mount_point=at, raise_on_deleted_version=True)["data"]
    assert read["data"] == {"a": 2, "b": 2}
    assert read["metadata"]["version"] == 3
    first = kv.read_secret_version("p", version=1, mount_point=at, raise_on_deleted_version=True)
    assert first["data"]["data"] == {"a": 1}
    kv.delete_latest_version_of_secret("p", mount_point=at)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_version("p", mount_point=at, raise_on_deleted_version=True)
    gone = kv.read_secret_version("p", mount_point=at, raise_on_deleted_version=False)["data"]
    assert gone["data"] is None
    assert gone["metadata"]["deletion_time"]
    kv.undelete_secret_versions("p", [3], mount_point=at)
    assert kv.read_secret("p", mount_point=at, raise_on_deleted_version=True)["data"]["data"]["b"] == 2
    kv.delete_secret_versions("p", [1, 2], mount_point=at)
    kv.destroy_secret_versions("p", [1], mount_point=at)
    versions = kv.read_secret_metadata("p", mount_point=at)["data"]["versions"]
    assert [versions[number]["destroyed"] for number in "123"] == [True, False, False]
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_version("p", version=9, mount_point=at, raise_on_deleted_version=False)
    kv.delete_metadata_and_all_versions("p", mount_point=at)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_metadata("p", mount_point=at)


def test_kv_version_2_settings(client: hvac.Client, mount: Callable[[str], str]) -> None:
    """Configuration of the engine and of one key, and the list of keys."""
    kv, at = client.secrets.kv.v2, mount("2")
    kv.configure(max_versions=2, cas_required=True, delete_version_after="1h", mount_point=at)
    configured = kv.read_configuration(mount_point=at)["data"]
    assert configured == {"max_versions": 2, "cas_required": True, "delete_version_after": "1h0m0s"}
    with pytest.raises(exceptions.InvalidRequest, match="check-and-set parameter required for this call"):
        kv.create_or_update_secret("p", {"a": 1}, mount_point=at)
    for number in range(3):
        made = kv.create_or_update_secret("dir/p", {"a": 1}, cas=number, mount_point=at)["data"]
    assert made["deletion_time"]
    kv.update_metadata("dir/p", max_versions=5, custom_metadata={"team": "a"}, mount_point=at)
    metadata = kv.read_secret_metadata("dir/p", mount_point=at)["data"]
    assert set(metadata) == {
        "cas_required",
        "created_time",
        "current_version",
        "custom_metadata",
        "delete_version_after",
        "max_versions",
        "oldest_version",
        "updated_time",
        "versions",
    }
    assert (metadata["custom_metadata"], metadata["max_versions"]) == ({"team": "a"}, 5)
    assert set(metadata["versions"]) == {"2", "3"}
    assert metadata["oldest_version"] == 2
    assert kv.list_secrets("", mount_point=at)["data"]["keys"] == ["dir/"]
    assert kv.list_secrets("dir", mount_point=at)["data"]["keys"] == ["p"]
    with pytest.raises(exceptions.InvalidPath):
        kv.list_secrets("none", mount_point=at)


def test_mounts(client: hvac.Client) -> None:
    """Enable, describe, tune, refuse twice, disable; what tune was told is what it shows."""
    sys = client.sys
    sys.enable_secrets_engine(
        "kv-v2", path="mounted", description="d", config={"default_lease_ttl": "1h", "max_lease_ttl": "2h"}
    )
    row = sys.list_mounted_secrets_engines()["data"]["mounted/"]
    assert (row["type"], row["options"], row["description"]) == ("kv", {"version": "2"}, "d")
    assert row["config"] == {"default_lease_ttl": 3600, "force_no_cache": False, "max_lease_ttl": 7200}
    assert sys.retrieve_mount_option("mounted", "version") == "2"
    with pytest.raises(exceptions.InvalidRequest, match="path is already in use at mounted/"):
        sys.enable_secrets_engine("kv", path="mounted")
    sys.tune_mount_configuration(
        "mounted",
        default_lease_ttl="3600s",
        max_lease_ttl="8600s",
        description="new",
        audit_non_hmac_request_keys=["a"],
        audit_non_hmac_response_keys=["b"],
        listing_visibility="unauth",
        passthrough_request_headers=["X-One"],
        options={"version": "2"},
    )
    tuned = sys.read_mount_configuration("mounted")
    assert tuned["data"] == {
        "default_lease_ttl": 3600,
        "max_lease_ttl": 8600,
        "description": "new",
        "force_no_cache": False,
        "options": {"version": "2"},
        "audit_non_hmac_request_keys": ["a"],
        "audit_non_hmac_response_keys": ["b"],
        "listing_visibility": "unauth",
        "passthrough_request_headers": ["X-One"],
    }
    assert tuned["max_lease_ttl"] == 8600  # at the top level as well, for older clients
    with pytest.raises(exceptions.InvalidRequest):
        sys.tune_mount_configuration("mounted", default_lease_ttl="9000h")
    with pytest.raises(exceptions.InvalidRequest):
        sys.read_mount_configuration("never-mounted")
    sys.disable_secrets_engine("mounted")
    sys.disable_secrets_engine("mounted")
    assert "mounted/" not in sys.list_mounted_secrets_engines()["data"]
    for path in ("sys", "cubbyhole"):
        with pytest.raises(exceptions.InvalidRequest):
            sys.disable_secrets_engine(path)


def test_auth_mounts(client: hvac.Client) -> None:
    """The token method is listed and tuned, and cannot be disabled."""
    sys = client.sys
    assert sys.list_auth_methods()["data"]["token/"]["type"] == "token"
    sys.tune_auth_method("token", description="of tokens")
    tuned = sys.read_auth_method_tuning("token")["data"]
    assert (tuned["description"], tuned["token_type"]) == ("of tokens", "default-service")
    with pytest.raises(exceptions.InvalidRequest):
        sys.disable_auth_method("token")


def test_policies(client: hvac.Client) -> None:
    """The legacy and the current policy API write the same policies, from text and from a mapping."""
    sys = client.sys
    text = 'path "secret/*" { capabilities = ["read"] }'
    sys.create_or_update_policy("hvac-one", text)
    assert sys.read_policy("hvac-one")["data"] == {"name": "hvac-one", "rules": text}
    assert sys.read_acl_policy("hvac-one")["data"] == {"name": "hvac-one", "policy": text}
    sys.create_or_update_acl_policy("hvac-two", {"path": {"secret/*": {"capabilities": ["read"]}}})
    assert {"hvac-one", "hvac-two", "default", "root"} <= set(sys.list_policies()["data"]["policies"])
    assert {"hvac-one", "hvac-two", "default", "root"} <= set(sys.list_acl_policies()["data"]["keys"])
    assert client.get_policy("hvac-one") == text
    sys.delete_policy("hvac-one")
    sys.delete_acl_policy("hvac-two")
    assert client.get_policy("hvac-one") is None
    for read in (sys.read_policy, sys.read_acl_policy):
        with pytest.raises(exceptions.InvalidPath):
            read("hvac-one")
    for wrong in ('path "x" { capabilities = ["fly"] }', 'path "x" {', "path x"):
        with pytest.raises(exceptions.InvalidRequest, match="line 1"):
            sys.create_or_update_acl_policy("hvac-bad", wrong)


def test_capabilities(client: hvac.Client) -> None:
    """Of oneself, of a token and of an accessor, for one path and for several."""
    made = client.auth.token.create(policies=["default"])["auth"]
    mine = client.sys.get_capabilities(["secret/a", "sys/mounts"])
    assert mine["data"] == {"secret/a": ["root"], "sys/mounts": ["root"]}
    assert mine["secret/a"] == ["root"]
    one = client.sys.get_capabilities(["cubbyhole/a"], token=made["client_token"])["data"]
    assert one["capabilities"] == one["cubbyhole/a"] == ["create", "delete", "list", "read", "update"]
    assert client.sys.get_capabilities(["secret/a"], accessor=made["accessor"])["data"]["capabilities"] == ["deny"]


def test_tokens(client: hvac.Client) -> None:
    """Create, look up, renew and revoke, by token, by accessor and by the holder."""
    token = client.auth.token
    made = token.create(policies=["default"], ttl="1h", meta={"a": "b"}, display_name="dn", explicit_max_ttl="2h")
    assert set(made) == ENVELOPE
    assert set(made["auth"]) == {
        "client_token",
        "accessor",
        "policies",
        "token_policies",
        "identity_policies",
        "metadata",
        "lease_duration",
        "renewable",
        "entity_id",
        "token_type",
        "orphan",
        "mfa_requirement",
        "num_uses",
    }
    value, accessor = made["auth"]["client_token"], made["auth"]["accessor"]
    seen = token.lookup(value)["data"]
    assert (seen["display_name"], seen["meta"], seen["explicit_max_ttl"]) == ("token-dn", {"a": "b"}, 7200)
    assert token.lookup_accessor(accessor)["data"]["id"] == ""
    assert token.lookup_self()["data"]["policies"] == ["root"]
    assert token.renew(value, increment="30m")["auth"]["lease_duration"] == 1800
    assert token.renew_accessor(accessor)["auth"]["lease_duration"] == 3600
    assert accessor in token.list_accessors()["data"]["keys"]
    with pytest.raises(exceptions.InvalidRequest):
        token.renew_self()
    token.revoke_accessor(accessor)
    with pytest.raises(exceptions.Forbidden, match="bad token"):
        token.lookup(value)
    with pytest.raises(exceptions.InvalidRequest, match="invalid accessor"):
        token.lookup_accessor(accessor)
    token.revoke(value)
    assert token.create_orphan(policies=["default"])["auth"]["orphan"] is True
    chosen = f"id-{uuid.uuid4().hex}"
    assert token.create(id=chosen, policies=["default"])["auth"]["client_token"] == chosen
    with pytest.raises(exceptions.InvalidRequest):
        token.create(id=chosen, policies=["default"])
    token.revoke_and_orphan_children(chosen)
    assert token.create(type="batch", policies=["default"], ttl="5m")["auth"]["accessor"] == ""
    assert token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]["wrapped_accessor"]
    token.tidy()


def test_token_holders(dev: Node, client: hvac.Client) -> None:
    """A token renews and revokes itself, and is Forbidden where no policy lets it."""
    user = client_for(dev, _token(client))
    assert user.auth.token.renew_self(increment="10m")["auth"]["lease_duration"] == 600
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        user.secrets.kv.v2.read_secret("a", raise_on_deleted_version=True)
    with pytest.raises(exceptions.Forbidden):
        user.sys.list_mounted_secrets_engines()
    user.write_data("cubbyhole/a", data={"x": 1})
    assert user.read("cubbyhole/a")["data"] == {"x": 1}
    user.auth.token.revoke_self()
    with pytest.raises(exceptions.Forbidden):
        user.auth.token.lookup_self()


def test_token_roles(client: hvac.Client) -> None:
    """Roles are written, read, listed, used and deleted."""
    token = client.auth.token
    token.create_or_update_role(
        "hvac", allowed_policies=["default", "p"], orphan=True, path_suffix="sfx", token_period="1h"
    )
    role = token.read_role("hvac")["data"]
    assert (role["allowed_policies"], role["orphan"], role["path_suffix"]) == (["default", "p"], True, "sfx")
    assert "hvac" in token.list_roles()["data"]["keys"]
    made = token.create(role_name="hvac", policies=["p"])["auth"]
    assert token.lookup(made["client_token"])["data"]["path"] == "auth/token/create/hvac/sfx"
    token.delete_role("hvac")
    with pytest.raises(exceptions.InvalidPath):
        token.read_role("hvac")


def test_health_leader_and_leases(client: hvac.Client) -> None:
    """Health by HEAD and GET with other codes, the leader, and the errors of leases that are not there."""
    assert client.sys.read_health_status().status_code == 200
    health = client.sys.read_health_status(method="GET")
    assert (health["initialized"], health["sealed"], health["standby"]) == (True, False, False)
    assert client.sys.read_health_status(method="GET", active_code=299).status_code == 299
    assert client.sys.read_leader_status()["is_self"] is False
    with pytest.raises(exceptions.InvalidRequest, match="invalid lease"):
        client.sys.read_lease("no/such/lease")
    with pytest.raises(exceptions.InvalidRequest, match="lease not found"):
        client.sys.renew_lease("no/such/lease")
    client.sys.revoke_lease("no/such/lease")
    client.sys.revoke_prefix("no/such/")
    with pytest.raises(exceptions.InvalidRequest, match="already initialized"):
        client.sys.initialize(1, 1)
    with pytest.raises(exceptions.InvalidRequest):
        client.sys.read_raft_config()
