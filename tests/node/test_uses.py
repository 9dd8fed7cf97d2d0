"""Tokens with limited uses: a request is recorded before it costs one, and whatever it comes to costs one."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.node.audit.kit import Asked, active_node, body_of, lines_of
from tests.node.live import Live, live


async def limited(node: Asked, uses: int) -> str:
    made = await node.call("POST", "auth/token/create", {"policies": ["default"], "num_uses": uses})
    return str(body_of(made)["auth"]["client_token"])


async def uses_left(node: Asked, token: str) -> Any:
    reply = await node.call("POST", "auth/token/lookup", {"token": token})
    return body_of(reply)["data"]["num_uses"] if reply.status == 200 else None


@pytest.mark.parametrize(
    ("path", "status"), [("auth/token/lookup-self", 200), ("secret/data/a", 403), ("absent/a", 403)]
)
async def test_what_nobody_records_costs_nothing(tmp_path: Path, path: str, status: int) -> None:
    """While no audit device takes the record, a use is not taken; then each request takes one, refused or not."""
    async with active_node() as node:
        token = await limited(node, 3)
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert (await node.enable("pipe", file_path=str(pipe))).status == 204
        os.close(reader)
        assert (await node.call("GET", path, token=token)).status == 500
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert await uses_left(node, token) == 3
        assert (await node.call("GET", path, token=token)).status == status
        assert await uses_left(node, token) == 2
        os.close(reader)


async def test_the_record_comes_first(tmp_path: Path) -> None:
    """When the use is committed, the record of its request is there already, of a refused one too."""
    async with active_node() as node:
        token = await limited(node, 5)
        log = tmp_path / "a"
        assert (await node.enable("file", file_path=str(log))).status == 204
        unsealed = node.core.require_unsealed()
        key = await unsealed.ledger.tokens.lookup(token)
        assert key is not None
        seen: list[tuple[str, str]] = []

        def changed(keys: object) -> None:
            last = lines_of(log)[-1]
            seen.append((last["type"], last["request"]["path"]))

        stop = unsealed.store.watch(changed)
        for path in ("auth/token/lookup-self", "secret/data/a"):
            await node.call("GET", path, token=token)
        stop()
        assert seen == [("request", "auth/token/lookup-self"), ("request", "secret/data/a")]
        records = lines_of(log)[1:]
        assert [record["type"] for record in records] == ["request", "response"] * 2
        assert "error" in records[2] and "error" in records[3]


async def test_uses_under_concurrency(tmp_path: Path) -> None:
    """Of many requests at once exactly as many are served as there are uses; each has its two records."""
    async with active_node() as node:
        token = await limited(node, 4)
        log = tmp_path / "a"
        assert (await node.enable("file", file_path=str(log))).status == 204
        calls = [node.call("GET", "auth/token/lookup-self", token=token) for _ in range(12)]
        statuses = [reply.status for reply in await asyncio.gather(*calls)]
        assert sorted(statuses) == [200] * 4 + [403] * 8
        assert await uses_left(node, token) is None
        mine = [r for r in lines_of(log) if r["request"]["path"] == "auth/token/lookup-self"]
        assert len(mine) == 24


async def test_a_plan_that_is_made_again_costs_one_use() -> None:
    """A token with two uses serves two requests, also when the first one loses a race and is planned anew."""
    async with live() as node:
        await node.policy("kv", 'path "secret/*" { capabilities = ["create", "update", "read"] }')
        made = await node.ok("POST", "auth/token/create", {"policies": ["kv"], "num_uses": 2})
        token = made["auth"]["client_token"]
        first = node.call("POST", "secret/data/k", {"data": {"a": 1}}, token=token)
        racing = [node.call("POST", "secret/data/k", {"data": {"a": n}}) for n in range(8)]
        replies = await asyncio.gather(*racing, first)
        assert [reply.status for reply in replies] == [200] * 9
        assert (await node.call("GET", "secret/data/k", token=token)).status == 200
        assert (await node.call("GET", "secret/data/k", token=token)).status == 403


@pytest.mark.parametrize("verb", ["unwrap", "rewrap"])
async def test_a_wrapping_token_that_is_none(verb: str) -> None:
    """Used, wrong, or of another kind: as the request's own token it is answered with 400, as published."""

    async def wrapped(node: Live) -> str:
        reply = await node.call("POST", "sys/wrapping/wrap", {"a": 1}, **{"x-vault-wrap-ttl": "60"})
        return str(reply.body["wrap_info"]["token"])

    async with live() as node:
        refusal = ["wrapping token is not valid or does not exist"]
        token = await wrapped(node)
        # A wrapping token may unwrap itself; rewrapping it takes another, and the attempt is its use.
        expected = 200 if verb == "unwrap" else 403
        assert (await node.call("POST", f"sys/wrapping/{verb}", {}, token=token)).status == expected
        for wrong in (token, "hvs.unknown", "x"):
            for body in ({}, {"token": ""}, {"token": wrong}):
                reply = await node.refused("POST", f"sys/wrapping/{verb}", body, token=wrong, status=400)
                assert reply.errors == refusal
        assert (await node.refused("POST", f"sys/wrapping/{verb}", {}, status=400)).errors == refusal
        await node.refused("POST", f"sys/wrapping/{verb}", {"token": await wrapped(node)}, token="x", status=403)
        await node.refused("POST", "sys/wrapping/wrap", {}, token="x", status=403)
        token = await wrapped(node)
        calls = [node.call("POST", f"sys/wrapping/{verb}", {}, token=token) for _ in range(6)]
        statuses = [reply.status for reply in await asyncio.gather(*calls)]
        assert sorted(statuses) == sorted([expected] + [400] * 5)
