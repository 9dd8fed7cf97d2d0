"""sys/plugins/catalog: what there is, and that nothing can be added or taken away."""

from __future__ import annotations

from tests.node.live import live


async def test_the_catalog_lists_what_is_part_of_the_server() -> None:
    """As a whole, with details, and by type."""
    async with live() as node:
        catalog = await node.read("sys/plugins/catalog")
        assert {"approle", "token", "userpass"} <= set(catalog["auth"])
        assert {"kv", "database", "cubbyhole"} <= set(catalog["secret"])
        assert {"redis-database-plugin", "mongodb-database-plugin"} <= set(catalog["database"])
        count = sum(len(catalog[kind]) for kind in ("auth", "database", "secret"))
        assert len(catalog["detailed"]) == count and all(one["builtin"] for one in catalog["detailed"])
        for kind in ("auth", "database", "secret"):
            assert (await node.list(f"sys/plugins/catalog/{kind}"))["keys"] == catalog[kind]
        await node.refused("LIST", "sys/plugins/catalog/other", status=400)


async def test_one_plugin() -> None:
    """By its name and the version that it has; this takes sudo."""
    async with live() as node:
        shown = await node.read("sys/plugins/catalog/database/postgresql-database-plugin")
        assert shown["builtin"] is True and shown["name"] == "postgresql-database-plugin"
        await node.refused("GET", "sys/plugins/catalog/secret/postgresql-database-plugin", status=404)
        await node.refused("GET", "sys/plugins/catalog/secret/kv?version=v0.0.1", status=404)
        await node.policy("p", 'path "sys/plugins/catalog/*" { capabilities = ["read", "update", "delete"] }')
        token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
        for method in ("GET", "POST", "DELETE"):
            await node.refused(method, "sys/plugins/catalog/secret/kv", token=token, status=403)


async def test_nothing_is_added_or_taken_away() -> None:
    """Told clearly; removing what was never registered is no error, as documented."""
    async with live() as node:
        body = {"sha256": "ab" * 32, "command": "x"}
        reply = await node.refused("POST", "sys/plugins/catalog/secret/x", body, status=400)
        assert "external plugins are not supported" in str(reply)
        await node.refused("DELETE", "sys/plugins/catalog/secret/kv", status=400)
        await node.delete("sys/plugins/catalog/secret/x")
