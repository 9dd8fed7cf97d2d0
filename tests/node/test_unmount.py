"""Disabling a mount while it issues leases, and what is left when the steps are cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from cluster.errors import OutcomeUnknown
from engines.common.context import Context
from engines.common.errors import OutsideFailed
from engines.common.fields import path_param
from engines.common.frame import Engine, Operation, Route, RouteTable
from engines.common.plan import Answer, LeaseGrant, Plan
from engines.registry import engine_for
from node import unsealed
from node.system import remount as system_remount
from node.unmount import CLOSING, TASKS, continue_unmounts
from tests.node.live import Live, Reply, live


@dataclass(frozen=True, slots=True, kw_only=True)
class Creds:
    """The one request."""

    name: str = path_param("Anything.")


@dataclass
class Outside:
    """An engine that makes things outside, where the test sees them and can hold them up."""

    made: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    def engine(self) -> Engine:
        route = Route(
            pattern="creds/:name", operation=Operation.READ, request=Creds, handler=self._creds, summary="Make one."
        )
        table = RouteTable((route,))
        return Engine(type="database", is_auth=False, description="", help="", table=table, revoke=self._revoke)

    async def _creds(self, request: Creds, ctx: Context) -> Plan:
        self.made.append(request.name)
        self.asked.set()
        await self.gate.wait()

        async def undo() -> None:
            self.made.remove(request.name)

        grant = LeaseGrant(ttl_s=3600, internal=request.name.encode())
        return Plan(Answer(data={"name": request.name}, lease=grant), undo=undo)

    async def _revoke(self, internal: bytes, ctx: Context) -> Plan:
        if self.error is not None:
            raise self.error
        self.made.remove(internal.decode())
        return Plan()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    made = Outside()
    engine = made.engine()

    def engine_of(kind: str, options: dict[str, str]) -> Engine:
        return engine if kind == "database" else engine_for(kind, options)

    monkeypatch.setattr(unsealed, "engine_for", engine_of)
    return made


@pytest.fixture
async def node(outside: Outside) -> AsyncIterator[Live]:
    async with live() as made:
        await made.write("sys/mounts/db", type="database")
        yield made


def left(node: Live) -> list[str]:
    """What must not stay: tasks, and leases below the mount."""
    opened = node.node.opened
    return [*opened.keys(CLOSING), *opened.keys(TASKS)]


async def cut_off(path: str, **options: bool) -> None:
    raise OutcomeUnknown("cut off")


async def issued(node: Live, outside: Outside, name: str) -> None:
    outside.gate.set()
    assert (await node.ok("GET", f"db/creds/{name}"))["lease_id"]


async def begun(node: Live, outside: Outside, name: str) -> asyncio.Task[Reply]:
    """A request for a secret that has been made outside and is not leased yet."""
    outside.gate.clear()
    outside.asked.clear()
    task = asyncio.create_task(node.call("GET", f"db/creds/{name}"))
    await outside.asked.wait()
    return task


async def test_what_is_issued_while_a_mount_is_disabled(node: Live, outside: Outside) -> None:
    """A secret made in time for nothing is taken back by its engine: no lease is left without a mount."""
    await issued(node, outside, "a")
    waiting = await begun(node, outside, "b")
    await node.delete("sys/mounts/db")
    outside.gate.set()
    assert (await waiting).status == 404
    assert outside.made == []
    assert not left(node)
    assert await node.node.ledger.leases.names_below("db/") == []


async def test_what_is_issued_while_a_mount_is_moved(node: Live, outside: Outside) -> None:
    """A secret that was asked for at the old path gets no lease there, where nobody would revoke it."""
    waiting = await begun(node, outside, "b")
    answer = await node.ok("POST", "sys/remount", {"from": "db", "to": "other"})
    outside.gate.set()
    assert (await waiting).status == 404
    async with asyncio.timeout(10):
        while (await node.read(f"sys/remount/status/{answer['migration_id']}"))["migration_info"][
            "status"
        ] == "in-progress":
            await asyncio.sleep(0)
    assert outside.made == []
    assert await node.node.ledger.leases.names_below("db/") == []


async def test_a_secret_that_cannot_be_revoked_keeps_its_mount(node: Live, outside: Outside) -> None:
    """Then the mount opens again as it was, and can be disabled once the outside answers."""
    await issued(node, outside, "a")
    outside.error = OutsideFailed("the database is away")
    refused = await node.call("DELETE", "sys/mounts/db")
    assert refused.status >= 400
    assert not left(node)
    await issued(node, outside, "b")
    outside.error = None
    await node.delete("sys/mounts/db")
    assert outside.made == []
    await node.refused("GET", "db/creds/a", status=404)


@pytest.mark.parametrize("again", ["the next active node", "a second request"])
async def test_cut_off_after_closing(node: Live, outside: Outside, again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off between closing and removal, the mount answers nothing, and the work is taken up where it ended."""
    await issued(node, outside, "a")
    with monkeypatch.context() as patched:
        patched.setattr(node.node.ledger.leases, "revoke_prefix", cut_off)
        assert (await node.call("DELETE", "sys/mounts/db")).status == 500
    assert left(node)
    await node.refused("GET", "db/creds/b", status=404)
    await node.refused("POST", "sys/remount", {"from": "db", "to": "other"}, status=400)
    if again == "a second request":
        await node.delete("sys/mounts/db")
    else:
        await continue_unmounts(node.node)
        await continue_unmounts(node.node)
    assert outside.made == []
    assert not left(node)
    assert "db/" not in await node.read("sys/mounts")


async def test_a_mount_that_is_being_moved_cannot_be_disabled(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move has closed it, and goes on with it; who disables it is told so."""

    async def not_yet(node: object, migration_id: str) -> None: ...

    monkeypatch.setattr(system_remount, "finish", not_yet)
    await node.ok("POST", "sys/remount", {"from": "db", "to": "other"})
    refused = await node.refused("DELETE", "sys/mounts/db", status=400)
    assert refused.errors == ["'db/' is being moved"]
