"""Rate limits as requests meet them."""

from __future__ import annotations

import asyncio

import pytest

from engines.common.context import Caller
from node.config.listeners import Listener
from node.dispatch import RateGate
from node.edge import Edge
from node.request import WireRequest
from node.response import Response
from tests.node.live import Live, live


def _admits(node: Live, path: str, address: str = "192.0.2.9") -> bool:
    return RateGate(node.core).before_body(f"/v1/{path}", address).refusal is None


async def test_limits_are_written_read_and_listed() -> None:
    """Each parameter is kept, durations come back in seconds, and a second limit for the same is refused."""
    async with live() as node:
        await node.users()
        await node.refused("LIST", "sys/quotas/rate-limit", status=404)
        await node.write("sys/quotas/rate-limit/all", rate=897.3, interval="2m", block_interval="5m")
        assert await node.read("sys/quotas/rate-limit/all") == {
            "block_interval": 300,
            "inheritable": True,
            "interval": 120,
            "name": "all",
            "path": "",
            "rate": 897.3,
            "role": "",
            "type": "rate-limit",
        }
        await node.write("sys/quotas/rate-limit/users", rate="5", path="auth/userpass")
        assert (await node.read("sys/quotas/rate-limit/users"))["path"] == "auth/userpass/"
        await node.write("sys/quotas/rate-limit/users", rate=6)
        seen = await node.read("sys/quotas/rate-limit/users")
        assert (seen["path"], seen["rate"], seen["interval"]) == ("auth/userpass/", 6.0, 1)
        assert (await node.list("sys/quotas/rate-limit"))["keys"] == ["all", "users"]
        for body in (
            {},
            {"rate": 0},
            {"rate": -1},
            {"rate": "many"},
            {"rate": True},
            {"rate": 1, "path": "nowhere"},
            {"rate": 1, "path": ""},
            {"rate": 1, "path": "auth/userpass", "role": "r"},
            {"rate": 1, "path": "secret/x", "interval": -1},
            {"rate": 1, "path": "secret/x", "inheritable": True},
        ):
            await node.refused("POST", "sys/quotas/rate-limit/other", body, status=400)
        await node.delete("sys/quotas/rate-limit/all")
        await node.refused("GET", "sys/quotas/rate-limit/all", status=404)
        await node.delete("sys/auth/userpass")
        await node.refused("LIST", "sys/quotas/rate-limit", status=404)


async def test_the_most_specific_limit_holds() -> None:
    """The path itself before the longest beginning, before the mount, before everything."""
    async with live() as node:
        for name, path, rate in (
            ("all", "", 5),
            ("mount", "secret/", 4),
            ("wide", "secret/data/a*", 3),
            ("narrow", "secret/data/app/*", 2),
            ("path", "secret/data/app/x", 1),
        ):
            await node.write(f"sys/quotas/rate-limit/{name}", path=path, rate=rate, interval="1h")
        for path, rate in (
            ("secret/data/app/x", 1),
            ("secret/data/app/%78", 0),
            ("secret/data/app/y", 2),
            ("secret/data/all", 3),
            ("secret/metadata", 4),
            ("cubbyhole/x", 5),
        ):
            assert [_admits(node, path) for _ in range(rate + 1)] == [True] * rate + [False], path
        assert not _admits(node, "cubbyhole/../x"), "a path that will be refused counts for the limit of everything"
        assert _admits(node, "cubbyhole/x", "192.0.2.10"), "another address has a bucket of its own"


async def test_no_spelling_of_a_name_escapes_its_limit() -> None:
    """Where an engine folds names, so do the limits of its paths."""
    async with live() as node:
        await node.users("bob")
        await node.write("sys/quotas/rate-limit/bob", path="auth/userpass/login/bob", rate=1, interval="1h")
        assert _admits(node, "auth/userpass/login/BOB")
        for spelling in ("bob", "Bob", "bob%20", "auth/userpass/login/%62ob"):
            assert not _admits(node, f"auth/userpass/login/{spelling.rpartition('/')[2]}")


async def test_exempt_paths() -> None:
    """What unsealing needs is exempt by default; the list can be changed, and be empty."""
    async with live() as node:
        await node.write("sys/quotas/rate-limit/all", rate=1, interval="1h")
        assert _admits(node, "secret/x")
        assert [_admits(node, path) for path in ("sys/health", "sys/unseal", "secret/x")] == [True, True, False]
        await node.write(
            "sys/quotas/config", rate_limit_exempt_paths=["secret/*"], enable_rate_limit_response_headers=True
        )
        assert [_admits(node, path) for path in ("sys/health", "secret/x/y")] == [False, True]
        seen = await node.read("sys/quotas/config")
        assert seen["rate_limit_exempt_paths"] == ["secret/*"]
        assert seen["enable_rate_limit_response_headers"] is True
        assert seen["enable_rate_limit_audit_logging"] is False
        await node.write("sys/quotas/config", rate_limit_exempt_paths=[])
        assert not _admits(node, "secret/x")


async def test_a_login_role_has_a_limit_of_its_own() -> None:
    """The role of a login decides; others fall back to the mount; with no room anywhere the body is not read."""
    async with live() as node:
        await node.write("sys/auth/approle", type="approle")
        ids = {}
        for name in ("a", "b"):
            await node.write(f"auth/approle/role/{name}", bind_secret_id=False, token_bound_cidrs="0.0.0.0/0")
            ids[name] = (await node.read(f"auth/approle/role/{name}/role-id"))["role_id"]
        await node.write("sys/quotas/rate-limit/mount", path="auth/approle", rate=1, interval="1h")
        await node.write("sys/quotas/rate-limit/a", path="auth/approle", role="a", rate=2, interval="1h")

        async def login(name: str) -> int:
            return (await node.call("POST", "auth/approle/login", {"role_id": ids[name]}, token="")).status

        assert await node.node.login_role("auth/approle/login", {"role_id": ids["a"]}) == "a"
        assert node.node.context(node.node.router.by_path["auth/approle/"], Caller()).mount.type == "approle"
        assert _admits(node, "auth/approle/login", node.address)
        assert [await login("b"), await login("b")] == [200, 429]
        assert _admits(node, "auth/approle/login", node.address), "there is room for role a"
        assert [await login("a"), await login("a"), await login("a")] == [200, 200, 429]
        assert not _admits(node, "auth/approle/login", node.address)
        await node.refused("POST", "sys/quotas/rate-limit/x", {"path": "secret", "role": "a", "rate": 1}, status=400)


class _OneEdge:
    """An edge whose handler records what reaches it."""

    def __init__(self, node: Live) -> None:
        self.handled: list[WireRequest] = []
        listener = Listener(type="tcp", address="127.0.0.1:0", tls_disable=True)
        self.edge = Edge(listener, self._handle, RateGate(node.core))

    async def _handle(self, wire: WireRequest) -> Response:
        self.handled.append(wire)
        return Response(204)

    async def send(self, raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.edge.addresses[0][:2])
        writer.write(raw)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length or 0))
        writer.close()
        return head + body


@pytest.mark.parametrize("headers", [b"Content-Length: 1000000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_cve_2025_12044_refused_before_the_body_is_there(headers: bytes) -> None:
    """A request beyond its limit is answered while its body has not arrived, and never will (CVE-2025-12044)."""
    async with live() as node:
        await node.write("sys/quotas/rate-limit/all", rate=1, interval="1h", block_interval="30m")
        await node.write("sys/quotas/config", enable_rate_limit_response_headers=True)
        own = _OneEdge(node)
        await own.edge.start(None)
        try:
            first = await own.send(b"GET /v1/secret/data/a HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b" 204 " in first.splitlines()[0]
            assert b"X-Ratelimit-Limit: 1" in first
            answer = await own.send(b"POST /v1/secret/data/a HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
        finally:
            await own.edge.stop()
        assert b" 429 " in answer.splitlines()[0]
        assert b"Retry-After: 1800" in answer
        assert b'{"errors":["request path \\"secret/data/a\\": rate limit quota exceeded"]}' in answer
        assert len(own.handled) == 1


async def test_refusals_are_recorded_when_that_is_wanted(tmp_path: object) -> None:
    """With audit logging on, a refused request leaves its records; otherwise none."""
    async with live() as node:
        await node.write("sys/audit/file", type="file", options={"file_path": f"{tmp_path}/audit.log", "mode": "0600"})
        await node.write("sys/quotas/rate-limit/all", rate=1, interval="1h")
        gate = RateGate(node.core)
        wire = WireRequest(
            method="GET", path="/v1/secret/x", query="", headers={}, body=b"", client_address="192.0.2.9"
        )
        assert gate.before_body(wire.path, wire.client_address).refusal is None
        verdict = gate.before_body(wire.path, wire.client_address)
        with open(f"{tmp_path}/audit.log") as log:
            log.read()
            assert (await gate.refused(wire, verdict)).status == 429
            assert log.read() == ""
            await node.write("sys/quotas/config", enable_rate_limit_audit_logging=True)
            log.read()
            assert (await gate.refused(wire, verdict)).status == 429
            assert "rate limit quota exceeded" in log.read()
