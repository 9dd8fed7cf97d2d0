"""sys/policies/password."""

from __future__ import annotations

from base64 import b64encode

from tests.node.live import live

POLICY = 'length = 12\nrule "charset" { charset = "abc" min-chars = 1 }\nrule "charset" { charset = "1" min-chars = 2 }'


async def test_policies_are_kept_and_make_passwords() -> None:
    """Written as text or base64, read as written, listed, used and deleted."""
    async with live() as node:
        await node.refused("LIST", "sys/policies/password", status=404)
        await node.write("sys/policies/password/a", policy=POLICY)
        await node.write("sys/policies/password/b.c", policy=b64encode(POLICY.encode()).decode())
        assert (await node.list("sys/policies/password"))["keys"] == ["a", "b.c"]
        for name in ("a", "b.c"):
            assert (await node.read(f"sys/policies/password/{name}"))["policy"] == POLICY
        made = {(await node.read("sys/policies/password/a/generate"))["password"] for _ in range(20)}
        assert len(made) > 1
        assert all(len(one) == 12 and set(one) <= set("abc1") and one.count("1") >= 2 for one in made)
        await node.delete("sys/policies/password/a")
        await node.delete("sys/policies/password/a")
        for path in ("sys/policies/password/a", "sys/policies/password/a/generate"):
            await node.refused("GET", path, status=404)


async def test_what_makes_no_password_is_refused() -> None:
    """A policy that cannot be read, or that no password meets, is not kept."""
    async with live() as node:
        for policy in (
            "",
            "length = 3",
            "length = 8",
            'length = 8 rule "charset" { charset = "" }',
            'length = 4 rule "charset" { charset = "ab" min-chars = 5 }',
            'length = 8 rule "odd" { }',
            "{{",
        ):
            await node.refused("POST", "sys/policies/password/a", {"policy": policy}, status=400)
        await node.refused("POST", "sys/policies/password/a", {}, status=400)
        await node.refused("POST", "sys/policies/password/-a", {"policy": POLICY}, status=400)
        await node.refused("GET", "sys/policies/password/a", status=404)
