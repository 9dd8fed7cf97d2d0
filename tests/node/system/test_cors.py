"""sys/config/cors, and what it does to requests of browsers."""

from __future__ import annotations

import pytest

from tests.node.live import live

APP = "https://app.example.com"


async def test_configuration() -> None:
    """Written, read with the standard headers, and deleted; it takes sudo."""
    async with live() as node:
        assert await node.read("sys/config/cors") == {"enabled": False}
        await node.write("sys/config/cors", allowed_origins=[APP], allowed_headers="X-Own")
        seen = await node.read("sys/config/cors")
        assert (seen["enabled"], seen["allowed_origins"]) == (True, [APP])
        assert {"X-Vault-Token", "X-Own"} <= set(seen["allowed_headers"])
        await node.delete("sys/config/cors")
        assert await node.read("sys/config/cors") == {"enabled": False}
        await node.policy("p", 'path "sys/config/cors" { capabilities = ["read", "update"] }')
        token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
        await node.refused("GET", "sys/config/cors", token=token, status=403)


@pytest.mark.parametrize("origins", [[], ["*", APP], ["app.example.com"], [APP + "/path"], [APP + "\r\nX: y"]])
async def test_what_is_no_origin_is_refused(origins: list[str]) -> None:
    """Origins are schemes with hosts, or the wildcard alone."""
    async with live() as node:
        await node.refused("POST", "sys/config/cors", {"allowed_origins": origins}, status=400)


async def test_a_browsers_requests() -> None:
    """Allowed origins are told so, others refused, preflights answered without a token; others go on as ever."""
    async with live() as node:
        reply = await node.call("GET", "sys/health", origin=APP)
        assert (reply.status, reply.headers) == (200, {})
        await node.write("sys/config/cors", allowed_origins=[APP])
        reply = await node.call("GET", "sys/mounts", origin=APP.upper())
        assert reply.status == 200
        assert (reply.headers["Access-Control-Allow-Origin"], reply.headers["Vary"]) == (APP.upper(), "Origin")
        for origin in ("https://evil.example.com", APP + ".evil.com", "null"):
            reply = await node.call("GET", "sys/mounts", origin=origin)
            assert (reply.status, reply.errors) == (403, ["origin not allowed"])
        ask = {"origin": APP, "access-control-request-method": "POST"}
        reply = await node.call("OPTIONS", "secret/data/a", token="", **ask)
        assert reply.status == 204
        assert "POST" in reply.headers["Access-Control-Allow-Methods"]
        assert "X-Vault-Token" in reply.headers["Access-Control-Allow-Headers"]
        ask["access-control-request-method"] = "TRACE"
        assert (await node.call("OPTIONS", "secret/data/a", token="", **ask)).status == 405
        assert (await node.call("OPTIONS", "secret/data/a", token="")).status == 405
        assert (await node.call("GET", "sys/mounts")).headers == {}
