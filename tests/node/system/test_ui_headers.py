"""sys/config/ui/headers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.config.listeners import ResponseHeaders
from tests.node.live import live


async def test_headers() -> None:
    """Written, read as one value or all, listed, deleted; a name has one spelling; it takes sudo."""
    async with live() as node:
        await node.refused("LIST", "sys/config/ui/headers", status=404)
        await node.refused("GET", "sys/config/ui/headers/X-Own", status=404)
        await node.write("sys/config/ui/headers/x-own", values=["a", "b"])
        answer = await node.ok("GET", "sys/config/ui/headers/X-OWN")
        assert answer["data"] == {"value": "a"} and answer["value"] == "a"
        assert await node.read("sys/config/ui/headers/X-Own?multivalue=true") == {"values": ["a", "b"]}
        assert await node.list("sys/config/ui/headers") == {"keys": ["X-Own"]}
        await node.restart()
        await node.delete("sys/config/ui/headers/X-own")
        await node.refused("LIST", "sys/config/ui/headers", status=404)
        await node.policy("p", 'path "sys/config/ui/headers/*" { capabilities = ["read", "update"] }')
        token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
        await node.refused("GET", "sys/config/ui/headers/X-Own", token=token, status=403)


@pytest.mark.parametrize("folder", ["ui/headers", "auditing/request-headers"])
async def test_a_denied_name_in_other_capitals(folder: str) -> None:
    """A deny of one header holds for every spelling of its name (CVE-2026-89322)."""
    async with live() as node:
        name = "X-Denied" if folder == "ui/headers" else "x-denied"
        await node.policy(
            "p",
            f'path "sys/config/{folder}/*" {{ capabilities = ["create", "update", "read", "sudo"] }}\n'
            f'path "sys/config/{folder}/{name}" {{ capabilities = ["deny"] }}',
        )
        token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
        body = {"values": ["a"], "hmac": False}
        for spelling in (name, name.upper(), name.lower(), name.title()):
            await node.refused("POST", f"sys/config/{folder}/{spelling}", body, token=token, status=403)
        await node.ok("POST", f"sys/config/{folder}/X-Other", body, token=token)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("X-Vault-Own", ["a"]),
        ("x-vault-own", ["a"]),
        ("X-Configured", ["a"]),
        ("X-Own", []),
        ("X-Own", ["a\r\nSet-Cookie: b"]),
        ("X-Own", ["x" * 20_000]),
        ("X%20Own", ["a"]),
    ],
)
async def test_what_is_refused(name: str, values: list[str]) -> None:
    """Names of the server, names that the configuration has, and what is no header."""
    async with live() as node:
        listener = replace(
            node.core.config.listeners[0],
            custom_response_headers=(ResponseHeaders("default", {"x-configured": ("a",)}),),
        )
        node.core.config = replace(node.core.config, listeners=(listener,))
        await node.refused("POST", f"sys/config/ui/headers/{name}", {"values": values}, status=400)
