"""sys/mounts and sys/auth, asked through a whole node in memory."""

import pytest

from tests.node.audit.kit import Asked, active_node, body_of

TUNED = {
    "default_lease_ttl": "1h",
    "max_lease_ttl": "2h",
    "description": "for people",
    "audit_non_hmac_request_keys": ["a", "b"],
    "audit_non_hmac_response_keys": "c,d",
    "listing_visibility": "unauth",
    "passthrough_request_headers": ["X-One"],
    "allowed_response_headers": ["X-Two"],
    "force_no_cache": True,
}
SHOWN = TUNED | {"default_lease_ttl": 3600, "max_lease_ttl": 7200, "audit_non_hmac_response_keys": ["c", "d"]}


async def resealed(node: Asked) -> None:
    root_key = node.core.root_key
    assert root_key is not None
    await node.core.seal_now()
    await node.core.unseal_with(root_key)


@pytest.mark.parametrize("path", ["mounts/a/b", "auth/people"])
async def test_every_tuned_setting_is_kept(path: str) -> None:
    """What `tune` takes is shown again, after a restart too, also of a mount of two segments."""
    async with active_node() as node:
        kind = "kv" if path.startswith("mounts") else "userpass"
        assert (await node.call("POST", f"sys/{path}", {"type": kind})).status == 204
        assert (await node.call("POST", f"sys/{path}/tune", TUNED)).status == 204
        await resealed(node)
        shown = body_of(await node.call("GET", f"sys/{path}/tune"))["data"]
        assert {name: shown[name] for name in SHOWN} == SHOWN


@pytest.mark.parametrize("change", [{"listing_visibility": "all"}, {"default_lease_ttl": "9999h"}, {"token_type": "x"}])
async def test_an_impossible_setting_changes_nothing(change: dict[str, object]) -> None:
    """A tune is all or nothing."""
    async with active_node() as node:
        answer = await node.call("POST", "sys/mounts/secret/tune", {"description": "new", **change})
        assert answer.status == 400
        assert body_of(await node.call("GET", "sys/mounts/secret"))["data"]["description"] != "new"


@pytest.mark.parametrize("path", ["auth/a", "auth", "sys", "sys/a", "identity/a", "cubbyhole", "secret/a", "audit"])
async def test_protected_paths_are_refused(path: str) -> None:
    """sys/mounts takes no sudo, so nothing below auth/ can be mounted by it; nor over the API's own paths."""
    async with active_node() as node:
        before = body_of(await node.call("GET", "sys/mounts"))["data"].keys()
        answer = await node.call("POST", f"sys/mounts/{path}", {"type": "kv"})
        assert answer.status == 400, path
        assert body_of(await node.call("GET", "sys/mounts"))["data"].keys() == before


async def test_a_mount_and_all_of_it_is_gone() -> None:
    """Disabling empties the storage; a new mount at the path has nothing of the old."""
    async with active_node() as node:
        for _ in range(2):
            assert (await node.call("POST", "sys/mounts/a", {"type": "kv"})).status == 204
            assert (await node.call("GET", "a/x")).status == 404
            assert (await node.call("POST", "a/x", {"b": "1"})).status == 204
            keys = len(list(node.core.storage.store.scan("logical/")))
            assert (await node.call("DELETE", "sys/mounts/a")).status == 204
            assert len(list(node.core.storage.store.scan("logical/"))) < keys
            assert (await node.call("DELETE", "sys/mounts/a")).status == 204
