"""sys/storage/raft/snapshot-auto on a node with Raft: configurations, their secrets, and snapshots that are whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from node.cli.snapshot_file import check_complete
from node.response import Response
from tests.node.audit.kit import ROOT, Asked, active_node, body_of
from tests.node.cores import raft_core
from tests.node.test_join import first_node

BASE = "sys/storage/raft/snapshot-auto"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Asked]:
    """An active node with Raft."""
    async with raft_core(tmp_path / "n1", "n1") as core:
        await first_node(core)
        yield Asked(core)


def local(folder: Path, **changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "interval": "24h",
        "retain": 7,
        "path_prefix": str(folder),
        "storage_type": "local",
        "local_max_space": 10_000_000,
    }
    return {**base, **changes}


def s3(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "interval": "24h",
        "path_prefix": "a",
        "storage_type": "aws-s3",
        "aws_s3_bucket": "bucket",
        "aws_s3_region": "eu-central-1",
        "aws_s3_endpoint": "127.0.0.1:1",
        "aws_s3_disable_tls": True,
        "aws_access_key_id": "AKIDOFTHISTEST",
        "aws_secret_access_key": "hidden-key",
        "aws_session_token": "hidden-token",
    }
    return {**base, **changes}


async def ended(node: Asked, name: str) -> dict[str, Any]:
    """The status after its next attempt."""
    async with asyncio.timeout(30):
        while not (status := body_of(await node.call("GET", f"{BASE}/status/{name}"))["data"])["last_snapshot_end"]:
            await asyncio.sleep(0.05)
    found: dict[str, Any] = status
    return found


async def test_a_snapshot_is_taken(node: Asked, tmp_path: Path) -> None:
    """It is where the status says, whole, and the configuration reads as it was written, interval in seconds."""
    assert (await node.call("LIST", f"{BASE}/config")).status == 404
    assert (await node.call("GET", f"{BASE}/config/daily")).status == 404
    assert (await node.call("GET", f"{BASE}/status/daily")).status == 404
    assert (await node.call("POST", f"{BASE}/config/daily", local(tmp_path / "backup"))).status == 204
    assert body_of(await node.call("LIST", f"{BASE}/config"))["data"] == {"keys": ["daily"]}
    assert body_of(await node.call("GET", f"{BASE}/config/daily"))["data"] == {
        "file_prefix": "vault-snapshot",
        "interval": 86_400,
        "local_max_space": 10_000_000,
        "path_prefix": str(tmp_path / "backup"),
        "retain": 7,
        "storage_type": "local",
    }
    status = await ended(node, "daily")
    assert (status["last_snapshot_error"], status["consecutive_errors"]) == ("", 0)
    assert status["snapshot_url"] == status["last_snapshot_url"]
    assert status["snapshot_start"] == status["last_snapshot_start"] < status["next_snapshot_start"]
    check_complete(Path(status["last_snapshot_url"].removeprefix("file://")))
    assert (await node.call("DELETE", f"{BASE}/config/daily")).status == 204
    assert (await node.call("GET", f"{BASE}/status/daily")).status == 404
    assert len(list((tmp_path / "backup").iterdir())) == 1, "the snapshots stay"


async def test_secrets_are_never_read_again(node: Asked) -> None:
    """Not by a read, not by the status; and what a change does not name stays, secrets too."""
    assert (await node.call("POST", f"{BASE}/config/s3", s3())).status == 204
    for _ in range(2):
        answer = await node.call("GET", f"{BASE}/config/s3")
        assert b"hidden" not in answer.body
        assert body_of(answer)["data"]["aws_access_key_id"] == "AKIDOFTHISTEST"
        status = await ended(node, "s3")
        assert status["last_snapshot_error"] == "the S3 endpoint cannot be reached"
        assert "hidden" not in str(status)
        assert (await node.call("POST", f"{BASE}/config/s3", {"retain": 3})).status == 204
    changed = body_of(await node.call("GET", f"{BASE}/config/s3"))["data"]
    assert (changed["retain"], changed["aws_s3_bucket"]) == (3, "bucket")
    opened = node.core.require_unsealed().opened.get("core/raft/snapshot-auto/config/s3")
    assert opened is not None and b"hidden-key" in opened.value and b"hidden-token" in opened.value
    # Another storage type begins anew: what it lacks is missing.
    refused = await node.call("POST", f"{BASE}/config/s3", {"storage_type": "local"})
    assert refused.status == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "storage_type"),
        ({"storage_type": "google-gcs"}, "google-gcs is not available here"),
        ({"storage_type": "azure-blob"}, "azure-blob is not available here"),
        (local(Path("/b"), interval="often"), "interval must be a duration"),
        (local(Path("/b"), interval=None), "interval is required"),
        (local(Path("b")), "absolute"),
        (local(Path("/b"), local_max_space=None), "local_max_space is required"),
        (s3(aws_s3_bucket=None), "aws_s3_bucket is required"),
        (s3(aws_s3_enable_kms=True, aws_s3_server_side_encryption=True), "cannot be used with"),
    ],
)
async def test_refused(node: Asked, body: dict[str, object], said: str) -> None:
    """400 that names the parameter; nothing is kept, and no secret is repeated."""
    answer = await node.call("POST", f"{BASE}/config/a", body)
    assert answer.status == 400, answer
    assert said in body_of(answer)["errors"][0] and "hidden" not in str(answer.body)
    assert (await node.call("LIST", f"{BASE}/config")).status == 404


async def test_names(node: Asked, tmp_path: Path) -> None:
    """A name is one segment of plain characters."""
    for name in ("-a", "a b", "a%2Fb", "x" * 129):
        answer = await node.call("POST", f"{BASE}/config/{name}", local(tmp_path / "b"))
        assert answer.status in (400, 404), (name, answer)


async def test_policy(node: Asked, tmp_path: Path) -> None:
    """Configurations take sudo, also to be read; the status does not. Creating and changing are told apart."""
    rules = {
        "all": f'path "{BASE}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}',
        "sudo": f'path "{BASE}/*" {{ capabilities = ["create", "read", "update", "delete", "list", "sudo"] }}',
        "new": f'path "{BASE}/*" {{ capabilities = ["create", "sudo"] }}',
    }
    tokens = {}
    for name, text in rules.items():
        await node.call("POST", f"sys/policies/acl/{name}", {"policy": text})
        made = await node.call("POST", "auth/token/create", {"policies": [name]})
        tokens[name] = str(body_of(made)["auth"]["client_token"])

    async def asked(method: str, path: str, token: str, body: object = None) -> int:
        answer: Response = await node.call(method, f"{BASE}/{path}", body, token=tokens[token])
        return answer.status

    config = local(tmp_path / "b")
    assert await asked("POST", "config/a", "all", config) == 403
    assert await asked("POST", "config/a", "new", config) == 204
    assert await asked("POST", "config/a", "new", config) == 403
    for method, path in (("GET", "config/a"), ("LIST", "config"), ("DELETE", "config/a")):
        assert await asked(method, path, "all") == 403
    assert await asked("GET", "status/a", "all") == 200
    assert await asked("GET", "config/a", "sudo") == 200
    assert await asked("DELETE", "config/a", "sudo") == 204


async def test_without_raft() -> None:
    """There is nothing to take a snapshot of."""
    async with active_node() as memory:
        for method, path in (("LIST", "config"), ("GET", "config/a"), ("POST", "config/a"), ("GET", "status/a")):
            answer = await memory.call(method, f"{BASE}/{path}", local(Path("/b")) if method == "POST" else None)
            assert (answer.status, "raft storage is not in use" in str(answer.body)) == (400, True)


async def test_a_restart_takes_none_before_its_time(tmp_path: Path) -> None:
    """When the next is due is in the store: a node that starts again does not begin anew."""
    from node.unseal import unseal

    async with raft_core(tmp_path / "n1", "n1") as core:
        share = await first_node(core)
        node = Asked(core)
        await node.call("POST", f"{BASE}/config/a", local(tmp_path / "backup"))
        before = await ended(node, "a")
    async with raft_core(tmp_path / "n1", "n1") as core:
        await unseal(core, share, reset=False)
        await core.wait_active(30)
        node = Asked(core)
        # A second configuration is looked at after the first, in the same look.
        await node.call("POST", f"{BASE}/config/b", local(tmp_path / "other"))
        await ended(node, "b")
        assert body_of(await node.call("GET", f"{BASE}/status/a", token=ROOT))["data"] == before
        assert len(list((tmp_path / "backup").iterdir())) == 1
