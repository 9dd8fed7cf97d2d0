"""sys/audit, sys/audit-hash and sys/config/auditing."""

from pathlib import Path

import pytest

from tests.node.audit.kit import active_node, body_of, lines_of


async def test_enable_list_disable(tmp_path: Path) -> None:
    """A device is listed with its options under its path, and gone once it is disabled; again is fine."""
    async with active_node() as node:
        assert body_of(await node.call("GET", "sys/audit"))["data"] == {}
        body = {"type": "file", "description": "all of it", "options": {"file_path": str(tmp_path / "a")}}
        assert (await node.call("PUT", "sys/audit/deep/er", body)).status == 204
        listed = body_of(await node.call("GET", "sys/audit"))
        assert listed["data"] == {
            "deep/er/": {
                "type": "file",
                "description": "all of it",
                "options": {"file_path": str(tmp_path / "a")},
                "local": False,
                "path": "deep/er/",
            }
        }
        assert listed["deep/er/"] == listed["data"]["deep/er/"]
        for _ in range(2):
            assert (await node.call("DELETE", "sys/audit/deep/er")).status == 204
        assert body_of(await node.call("GET", "sys/audit"))["data"] == {}


async def test_a_device_is_tried_before_it_is_enabled(tmp_path: Path) -> None:
    """Its first record is the trial; one that cannot be written is refused with the reason, and is not enabled."""
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        assert lines_of(tmp_path / "a")[0]["request"]["path"] == "sys/audit/test"
        refused = await node.enable("full", file_path="/dev/full")
        assert refused.status == 400
        assert "sanity check failed" in body_of(refused)["errors"][0]
        assert list(body_of(await node.call("GET", "sys/audit"))["data"]) == ["file/"]


@pytest.mark.parametrize(
    ("device", "options", "text"),
    [
        ("file", {}, "file_path is required"),
        ("kafka", {}, "unknown audit device type"),
        ("", {}, "unknown audit device type"),
        ("file", {"file_path": "/nonexistent/a", "mode": "0777"}, "executable"),
        ("file", {"file_path": "/dev/null", "format": "jsonx"}, "the only audit format is json"),
        ("file", {"file_path": "/dev/null", "fallback": "true"}, "enterprise feature"),
        ("socket", {}, "address is required"),
        ("socket", {"address": "127.0.0.1:1"}, "sanity check failed"),
        ("syslog", {"facility": "NOISE"}, "unknown syslog facility"),
    ],
)
async def test_what_cannot_work_is_refused(device: str, options: dict[str, str], text: str) -> None:
    """With 400 and what is wrong."""
    async with active_node() as node:
        refused = await node.enable("x", device, **options)
        assert refused.status == 400
        assert text in body_of(refused)["errors"][0]


async def test_paths_are_not_shared(tmp_path: Path) -> None:
    """No device at another's path, nor above or below it."""
    async with active_node() as node:
        await node.enable("a/b", file_path=str(tmp_path / "a"))
        for path in ("a/b", "a", "a/b/c"):
            assert (await node.enable(path, file_path=str(tmp_path / "a"))).status == 400


async def test_the_hash_is_the_devices_own_and_ends_with_it(tmp_path: Path) -> None:
    """audit-hash gives what the records show; a device enabled anew has another salt."""
    async with active_node() as node:
        hashes = []
        for _ in range(2):
            await node.enable("file", file_path=str(tmp_path / "a"))
            answer = body_of(await node.call("POST", "sys/audit-hash/file", {"input": "canary"}))
            assert answer["hash"] == answer["data"]["hash"]
            hashes.append(answer["hash"])
            await node.call("POST", "secret/data/a", {"data": {"x": "canary"}})
            last = lines_of(tmp_path / "a")[-1]
            assert last["request"]["data"]["data"]["x"] == answer["hash"]
            await node.call("DELETE", "sys/audit/file")
        assert hashes[0] != hashes[1]
        assert (await node.call("POST", "sys/audit-hash/file", {"input": "x"})).status == 400
        assert (await node.call("POST", "sys/audit-hash/file", {})).status == 400


async def test_headers(tmp_path: Path) -> None:
    """Headers are shown once they are configured, hashed when that is asked for, under their lower-case name."""
    area = "sys/config/auditing/request-headers"
    async with active_node() as node:
        await node.enable("file", file_path=str(tmp_path / "a"))
        assert body_of(await node.call("GET", area))["data"] == {"headers": {}}
        assert (await node.call("POST", f"{area}/X-One", {"hmac": True})).status == 204
        assert (await node.call("POST", f"{area}/x-two", {})).status == 204
        assert body_of(await node.call("GET", area))["headers"] == {"x-one": {"hmac": True}, "x-two": {"hmac": False}}
        assert body_of(await node.call("GET", f"{area}/X-ONE"))["data"] == {"x-one": {"hmac": True}}
        assert (await node.call("GET", f"{area}/x-three")).status == 400
        assert (await node.call("POST", f"{area}/a b", {})).status == 400
        await node.call("GET", "secret/data/a", headers={"x-one": "canary", "x-two": "shown", "x-three": "no"})
        shown = lines_of(tmp_path / "a")[-1]["request"]["headers"]
        assert shown["x-two"] == ["shown"] and set(shown) == {"x-one", "x-two"}
        assert shown["x-one"][0].startswith("hmac-sha256:")
        assert (await node.call("DELETE", f"{area}/x-one")).status == 204
        await node.call("GET", "secret/data/a", headers={"x-one": "canary"})
        assert "headers" not in lines_of(tmp_path / "a")[-1]["request"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "sys/audit"),
        ("POST", "sys/audit/x"),
        ("DELETE", "sys/audit/x"),
        ("GET", "sys/config/auditing/request-headers"),
        ("POST", "sys/config/auditing/request-headers/x"),
        ("DELETE", "sys/config/auditing/request-headers/x"),
    ],
)
async def test_managing_audit_needs_sudo(method: str, path: str) -> None:
    """Every capability but sudo is not enough."""
    async with active_node() as node:
        rule = '{ capabilities = ["create", "read", "update", "delete", "list"] }'
        await node.call("POST", "sys/policies/acl/all", {"policy": f'path "*" {rule}'})
        made = await node.call("POST", "auth/token/create", {"policies": ["all"]})
        token = body_of(made)["auth"]["client_token"]
        assert (await node.call(method, path, {} if method == "POST" else None, token=token)).status == 403
        assert (await node.call(method, path, {} if method == "POST" else None, token="")).status == 403
