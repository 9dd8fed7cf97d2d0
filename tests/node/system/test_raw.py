"""sys/raw and sys/internal/inspect, which an operator has to switch on."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from node.root_key import TOLD_KEY
from node.seal_state import AUTHORITY_KEY, KEYRING_KEY, ROOT_KEY_KEY
from tests.node.live import Live, live


@pytest.fixture
async def node() -> AsyncIterator[Live]:
    async with live() as made:
        made.core.config = replace(made.core.config, raw_storage_endpoint=True, introspection_endpoint=True)
        await made.restart()
        yield made


async def test_off_by_default() -> None:
    """Without the two settings neither is there, for root either."""
    async with live() as plain:
        await plain.refused("LIST", "sys/raw/core", status=404)
        await plain.refused("GET", "sys/raw/core/mounts", status=404)
        await plain.refused("GET", "sys/internal/inspect/router/root", status=404)


async def test_records(node: Live) -> None:
    """Read, written, listed and deleted as they are in storage; what is binary takes base64."""
    await node.write("sys/raw/notes/a", value="text")
    assert (await node.ok("GET", "sys/raw/notes/a"))["value"] == "text"
    assert await node.list("sys/raw/notes") == {"keys": ["a"]}
    assert "core/" in (await node.list("sys/raw"))["keys"]
    binary = b64encode(b"\xff\x00").decode()
    await node.write("sys/raw/notes/b", value=binary, encoding="base64")
    assert await node.read("sys/raw/notes/b?encoding=base64") == {"value": binary}
    await node.refused("GET", "sys/raw/notes/b", status=400)
    await node.refused("GET", "sys/raw/notes/b?encoding=hex", status=400)
    await node.refused("POST", "sys/raw/notes/b", {"value": "a", "compressed": True}, status=400)
    await node.delete("sys/raw/notes/a")
    await node.refused("GET", "sys/raw/notes/a", status=404)
    await node.write("secret/data/a", data={"x": "1"})
    await node.policy("p", 'path "sys/raw/*" { capabilities = ["read", "list", "update", "create", "delete"] }')
    token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
    await node.refused("GET", "sys/raw/notes/b", token=token, status=403)


@pytest.mark.parametrize("key", [KEYRING_KEY, ROOT_KEY_KEY, AUTHORITY_KEY, TOLD_KEY])
async def test_the_keys_of_everything(node: Live, key: str) -> None:
    """What protects all storage can be neither read nor replaced, with a root token either."""
    for method, body in (("GET", None), ("POST", {"value": "a"}), ("DELETE", None)):
        await node.refused(method, f"sys/raw/{key}", body, status=400)


async def test_what_was_changed_below_takes_effect(node: Live) -> None:
    """Everything derived from a record follows it: a policy that was written raw is the policy."""
    await node.policy("p", 'path "secret/*" { capabilities = ["read"] }')
    token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
    await node.write("secret/data/a", data={"x": "1"})
    assert (await node.call("GET", "secret/data/a", token=token)).status == 200
    (key,) = [key for key in node.node.opened.keys("sys/policy/") if key.endswith("/p")]
    await node.delete(f"sys/raw/{key}")
    await node.refused("GET", "secret/data/a", token=token, status=403)


async def test_router(node: Live) -> None:
    """Each view lists every mount; another name is refused."""
    for tag in ("root", "uuid", "accessor", "storage"):
        rows = (await node.read(f"sys/internal/inspect/router/{tag}"))[tag]
        assert {row["mount_path"] for row in rows} >= {"secret/", "sys/", "auth/token/"}
        assert ("storage_prefix" in rows[0]) == (tag in ("root", "storage"))
    await node.refused("GET", "sys/internal/inspect/router/other", status=400)


async def test_experiments_and_reload(node: Live) -> None:
    """No experiments, for anyone; license is the one subsystem that may be named."""
    assert (await node.ok("GET", "sys/experiments", token=""))["data"] == {"available": [], "enabled": []}
    assert (await node.call("POST", "sys/config/reload/license")).status == 204
    await node.refused("POST", "sys/config/reload/other", status=400)
