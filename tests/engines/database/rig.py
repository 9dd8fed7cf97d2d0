"""A database mount on storage in memory. Leases are held by hand: what the pipeline would register is returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from engines.common.context import Caller, MountInfo, Outside
from engines.common.frame import Operation
from engines.common.held import Held
from engines.common.plan import Plan, Write
from engines.database import ENGINE
from engines.database.tending import tend
from node.policy.password import DEFAULT_PASSWORD_POLICY, generate
from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres
from tests.engines.memory_view import FixedSources, MemoryView, Rig


@dataclass(frozen=True)
class Leased:
    """What a client and the lease manager have of a user."""

    username: str
    password: str
    internal: bytes


@dataclass
class DatabaseRig(Rig):
    """`fail_commit` lets the next commit of the engine itself fail, as on a node that leads no more."""

    fail_commit: bool = False

    def next_leader(self) -> DatabaseRig:
        """The same mount as another node takes it over: only what was committed is known there."""
        rig = replace(self)
        rig.outside = outside_of(rig)
        return rig

    async def commit(self, writes: Sequence[Write]) -> int:
        await asyncio.sleep(0)
        if self.fail_commit:
            raise ConnectionError
        self.view.commit(tuple(writes))
        return self.view.index

    async def creds_plan(self, role: str) -> Plan:
        """Everything up to the commit of the result."""
        return await self.plan(Operation.READ, f"creds/{role}")

    def finish(self, plan: Plan) -> Leased:
        """Commit the result, as the pipeline does together with the lease."""
        self.view.commit(plan.writes)
        assert plan.answer.data is not None and plan.answer.lease is not None
        data: Any = plan.answer.data
        return Leased(data["username"], data["password"], plan.answer.lease.internal)

    async def creds(self, role: str) -> Leased:
        return self.finish(await self.creds_plan(role))

    async def revoke(self, leased: Leased) -> None:
        assert ENGINE.revoke is not None
        await ENGINE.revoke(leased.internal, self.ctx)

    async def tend(self) -> None:
        await tend(self.ctx)

    async def intents(self) -> list[str]:
        return await self.view.list("intent/")


def outside_of(rig: DatabaseRig) -> Outside:
    """A fresh stay on a node."""
    held = Held(rig.sources.random(8).hex())
    return Outside(rig.commit, held, lambda _: generate(DEFAULT_PASSWORD_POLICY, rig.sources.random))


@asynccontextmanager
async def database_mount(seed: int = 0) -> AsyncIterator[DatabaseRig]:
    """A new mount; its caller is called "root"."""
    mount = MountInfo(
        path="database/",
        uuid="u",
        accessor="database_1",
        type="database",
        options={},
        default_ttl_s=2_764_800,
        max_ttl_s=2_764_800,
    )
    rig = DatabaseRig(ENGINE, MemoryView(), mount=mount, caller=Caller(token_key="t", display_name="root"))
    # The real time to begin with: the database judges VALID UNTIL by its own clock.
    rig.sources = FixedSources(int(time.time() * 1000), seed)
    rig.outside = outside_of(rig)
    try:
        yield rig
    finally:
        await rig.ctx.out.held.close()


async def with_postgresql(rig: DatabaseRig, pg: Postgres, **config: object) -> None:
    """The connection "pg" and the role "app" of the walkthrough."""
    given: dict[str, object] = {
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": pg.template,
        "username": ADMIN,
        "password": PASSWORD,
        **config,
    }
    await rig.write("config/pg", **given)
    await rig.write("roles/app", db_name="pg", creation_statements=CREATION, default_ttl="1h", max_ttl="24h")
