"""Walkthrough D, F: entities, groups and templated policies, by the command line and by hvac."""

import hvac
import pytest

from tests.processes.cluster import Node
from tests.walkthrough.kit import Cli, cli_for, client_for

pytestmark = pytest.mark.processes


def test_people_and_teams(dev: Node, sr: Cli) -> None:
    """A login has an entity; its policies, its groups' and templated paths apply to the token that is there already."""
    sr.ok("auth", "enable", "-path=staff", "userpass")
    accessor = sr.ok("read", "-field=accessor", "sys/auth/staff").out
    sr.ok("write", "auth/staff/users/ann", "password=long-enough")
    sr.ok("kv", "put", "secret/team/red", "a=1")
    sr.ok(
        "policy",
        "write",
        "team",
        "-",
        stdin='path "secret/data/team/{{identity.entity.metadata.team}}" { capabilities = ["read"] }',
    )
    login = sr.ok("login", "-no-store", "-method=userpass", "-path=staff", "username=ann", "password=long-enough")
    ann = cli_for(sr.home / "ann", dev.address, login.rows["token"])
    entity_id = ann.ok("token", "lookup").rows["entity_id"]
    ann.refused("kv", "get", "secret/team/red", says="permission denied")
    sr.ok("write", f"identity/entity/id/{entity_id}", "metadata=team=red", "name=ann")
    member = f"member_entity_ids={entity_id}"
    group_id = sr.ok("write", "-field=id", "identity/group", "name=red", "policies=team", member).out
    ann.ok("kv", "get", "secret/team/red")
    assert sr.ok("read", "-field=name", "identity/entity/name/ann").out == "ann"
    again = sr.ok("login", "-no-store", "-method=userpass", "-path=staff", "username=ANN", "password=long-enough")
    assert again.rows["identity_policies"] == '["team"]'
    sr.ok("write", f"identity/group/id/{group_id}", "member_entity_ids=")
    ann.refused("kv", "get", "secret/team/red", says="permission denied")
    sr.refused("write", f"identity/entity/id/{entity_id}", "policies=ROOT", says="policies cannot contain")
    sr.ok("write", f"identity/entity/id/{entity_id}", "disabled=true")
    ann.refused("token", "lookup", says="permission denied")
    found = sr.ok(
        "write", "-format=json", "identity/lookup/entity", "alias_name=ann", f"alias_mount_accessor={accessor}"
    )
    assert found.json["data"]["id"] == entity_id
    sr.ok("auth", "disable", "staff")


def test_hvac(dev: Node, client: hvac.Client) -> None:
    """Every identity call of the client library works against it."""
    own = client.secrets.identity
    client.sys.enable_auth_method("userpass", path="hv")
    accessor = client.sys.list_auth_methods()["data"]["hv/"]["accessor"]
    made = own.create_or_update_entity(name="hv-a", policies=["p"], metadata={"a": "b"})["data"]
    other = own.create_or_update_entity_by_name(name="hv-b")["data"]
    own.update_entity(entity_id=made["id"], metadata={"c": "d"})
    assert own.read_entity(entity_id=made["id"])["data"]["metadata"] == {"c": "d"}
    assert own.read_entity_by_name(name="hv-a")["data"]["policies"] == ["p"]
    assert {made["id"], other["id"]} <= set(own.list_entities()["data"]["keys"])
    assert {"hv-a", "hv-b"} <= set(own.list_entities_by_name()["data"]["keys"])
    alias = own.create_or_update_entity_alias(name="eve", canonical_id=other["id"], mount_accessor=accessor)["data"]
    own.update_entity_alias(alias["id"], name="eva", canonical_id=other["id"], mount_accessor=accessor)
    assert own.read_entity_alias(alias_id=alias["id"])["data"]["name"] == "eva"
    assert alias["id"] in own.list_entity_aliases()["data"]["keys"]
    own.merge_entities(from_entity_ids=[other["id"]], to_entity_id=made["id"])
    assert own.lookup_entity(alias_name="eva", alias_mount_accessor=accessor)["data"]["id"] == made["id"]
    group = own.create_or_update_group(name="hv-g", member_entity_ids=[made["id"]])["data"]
    own.update_group(group_id=group["id"], name="hv-h", policies=["q"])
    assert own.read_group_by_name(name="hv-h")["data"]["policies"] == ["q"]
    assert own.lookup_group(group_id=group["id"])["data"]["member_entity_ids"] == [made["id"]]
    external = own.create_or_update_group(name="hv-x", group_type="external")["data"]
    group_alias = own.create_or_update_group_alias(name="cn", mount_accessor=accessor, canonical_id=external["id"])
    group_alias = group_alias["data"]
    assert own.read_group_alias(alias_id=group_alias["id"])["data"]["name"] == "cn"
    assert group_alias["id"] in own.list_group_aliases()["data"]["keys"]
    own.delete_group_alias(entity_id=group_alias["id"])
    own.delete_group(group_id=group["id"])
    own.delete_group_by_name(name="hv-x")
    own.delete_entity_alias(alias_id=alias["id"])
    own.delete_entity(entity_id=made["id"])
    with pytest.raises(hvac.exceptions.InvalidPath):
        own.read_entity(entity_id=made["id"])
    assert client_for(dev, client.token).is_authenticated()
    client.sys.disable_auth_method("hv")
