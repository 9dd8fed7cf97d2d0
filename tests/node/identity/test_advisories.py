"""Published weaknesses of identity stores: none may exist here. Each test is named after what it would find."""

from __future__ import annotations

import pytest

from node.identity import store
from node.identity.binding import bind
from node.identity.model import Entity, Group, GroupType
from node.identity.profile import profile_of
from tests.node.live import Live, live

SPELLINGS = ["root", "ROOT", " root", "Root ", "root\t", "\u200broot", "ｒｏｏｔ", "root\u00a0", "RO\uff2fT", "\nroot"]


async def _refuses(node: Live, path: str, **body: object) -> None:
    reply = await node.refused("POST", path, body, status=400)
    assert reply.body["errors"]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_cve_2024_9180_and_cve_2025_5999_no_spelling_of_root_on_an_entity(spelling: str) -> None:
    """Root is refused on an entity in every spelling, on each way of writing one (CVE-2024-9180, CVE-2025-5999)."""
    async with live() as node:
        made = await node.write("identity/entity", name="e", policies=["dev"])
        await _refuses(node, "identity/entity", name="f", policies=[spelling])
        await _refuses(node, "identity/entity", name="e", policies=["dev", spelling])
        await _refuses(node, "identity/entity", id=made["id"], policies=[spelling])
        await _refuses(node, f"identity/entity/id/{made['id']}", policies=[spelling])
        await _refuses(node, "identity/entity/name/e", policies=[spelling])
        assert (await node.read("identity/entity/name/e"))["policies"] == ["dev"]
        await node.refused("GET", "identity/entity/name/f", status=404)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_cve_2025_64761_no_spelling_of_root_on_a_group(spelling: str) -> None:
    """Root is refused on groups, and on users of an auth method, in every spelling (CVE-2025-64761)."""
    async with live() as node:
        made = await node.write("identity/group", name="g", policies=["dev"])
        await _refuses(node, "identity/group", name="h", policies=[spelling])
        await _refuses(node, "identity/group", name="g", policies=[spelling])
        await _refuses(node, f"identity/group/id/{made['id']}", policies=[spelling])
        await _refuses(node, "identity/group/name/g", policies=[spelling])
        assert (await node.read("identity/group/name/g"))["policies"] == ["dev"]
        await node.users("ann")
        reply = await node.call("POST", "auth/userpass/users/ann", {"token_policies": [spelling]})
        login = await node.call("POST", "auth/userpass/login/ann", {"password": "ann"}, token="")
        assert reply.status == 400 or login.status in (400, 403)


def test_root_in_a_record_brings_nothing() -> None:
    """Even a record that says root, however it came about, brings no root policy: it is passed over when read."""
    entity = Entity(id="e", name="e", created_ms=0, updated_ms=0, policies=("root", "ROOT", "dev", "response-wrapping"))
    group = Group(id="g", name="g", type=GroupType.INTERNAL, created_ms=0, updated_ms=0, policies=("root", "ops"))
    assert profile_of(entity, (group,), ()).policies == ("dev", "ops")


async def test_cve_2021_41802_pointing_an_alias_elsewhere_merges_nothing() -> None:
    """An alias that is given to another entity takes nothing of its owner along (CVE-2021-41802)."""
    async with live() as node:
        accessor = await node.users("ann", "bob")
        ann, bob = await node.login("ann"), await node.login("bob")
        await node.write(f"identity/entity/id/{bob['entity_id']}", policies=["victim"], metadata={"team": "red"})
        alias = (await node.read(f"identity/entity/id/{ann['entity_id']}"))["aliases"][0]["id"]
        # The victim has an alias at this mount, so it cannot get a second one, and nothing is merged to make room.
        await _refuses(node, f"identity/entity-alias/id/{alias}", canonical_id=bob["entity_id"])
        other = await node.write("identity/entity", name="other", policies=["other"])
        moved = await node.write(f"identity/entity-alias/id/{alias}", canonical_id=other["id"])
        assert moved == {"canonical_id": other["id"], "id": alias}
        assert (await node.read(f"identity/entity/id/{ann['entity_id']}"))["aliases"] == []
        assert (await node.read("identity/entity/name/other"))["policies"] == ["other"]
        assert (await node.login("ann"))["entity_id"] == other["id"]
        # The old token stays what it was.
        seen = await node.read("auth/token/lookup-self", token=ann["client_token"])
        assert seen["entity_id"] == ann["entity_id"]
        assert accessor
        # Merging takes sudo, whatever else is allowed.
        await node.policy("writer", 'path "identity/*" { capabilities = ["create", "update", "read"] }')
        token = (await node.ok("POST", "auth/token/create", {"policies": ["writer"]}))["auth"]["client_token"]
        body = {"from_entity_ids": [ann["entity_id"]], "to_entity_id": other["id"]}
        await node.refused("POST", "identity/entity/merge", body, token=token, status=403)


async def test_cve_2022_40186_metadata_never_reaches_an_alias_of_the_same_name() -> None:
    """Aliases of one name at two mounts are two; what a login says of one is not said of the other (CVE-2022-40186)."""
    async with live() as node:
        first, second = await node.users("ann"), await node.users("ann", mount="other")
        directory = node.node.directory
        for accessor, team in ((first, "red"), (second, "blue"), (first, "green")):
            bound = bind(directory, accessor, "ann", metadata={"team": team})
            await node.node.opened.commit("", bound.writes)
        shown = {}
        for alias_id in (await node.list("identity/entity-alias/id"))["keys"]:
            alias = await node.read(f"identity/entity-alias/id/{alias_id}")
            shown[alias["mount_accessor"]] = (alias["metadata"]["team"], alias["canonical_id"])
        assert (shown[first][0], shown[second][0]) == ("green", "blue")
        assert shown[first][1] != shown[second][1]
        await node.write("identity/entity-alias", name="ann", mount_accessor=first, custom_metadata={"a": "1"})
        other = (await node.write("identity/lookup/entity", alias_name="ann", alias_mount_accessor=second))["aliases"][
            0
        ]
        assert other["custom_metadata"] == {}


async def test_groups_of_an_auth_method_are_those_it_names_now() -> None:
    """An external group has whom the method names at the login, and loses them at the next one (CVE-2020-10660)."""
    async with live() as node:
        first, second = await node.users("ann"), await node.users("ann", mount="other")
        directory = node.node.directory

        async def login(*groups: str, accessor: str = first) -> tuple[str, ...]:
            bound = bind(directory, accessor, "ann", group_names=groups)
            if bound.writes:
                await node.node.opened.commit("", bound.writes)
            assert directory.usable_profile(bound.entity_id).policies == bound.policies
            return bound.policies

        for name in ("admins", "staff"):
            group = await node.write("identity/group", name=name, type="external", policies=[f"p-{name}"])
            await node.write("identity/group-alias", name=name, mount_accessor=first, canonical_id=group["id"])
        assert await login("staff") == ("p-staff",)
        assert await login("staff", "admins", "unknown") == ("p-admins", "p-staff")
        assert await login("staff", "admins") == ("p-admins", "p-staff")
        assert await login("staff", "admins", accessor=second) == ()
        assert await login("admins") == ("p-admins",)
        assert await login() == ()
        await login("admins")
        alias = (await node.read("identity/group/name/admins"))["alias"]["id"]
        await node.write(f"identity/group-alias/id/{alias}", name="others")
        assert (await node.read("identity/group/name/admins"))["member_entity_ids"] == []
        assert await login("admins") == ()
        assert await login("others") == ("p-admins",)
        await node.delete(f"identity/group-alias/id/{alias}")
        assert (await node.read("identity/group/name/admins"))["member_entity_ids"] == []
        assert not node.node.opened.keys(store.MEMBERS)
