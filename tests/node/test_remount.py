"""Moving mounts to other paths."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.errors import NoLeader
from engines.common.errors import InvalidRequest
from engines.common.plan import LeaseGrant
from node import remount
from node.leases.queue import read_lease
from node.remount import begin_writes, finish, read_migration
from tests.node.live import Live, live


async def _moved(node: Live, source: str, target: str) -> Any:
    """The status of a move once it has ended."""
    answer = await node.ok("POST", "sys/remount", {"from": source, "to": target})
    migration_id = answer["migration_id"]
    assert answer["data"]["migration_id"] == migration_id
    async with asyncio.timeout(10):
        while True:
            status = await node.read(f"sys/remount/status/{migration_id}")
            if status["migration_info"]["status"] != "in-progress":
                return status["migration_info"]
            await asyncio.sleep(0)


async def test_a_secrets_mount_moves_without_moving_storage() -> None:
    """After a move the secrets are at the new path alone, under the same keys, uuid and accessor; also deeper."""
    async with live() as node:
        await node.write("secret/data/a", data={"x": 1})
        before = (await node.read("sys/mounts"))["secret/"]
        keys = node.node.opened.keys("logical/")
        info = await _moved(node, "secret", "team/kv/")
        assert info == {"source_mount": "secret/", "target_mount": "team/kv/", "status": "success"}
        assert (await node.read("team/kv/data/a"))["data"] == {"x": 1}
        await node.refused("GET", "secret/data/a", status=404)
        after = (await node.read("sys/mounts"))["team/kv/"]
        assert (after["uuid"], after["accessor"]) == (before["uuid"], before["accessor"])
        assert node.node.opened.keys("logical/") == keys
        assert (await _moved(node, "team/kv", "team"))["status"] == "success"
        assert (await _moved(node, "team", "secret/below/"))["status"] == "success"
        assert (await node.read("secret/below/data/a"))["data"] == {"x": 1}


async def test_what_the_mount_issued_is_revoked_first() -> None:
    """Leases below the old path and tokens of the old auth path end with the move; entity and limits follow it."""
    async with live() as node:
        await node.users("ann")
        auth = await node.login("ann")
        holder = await node.node.ledger.tokens.lookup("root")
        mount = node.node.router.by_path["secret/"].mount
        made = await node.node.ledger.leases.register(
            LeaseGrant(ttl_s=3600), path="secret/creds/x", mount_uuid=mount.uuid, holder=holder
        )
        await node.node.opened.commit("", made.writes)
        await node.write("sys/quotas/rate-limit/l", path="auth/userpass/login/ann", rate=1000)
        assert (await _moved(node, "auth/userpass", "auth/people"))["status"] == "success"
        await node.refused("GET", "auth/token/lookup-self", token=auth["client_token"], status=403)
        await node.refused("POST", "auth/userpass/login/ann", {"password": "ann"}, token="", status=403)
        again = await node.login("ann", mount="people")
        assert again["entity_id"] == auth["entity_id"]
        assert (await node.read("sys/quotas/rate-limit/l"))["path"] == "auth/people/login/ann"
        assert (await _moved(node, "secret", "other"))["status"] == "success"
        assert await read_lease(node.node.ledger.leases.view, made.lease.lease_id) is None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("nowhere", "other"),
        ("secret", "secret"),
        ("secret", "auth/secret"),
        ("auth/userpass", "userpass"),
        ("secret", "sys/x"),
        ("secret", "identity"),
        ("sys", "other"),
        ("cubbyhole", "other"),
        ("identity", "other"),
        ("auth/token", "auth/other"),
        ("secret", "kv2"),
        ("secret", "kv2/below"),
        ("secret", "../x"),
        ("secret", ""),
        ("", "x"),
    ],
)
async def test_refused_moves(source: str, target: str) -> None:
    """Mounts that cannot move, and paths that are taken or reserved, are refused, and nothing changes."""
    async with live() as node:
        await node.users()
        await node.write("sys/mounts/kv2", type="kv")
        before = node.node.mounts()
        await node.refused("POST", "sys/remount", {"from": source, "to": target}, status=400)
        assert node.node.mounts() == before
        await node.refused("GET", "sys/remount/status/none", status=404)


async def test_it_takes_sudo() -> None:
    """Every right on the path but sudo is not enough."""
    async with live() as node:
        await node.policy("p", 'path "sys/remount" { capabilities = ["create", "update"] }')
        token = (await node.ok("POST", "auth/token/create", {"policies": ["p"]}))["auth"]["client_token"]
        await node.refused("POST", "sys/remount", {"from": "secret", "to": "x"}, token=token, status=403)


@pytest.mark.parametrize("commits", range(4))
async def test_a_crash_after_each_step_is_taken_up(commits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after any of its commits, a move leaves a closed mount, and the next active node finishes it."""
    async with live() as node:
        await node.write("secret/data/a", data={"x": 1})
        own = node.node
        await own.opened.commit("", begin_writes(own, "m1", own.router.by_path["secret/"].mount, "moved/"))
        await node.refused("GET", "secret/data/a", status=404)
        whole, left = own.opened.commit, [commits]

        async def cut_off(*args: Any) -> int:
            if not left[0]:
                raise NoLeader("cut off by the test")
            left[0] -= 1
            return await whole(*args)

        monkeypatch.setattr(own.opened, "commit", cut_off)
        try:
            await finish(own, "m1")
        except NoLeader:
            await node.refused("GET", "secret/data/a", status=404)
        await node.restart()
        async with asyncio.timeout(10):
            while (found := read_migration(node.node, "m1")) is None or found.status == remount.IN_PROGRESS:
                await asyncio.sleep(0)
        assert found.status == remount.SUCCESS
        assert (await node.read("moved/data/a"))["data"] == {"x": 1}
        await node.refused("GET", "secret/data/a", status=404)


async def test_a_mount_that_cannot_revoke_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """When something that was issued cannot be revoked, the move fails and the mount answers where it was."""
    async with live() as node:

        async def refuse(*args: object, **more: object) -> None:
            raise InvalidRequest("the database is away")

        monkeypatch.setattr(node.node.ledger.leases, "revoke_prefix", refuse)
        await node.write("secret/data/a", data={})
        assert (await _moved(node, "secret", "other"))["status"] == "failure"
        await node.read("secret/data/a")
        await node.refused("GET", "other/data/a", status=404)
