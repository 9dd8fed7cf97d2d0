"""Entities of logins, and what they mean for requests."""

from __future__ import annotations

import asyncio
import json

from tests.node.live import Live, live

READ_A = 'path "secret/data/a" { capabilities = ["read"] }'


def _alias_rule(accessor: str, *capabilities: str) -> str:
    """A rule for the path that is named like the entity's alias at this mount."""
    path = "secret/data/{{identity.entity.aliases." + accessor + ".name}}"
    return f'path "{path}" {{ capabilities = {json.dumps(capabilities)} }}'


async def _can_read(node: Live, token: str, path: str = "secret/data/a") -> bool:
    reply = await node.call("GET", path, token=token)
    assert reply.status in (200, 403), reply
    return reply.status == 200


async def _prepared(node: Live) -> None:
    await node.write("secret/data/a", data={"x": 1})
    await node.policy("reader", READ_A)


async def test_a_login_makes_its_entity_once() -> None:
    """The first login makes entity and alias, later ones find them, also after a restart; two mounts, two entities."""
    async with live() as node:
        accessor = await node.users("ann")
        await node.users("ann", mount="other")
        first = await node.login("ann")
        again = await node.login("ann")
        assert first["entity_id"] == again["entity_id"] != ""
        await node.restart()
        assert (await node.login("ann"))["entity_id"] == first["entity_id"]
        assert (await node.login("ann", mount="other"))["entity_id"] != first["entity_id"]
        entity = await node.read(f"identity/entity/id/{first['entity_id']}")
        (alias,) = entity["aliases"]
        assert (alias["name"], alias["mount_accessor"], alias["mount_path"], alias["mount_type"]) == (
            "ann",
            accessor,
            "auth/userpass/",
            "userpass",
        )
        assert (await node.read("auth/token/lookup-self", token=first["client_token"]))["entity_id"] == entity["id"]


async def test_first_logins_at_the_same_time_are_one_entity() -> None:
    """However many first logins run at once, one entity comes of them."""
    async with live() as node:
        await node.users("ann")
        found = await asyncio.gather(*(node.login("ann") for _ in range(8)))
        assert len({auth["entity_id"] for auth in found}) == 1
        assert len((await node.list("identity/entity/id"))["keys"]) == 1


async def test_a_batch_login_of_a_known_entity_writes_nothing() -> None:
    """Once its entity is there, a login for a batch token needs no write."""
    async with live() as node:
        await node.users("ann")
        await node.write("auth/userpass/users/ann", token_type="batch")
        first = await node.login("ann")
        before = node.node.directory.index("sys/identity/epoch"), node.core.storage.store
        writes: list[object] = []
        node.node.store.watch(lambda keys: writes.append(keys))
        assert (await node.login("ann"))["entity_id"] == first["entity_id"]
        assert writes == []
        assert before[0] == node.node.directory.index("sys/identity/epoch")


async def test_policies_of_the_entity_apply_at_once_and_end_at_once() -> None:
    """A policy written to the entity is in force for tokens that are already there, and so is its removal."""
    async with live() as node:
        await _prepared(node)
        await node.users("ann")
        auth = await node.login("ann")
        token = auth["client_token"]
        assert not await _can_read(node, token)
        await node.write(f"identity/entity/id/{auth['entity_id']}", policies=["reader"])
        assert await _can_read(node, token)
        seen = await node.read("auth/token/lookup-self", token=token)
        assert (seen["policies"], seen["identity_policies"]) == (["default"], ["reader"])
        again = await node.login("ann")
        assert (again["policies"], again["token_policies"], again["identity_policies"]) == (
            ["default", "reader"],
            ["default"],
            ["reader"],
        )
        judged = await node.write("sys/capabilities-self", token=token, paths=["secret/data/a"])
        assert judged["capabilities"] == ["read"]
        judged = await node.write("sys/capabilities-accessor", accessor=auth["accessor"], paths=["secret/data/a"])
        assert judged["capabilities"] == ["read"]
        await node.write(f"identity/entity/id/{auth['entity_id']}", policies=[])
        assert not await _can_read(node, token)


async def test_policies_of_groups_apply_direct_and_nested() -> None:
    """Membership of a group, or of a group in a group, brings the group's policies; leaving takes them."""
    async with live() as node:
        await _prepared(node)
        await node.users("ann")
        auth = await node.login("ann")
        token, entity_id = auth["client_token"], auth["entity_id"]
        child = (await node.write("identity/group", name="child", member_entity_ids=[entity_id]))["id"]
        parent = (await node.write("identity/group", name="parent", policies="reader", member_group_ids=[child]))["id"]
        assert await _can_read(node, token)
        entity = await node.read(f"identity/entity/id/{entity_id}")
        assert (entity["direct_group_ids"], entity["inherited_group_ids"]) == ([child], [parent])
        assert (await node.read(f"identity/group/id/{child}"))["parent_group_ids"] == [parent]
        await node.write(f"identity/group/id/{parent}", member_group_ids=[])
        assert not await _can_read(node, token)
        await node.write(f"identity/group/id/{child}", policies=["reader"])
        assert await _can_read(node, token)
        await node.write(f"identity/group/id/{child}", member_entity_ids=[])
        assert not await _can_read(node, token)


async def test_cve_2020_10660_a_member_that_left_is_out_after_a_restart_too() -> None:
    """Membership that ended is denied on the next request, and after a restart (CVE-2020-10660)."""
    async with live() as node:
        await _prepared(node)
        await node.users("ann")
        auth = await node.login("ann")
        await node.write("identity/group/name/g", policies=["reader"], member_entity_ids=[auth["entity_id"]])
        assert await _can_read(node, auth["client_token"])
        await node.write("identity/group/name/g", member_entity_ids=[])
        assert not await _can_read(node, auth["client_token"])
        await node.restart()
        assert not await _can_read(node, auth["client_token"])
        await node.write("identity/group/name/g", member_entity_ids=[auth["entity_id"]])
        await node.delete("identity/group/name/g")
        assert not await _can_read(node, auth["client_token"])


async def test_a_disabled_or_deleted_entity_is_refused() -> None:
    """A disabled entity's tokens are refused until it is enabled, and it cannot log in; a deleted one's for good."""
    async with live() as node:
        await node.users("ann")
        auth = await node.login("ann")
        token, entity = auth["client_token"], f"identity/entity/id/{auth['entity_id']}"
        await node.write(entity, disabled=True)
        assert (await node.refused("GET", "auth/token/lookup-self", token=token, status=403)).errors == [
            "permission denied"
        ]
        await node.refused("POST", "auth/userpass/login/ann", {"password": "ann"}, token="", status=403)
        await node.write(entity, disabled=False)
        await node.read("auth/token/lookup-self", token=token)
        await node.delete(entity)
        await node.refused("GET", "auth/token/lookup-self", token=token, status=403)
        assert (await node.login("ann"))["entity_id"] != auth["entity_id"]


async def test_templated_policies_are_filled_with_the_entity() -> None:
    """Paths with {{identity...}} follow the entity, its alias and its groups, and change with them."""
    async with live() as node:
        accessor = await node.users("ann", "bob")
        await node.policy(
            "own",
            _alias_rule(accessor, "create", "update", "read")
            + ' path "secret/data/team/{{identity.entity.metadata.team}}" { capabilities = ["create", "update"] }',
        )
        for name in ("ann", "bob"):
            await node.write(f"auth/userpass/users/{name}", token_policies="own")
        ann, bob = await node.login("ann"), await node.login("bob")
        await node.write("secret/data/ann", token=ann["client_token"], data={"x": 1})
        await node.refused("GET", "secret/data/ann", token=bob["client_token"], status=403)
        await node.refused("POST", "secret/data/team/red", {"data": {}}, token=ann["client_token"], status=403)
        await node.write(f"identity/entity/id/{ann['entity_id']}", metadata={"team": "red"})
        await node.write("secret/data/team/red", token=ann["client_token"], data={"x": 1})
        for hostile in ("*", "+", "a/b", "a,b", ".."):
            await node.write(f"identity/entity/id/{ann['entity_id']}", metadata={"team": hostile})
            await node.refused("POST", "secret/data/team/red", {"data": {}}, token=ann["client_token"], status=403)
        await node.read(f"identity/entity/id/{ann['entity_id']}", token=ann["client_token"])
        await node.refused("GET", f"identity/entity/id/{bob['entity_id']}", token=ann["client_token"], status=403)


async def test_cve_2021_43998_a_template_takes_the_alias_of_its_mount() -> None:
    """With two aliases on one entity, each template is filled by the alias of the mount it names (CVE-2021-43998)."""
    async with live() as node:
        first, second = await node.users("ann"), await node.users("eve", mount="other")
        auth = await node.login("ann")
        await node.write("identity/entity-alias", name="eve", canonical_id=auth["entity_id"], mount_accessor=second)
        for number, accessor in enumerate((first, second)):
            await node.policy(f"p{number}", _alias_rule(accessor, "read"))
        by_other = await node.login("eve", mount="other")
        assert by_other["entity_id"] == auth["entity_id"]
        await node.write("secret/data/ann", data={})
        await node.write("secret/data/eve", data={})
        for policy, own, foreign in (("p0", "ann", "eve"), ("p1", "eve", "ann")):
            await node.write(f"identity/entity/id/{auth['entity_id']}", policies=[policy])
            for token in (auth["client_token"], by_other["client_token"]):
                assert await _can_read(node, token, f"secret/data/{own}")
                assert not await _can_read(node, token, f"secret/data/{foreign}")
        answer = await node.refused(
            "POST",
            "identity/entity-alias",
            {"name": "third", "canonical_id": auth["entity_id"], "mount_accessor": first},
            status=400,
        )
        assert "alias already exists" in answer.errors[0]


async def test_entity_alias_of_a_token() -> None:
    """`token create` takes an alias that the role allows, whatever its capitals, and no other."""
    async with live() as node:
        await _prepared(node)
        await node.write("auth/token/roles/ci", allowed_entity_aliases=["Build-*"], allowed_policies="default")
        made = (await node.ok("POST", "auth/token/create/ci", {"entity_alias": "build-7"}))["auth"]
        entity = await node.read(f"identity/entity/id/{made['entity_id']}")
        assert entity["aliases"][0]["mount_type"] == "token"
        await node.write(f"identity/entity/id/{made['entity_id']}", policies=["reader"])
        assert await _can_read(node, made["client_token"])
        again = (await node.ok("POST", "auth/token/create/ci", {"entity_alias": "build-7"}))["auth"]
        assert (again["entity_id"], again["identity_policies"]) == (made["entity_id"], ["reader"])
        for body, path in (
            ({"entity_alias": "other"}, "auth/token/create/ci"),
            ({"entity_alias": "build-7"}, "auth/token/create"),
            ({"entity_alias": "build-7", "type": "batch"}, "auth/token/create/ci"),
        ):
            await node.refused("POST", path, body, status=400)
