"""What is served to anybody: exactly this list, each with the reason."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from engines import registry
from engines.common.frame import Engine
from node.ceremonies.open_paths import OPEN
from node.core import Core
from node.dispatch import dispatch
from node.limits import CEREMONY_BODY_BYTES_MAX
from node.local_api import LOCAL
from node.request import WireRequest
from tests.node.audit.kit import active_node, body_of
from tests.node.cores import new_core

# What a node answers itself, in every state. Bounded by BODY_BYTES_MAX, the seal lock and one pending join.
LOCAL_ROUTES: Final = {
    "sys/init": "nobody has a token before it",
    "sys/seal-status": "tells whether a token is of any use; no secret",
    "sys/unseal": "a sealed node knows no tokens; the shares are the proof",
    "sys/seal-backend-status": "as seal-status",
    "sys/health": "load balancers have no token",
    "sys/leader": "clients find the active node with it",
    "sys/storage/raft/join": "only a node without data joins, and such a node knows no tokens",
}

# What the pipeline serves without looking at policy.
ROUTES: Final = {
    "system storage/raft/bootstrap/challenge": "the joiner proves itself with the root key; nothing is kept",
    "system storage/raft/bootstrap/answer": "the answer is the proof: it takes the root key",
    "system internal/ui/mounts": "shows mounts that were tuned to be shown, and no others, without a token",
    "system internal/ui/mounts/*path": "refuses everything without a token, in one text",
    "system internal/specs/openapi": "without a token an empty document",
    "system experiments": "says that there are none",
    "system wrapping/lookup": "the wrapping token is the proof; it shows no secret",
    # Key ceremonies: key holders often have no token, and who generates a root token has lost it. The shares are the
    # proof. One of each kind at a time, CEREMONY_BODY_BYTES_MAX a request; what was begun with a right to it only such
    # a one ends (CVE-2026-5807).
    "system rekey/init": "begins, tells the progress of, and cancels what only a quorum of shares completes",
    "system rekey/update": "the shares are the proof",
    "system rekey/verify": "the new shares are the proof",
    "system rekey-recovery-key/init": "as rekey/init",
    "system rekey-recovery-key/update": "the shares are the proof",
    "system rekey-recovery-key/verify": "the new shares are the proof",
    "system generate-root/attempt": "as rekey/init",
    "system generate-root/update": "the shares are the proof",
    "approle login": "is how a token is got",
    "userpass login/:username": "is how a token is got",
}


def engines(core: Core) -> Iterator[Engine]:
    yield from (m.engine for m in core.require_unsealed().router.by_path.values())
    yield from (*registry.SECRET_ENGINES, *registry.AUTH_METHODS)


async def test_what_needs_no_token_is_listed() -> None:
    """A new unauthenticated route is a decision: it is added here, with its reason and its bound."""
    async with active_node() as node:
        found = {
            f"{engine.type} {route.pattern}"
            for engine in engines(node.core)
            for pattern in engine.table.patterns
            for route in pattern.routes.values()
            if route.unauthenticated
        }
    assert found == set(ROUTES)
    assert set(LOCAL) == set(LOCAL_ROUTES)


async def test_everything_else_refuses_without_a_token() -> None:
    """Each route of each mount, under each method, without a token: 403 before anything is done."""
    async with active_node() as node:
        before = node.core.storage.store.applied_index
        for mounted in node.core.require_unsealed().router.by_path.values():
            for pattern in mounted.engine.table.patterns:
                if any(route.unauthenticated for route in pattern.routes.values()):
                    continue
                path = mounted.mount.path + pattern.text.replace(":", "x").replace("*", "x")
                for method in ("GET", "LIST", "POST", "PATCH", "DELETE"):
                    headers = {"content-type": "application/merge-patch+json"}
                    for query in ("", "?help=1", "?list=true"):
                        answer = await node.call(method, path + query, token="", headers=headers)
                        assert answer.status == 403, (method, path, query, answer.body)
        assert node.core.storage.store.applied_index == before


def test_the_paths_of_ceremonies_are_those_routes() -> None:
    """What counts a token on an open path, and bounds its body, knows the same paths as the routes."""
    assert {f"system {path.removeprefix('sys/')}" for path in OPEN} == {
        route for route in ROUTES if route.partition(" ")[2].startswith(("rekey", "generate-root"))
    }


@pytest.mark.parametrize("path", sorted(OPEN))
async def test_a_ceremony_bounds_its_body(path: str) -> None:
    """A request that anybody may send has room for a PGP key a share, and for nothing beyond."""
    async with active_node() as node:
        core = node.core
        for method in ("POST", "PUT", "DELETE"):
            wire = WireRequest(
                method=method,
                path=f"/v1/{path}",
                query="",
                headers={},
                body=b'{"a":"' + b"x" * CEREMONY_BODY_BYTES_MAX + b'"}',
                client_address="",
            )
            answer = await dispatch(core, core.config.listeners[0], wire)
            assert answer.status == 400 and "at most 1048576 bytes" in body_of(answer)["errors"][0]


@pytest.mark.parametrize("path", sorted(LOCAL_ROUTES))
async def test_a_local_route_bounds_its_body(path: str) -> None:
    """What anybody may send is a few kilobytes, not the max_request_size of those who have a token."""
    core = new_core()
    for method in ("POST", "PUT"):
        wire = WireRequest(
            method=method,
            path=f"/v1/{path}",
            query="",
            headers={},
            body=b'{"a":"' + b"x" * 70_000 + b'"}',
            client_address="",
        )
        async with asyncio.timeout(10):
            answer = await dispatch(core, core.config.listeners[0], wire)
        assert answer.status in (400, 405), body_of(answer)
        assert not core.is_initialized


@pytest.mark.parametrize(("code", "status"), [("299", 299), ("0200", 400), ("100", 400), ("5990", 400), ("abc", 400)])
async def test_health_takes_real_statuses_only(code: str, status: int) -> None:
    """A final answer is from 200 to 599; anything else would break the connection of whoever asked."""
    async with active_node() as node:
        core = node.core
        wire = WireRequest(
            method="GET", path="/v1/sys/health", query=f"activecode={code}", headers={}, body=b"", client_address=""
        )
        assert (await dispatch(core, core.config.listeners[0], wire)).status == status
        assert (await dispatch(core, core.config.listeners[0], replace(wire, query=""))).status == 200


async def test_capabilities_take_a_path_as_it_is() -> None:
    """In JSON a percent sign is a percent sign: nothing is decoded twice."""
    async with active_node() as node:
        for path in ("secret/100%", "secret/a%20b", "secret/a b", "secret/ü"):
            answer = await node.call("POST", "sys/capabilities-self", {"paths": [path]})
            assert answer.status == 200, answer.body
            assert body_of(answer)["data"][path] == ["root"]
