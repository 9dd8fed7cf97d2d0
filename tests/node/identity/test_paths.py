"""identity/*: every path of the API reference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engines.common.plan import Put
from node.mounts import MOUNTS_KEY, decode_mounts, encode_mounts
from tests.node.live import Live, live


async def _entity(node: Live, **body: Any) -> str:
    return str((await node.write("identity/entity", **body))["id"])


async def test_entities() -> None:
    """Create, read, change, list and delete, by id and by name; names are one whatever their capitals."""
    async with live() as node:
        await node.refused("LIST", "identity/entity/id", status=404)
        made = await node.write("identity/entity", name="Ann", metadata={"team": "a"}, policies=["dev", "Dev", "ops"])
        assert made == {"id": made["id"], "name": "Ann", "aliases": None}
        seen = await node.read(f"identity/entity/id/{made['id']}")
        assert (seen["name"], seen["metadata"], seen["policies"], seen["disabled"]) == (
            "Ann",
            {"team": "a"},
            ["dev", "ops"],
            False,
        )
        assert await node.read("identity/entity/name/ann") == seen
        assert (await node.write("identity/entity/name/ANN", disabled=True))["id"] == made["id"]
        assert (await node.write("identity/entity", id=made["id"], name="anna"))["name"] == "anna"
        seen = await node.read("identity/entity/name/anna")
        assert (seen["disabled"], seen["policies"]) == (True, ["dev", "ops"])
        await node.refused("GET", "identity/entity/name/ann", status=404)
        unnamed = await node.write("identity/entity")
        assert unnamed["name"].startswith("entity_")
        await node.refused("POST", f"identity/entity/id/{unnamed['id']}", {"name": "Anna"}, status=400)
        await node.refused("POST", "identity/entity/id/none", {"name": "x"}, status=400)
        listed = await node.list("identity/entity/id")
        assert sorted(listed["keys"]) == sorted([made["id"], unnamed["id"]])
        assert listed["key_info"][made["id"]] == {"name": "anna"}
        assert (await node.list("identity/entity/name"))["keys"] == sorted(["anna", unnamed["name"]])
        await node.delete("identity/entity/name/anna")
        await node.delete("identity/entity/name/anna")
        await node.delete(f"identity/entity/id/{unnamed['id']}")
        await node.refused("LIST", "identity/entity/name", status=404)
        assert not [key for key in node.node.opened.keys("sys/identity/") if not key.endswith("/epoch")]


async def test_batch_delete() -> None:
    """Several entities go at once, unknown ones are passed over, and nothing of them is left."""
    async with live() as node:
        ids = [await _entity(node, name=f"e{number}") for number in range(3)]
        await node.write("identity/group", name="g", member_entity_ids=ids)
        await node.write("identity/entity/batch-delete", entity_ids=[ids[0], ids[2], ids[0], "unknown"])
        assert (await node.list("identity/entity/id"))["keys"] == [ids[1]]
        assert (await node.read("identity/group/name/g"))["member_entity_ids"] == [ids[1]]
        await node.refused("POST", "identity/entity/batch-delete", {"entity_ids": []}, status=400)


async def test_entity_aliases() -> None:
    """Create, read, change, list and delete; an alias without an entity gets one; userpass names are folded."""
    async with live() as node:
        accessor = await node.users("bob")
        entity_id = await _entity(node, name="Bob")
        made = await node.write(
            "identity/entity-alias",
            name="BOB",
            canonical_id=entity_id,
            mount_accessor=accessor,
            custom_metadata={"k": "v"},
        )
        assert made == {"canonical_id": entity_id, "id": made["id"]}
        assert (await node.login("bob"))["entity_id"] == entity_id
        seen = await node.read(f"identity/entity-alias/id/{made['id']}")
        assert {key: seen[key] for key in ("name", "canonical_id", "custom_metadata", "mount_type", "local")} == {
            "name": "bob",
            "canonical_id": entity_id,
            "custom_metadata": {"k": "v"},
            "mount_type": "userpass",
            "local": False,
        }
        await node.write("identity/entity-alias", name="bob", mount_accessor=accessor, custom_metadata={})
        assert (await node.read(f"identity/entity-alias/id/{made['id']}"))["custom_metadata"] == {}
        alone = await node.write("identity/entity-alias", name="carol", mount_accessor=accessor)
        assert (await node.read(f"identity/entity/id/{alone['canonical_id']}"))["aliases"][0]["name"] == "carol"
        listed = await node.list("identity/entity-alias/id")
        assert listed["key_info"][made["id"]]["canonical_id"] == entity_id
        clash = f"identity/entity-alias/id/{alone['id']}"
        await node.refused("POST", clash, {"name": "bob"}, status=400)
        await node.write(clash, name="dave")
        assert (await node.read(clash))["name"] == "dave"
        for body in (
            {"name": "x"},
            {"mount_accessor": accessor},
            {"name": "x", "mount_accessor": "auth_none_1"},
            {"name": "x", "mount_accessor": accessor, "canonical_id": "none"},
            {"id": "none", "name": "x", "mount_accessor": accessor},
        ):
            await node.refused("POST", "identity/entity-alias", body, status=400)
        await node.delete(clash)
        await node.delete(clash)
        await node.refused("GET", clash, status=404)
        assert (await node.read(f"identity/entity/id/{alone['canonical_id']}"))["aliases"] == []


async def test_groups() -> None:
    """Create, read, change, list and delete, by id and by name."""
    async with live() as node:
        member = await _entity(node, name="e")
        made = await node.write(
            "identity/group", name="Ops", policies=["ops"], metadata={"a": "b"}, member_entity_ids=[member]
        )
        assert made == {"id": made["id"], "name": "Ops"}
        seen = await node.read("identity/group/name/ops")
        assert (seen["type"], seen["member_entity_ids"], seen["metadata"], seen["alias"], seen["modify_index"]) == (
            "internal",
            [member],
            {"a": "b"},
            {},
            1,
        )
        await node.write(f"identity/group/id/{made['id']}", name="operators")
        seen = await node.read(f"identity/group/id/{made['id']}")
        assert (seen["name"], seen["policies"], seen["modify_index"]) == ("operators", ["ops"], 2)
        listed = await node.list("identity/group/id")
        assert listed["key_info"][made["id"]] == {
            "name": "operators",
            "num_member_entities": 1,
            "num_parent_groups": 0,
        }
        assert (await node.list("identity/group/name"))["keys"] == ["operators"]
        for body in (
            {"name": "x", "member_entity_ids": ["none"]},
            {"name": "x", "member_group_ids": ["none"]},
            {"name": "x", "type": "odd"},
            {"name": "operators", "type": "external"},
            {"name": "x", "type": "external", "member_entity_ids": [member]},
            {"id": "none", "name": "x"},
        ):
            await node.refused("POST", "identity/group", body, status=400)
        await node.delete("identity/group/name/operators")
        await node.delete(f"identity/group/id/{made['id']}")
        await node.refused("LIST", "identity/group/id", status=404)
        assert (await node.read("identity/entity/name/e"))["group_ids"] == []


async def test_groups_never_make_a_circle() -> None:
    """A group cannot be in itself, at whatever distance."""
    async with live() as node:
        ids: list[str] = []
        for name in "abc":
            body: dict[str, Any] = {"name": name, "member_group_ids": ids[-1:]}
            ids.append((await node.write("identity/group", **body))["id"])
        for member in ids:
            reply = await node.refused(
                "POST", f"identity/group/id/{ids[0]}", {"member_group_ids": [member]}, status=400
            )
            assert "cycle" in reply.errors[0]
        await node.delete(f"identity/group/id/{ids[1]}")
        assert (await node.read("identity/group/name/c"))["member_group_ids"] is None
        await node.write(f"identity/group/id/{ids[0]}", member_group_ids=[ids[2]])


async def test_group_aliases() -> None:
    """Only an external group has an alias, one, which can be read, listed, changed, moved and deleted."""
    async with live() as node:
        accessor = await node.users()
        internal = (await node.write("identity/group", name="i"))["id"]
        external = (await node.write("identity/group", name="x", type="external"))["id"]
        body = {"name": "cn=x", "mount_accessor": accessor}
        await node.refused("POST", "identity/group-alias", {**body, "canonical_id": internal}, status=400)
        made = await node.write("identity/group-alias", **body, canonical_id=external)
        assert made == {"canonical_id": external, "id": made["id"]}
        seen = await node.read(f"identity/group-alias/id/{made['id']}")
        assert (seen["name"], seen["mount_path"], seen["canonical_id"]) == ("cn=x", "auth/userpass/", external)
        assert (await node.list("identity/group-alias/id"))["key_info"][made["id"]]["name"] == "cn=x"
        again = {"name": "y", "mount_accessor": accessor, "canonical_id": external}
        await node.refused("POST", "identity/group-alias", again, status=400)
        other = await node.write("identity/group-alias", name="y", mount_accessor=accessor)
        assert (await node.read(f"identity/group/id/{other['canonical_id']}"))["type"] == "external"
        await node.delete(f"identity/group-alias/id/{other['id']}")
        moved = await node.write(f"identity/group-alias/id/{made['id']}", canonical_id=other["canonical_id"])
        assert moved["canonical_id"] == other["canonical_id"]
        assert (await node.read(f"identity/group/id/{external}"))["alias"] == {}
        found = await node.write("identity/lookup/group", alias_name="cn=x", alias_mount_accessor=accessor)
        assert found["id"] == other["canonical_id"]


async def test_lookup() -> None:
    """One criterion finds an entity or a group; none, several or half of one is refused; nothing found says nothing."""
    async with live() as node:
        accessor = await node.users("ann")
        entity_id = (await node.login("ann"))["entity_id"]
        entity = await node.read(f"identity/entity/id/{entity_id}")
        alias_id = entity["aliases"][0]["id"]
        for body in (
            {"id": entity_id},
            {"name": entity["name"]},
            {"alias_id": alias_id},
            {"alias_name": "ann", "alias_mount_accessor": accessor},
        ):
            assert (await node.write("identity/lookup/entity", **body))["id"] == entity_id
        assert await node.write("identity/lookup/entity", name="nobody") is None
        group = await node.write("identity/group", name="g")
        assert (await node.write("identity/lookup/group", name="g"))["id"] == group["id"]
        assert await node.write("identity/lookup/group", id="none") is None
        for kind in ("entity", "group"):
            for bad in ({}, {"name": "a", "id": "b"}, {"alias_name": "a"}, {"alias_mount_accessor": "a"}):
                await node.refused("POST", f"identity/lookup/{kind}", bad, status=400)


async def test_merge() -> None:
    """Aliases, groups and tokens of the merged become those of the entity that stays; of two aliases one is named."""
    async with live() as node:
        await node.users("ann", "bob")
        await node.users("eve", mount="other")
        ann, eve, bob = await node.login("ann"), await node.login("eve", mount="other"), await node.login("bob")
        await node.policy("p", 'path "secret/data/a" { capabilities = ["read"] }')
        await node.write("secret/data/a", data={})
        await node.write("identity/group", name="g", member_entity_ids=[eve["entity_id"]], policies=["p"])
        body: dict[str, Any] = {"from_entity_ids": [eve["entity_id"]], "to_entity_id": ann["entity_id"]}
        await node.write("identity/entity/merge", **body)
        merged = await node.read(f"identity/entity/id/{ann['entity_id']}")
        assert {alias["name"] for alias in merged["aliases"]} == {"ann", "eve"}
        assert merged["merged_entity_ids"] == [eve["entity_id"]]
        for token in (ann["client_token"], eve["client_token"]):
            await node.read("secret/data/a", token=token)
        assert (await node.login("eve", mount="other"))["entity_id"] == ann["entity_id"]
        body = {"from_entity_ids": [bob["entity_id"]], "to_entity_id": ann["entity_id"]}
        reply = await node.refused("POST", "identity/entity/merge", body, status=400)
        assert "conflicting mount accessors" in reply.errors[0]
        kept = (await node.read(f"identity/entity/id/{bob['entity_id']}"))["aliases"][0]["id"]
        await node.write("identity/entity/merge", **body, conflicting_alias_ids_to_keep=[kept])
        merged = await node.read(f"identity/entity/id/{ann['entity_id']}")
        assert {alias["name"] for alias in merged["aliases"]} == {"bob", "eve"}
        assert (await node.login("bob"))["entity_id"] == ann["entity_id"]
        assert (await node.login("ann"))["entity_id"] != ann["entity_id"]
        for bad in (
            {"from_entity_ids": [ann["entity_id"]], "to_entity_id": ann["entity_id"]},
            {"from_entity_ids": ["none"], "to_entity_id": ann["entity_id"]},
            {"from_entity_ids": [ann["entity_id"]], "to_entity_id": "none"},
        ):
            await node.refused("POST", "identity/entity/merge", bad, status=400)
        await node.delete(f"identity/entity/id/{ann['entity_id']}")
        await node.refused("GET", "secret/data/a", token=eve["client_token"], status=403)


@pytest.mark.parametrize(
    "metadata",
    [{"": "x"}, {"k" * 129: "x"}, {"k": "v" * 513}, {f"k{number}": "v" for number in range(65)}, {"k\n": "v"}],
)
async def test_metadata_is_bounded(metadata: dict[str, str]) -> None:
    """Metadata beyond the documented limits is refused wherever it can be written."""
    async with live() as node:
        accessor = await node.users()
        for path, body in (
            ("identity/entity", {"metadata": metadata}),
            ("identity/group", {"metadata": metadata}),
            ("identity/entity-alias", {"name": "a", "mount_accessor": accessor, "custom_metadata": metadata}),
        ):
            await node.refused("POST", path, body, status=400)


async def test_the_mount_is_there_and_stays() -> None:
    """identity/ is mounted in every cluster, also in one whose table was written without it, and cannot be disabled."""
    async with live() as node:
        assert (await node.read("sys/mounts"))["identity/"]["type"] == "identity"
        await node.refused("DELETE", "sys/mounts/identity", status=400)
        seen = node.node.opened.get(MOUNTS_KEY)
        assert seen is not None
        rows = [row for row in decode_mounts(seen.value) if row.type != "identity"]
        await node.node.opened.commit("", [Put(MOUNTS_KEY, encode_mounts(rows))])
        await node.refused("LIST", "identity/entity/id", status=404)
        await node.restart()
        async with asyncio.timeout(10):
            while "identity/" not in node.node.router.by_path:
                await asyncio.sleep(0)  # what the active node does first, it does in the background
        await _entity(node, name="e")
