"""Tokens, leases and their sweeper on a store in memory, with a clock to turn and an engine to break."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.errors import Conflict
from engines.common.context import Caller, Context, MountInfo
from engines.common.errors import InvalidRequest
from engines.common.frame import Operation, RouteTable
from engines.common.plan import Answer, LeaseGrant
from node.leases.executor import Executor
from node.leases.manager import LeaseManager
from node.leases.model import Lease, Renewal
from node.leases.paths import lease_routes
from node.leases.sweeper import Sweeper
from node.sources import FixedSources
from node.tokens.model import ROOT, CreatedToken, TokenSpec, Ttls
from node.tokens.paths import token_engine
from node.tokens.revoker import Revoker
from node.tokens.tidy import Tidy
from node.tokens.token_store import TokenStore
from tests.node.tokens.storage import MemoryStore, TestSealer

NOW_MS = 1_795_291_200_000
SYSTEM = Ttls(2_764_800, 2_764_800)


class Rig:
    """`engine_fails` decides which lease the fake engine refuses; `revoked` are the leases it revoked, in order."""

    def __init__(self, seed: int = 1, store: MemoryStore | None = None, sources: FixedSources | None = None) -> None:
        self.store = store or MemoryStore()
        self.sources = sources or FixedSources(NOW_MS, seed)
        self.limits = SYSTEM
        self.revoked: list[str] = []
        self.engine_error: Exception | None = None
        self.renewal = Renewal()
        self.restart()

    def restart(self) -> None:
        """What a new leader starts with: the storage and nothing else."""
        self.store.fail_after = None
        commit = self.store.commit
        self.tokens = TokenStore(self.store, self.sources, b"s" * 32, TestSealer(), lambda _: self.limits)
        self.revoker = Revoker(self.tokens, commit, lambda key: f"logical/cubbyhole/{key}/")
        self.executor = Executor(self.sources, commit, self._revoke_in_engine)
        self.leases = LeaseManager(
            self.store,
            self.sources,
            commit,
            lambda _: self.limits,
            self.executor,
            self.revoker,
            self._renew_in_engine,
        )
        self.sweeper = Sweeper(self.leases, self.revoker, commit)
        self.tidy = Tidy(self.tokens, commit)
        self.table = token_engine(self.tokens, self.revoker, self.tidy).table
        self.lease_table = RouteTable(lease_routes(self.leases))

    async def _revoke_in_engine(self, lease: Lease) -> None:
        if self.engine_error is not None:
            raise self.engine_error
        self.revoked.append(lease.lease_id)

    async def _renew_in_engine(self, lease: Lease, increment_s: int) -> Renewal:
        return self.renewal

    async def make(self, spec: TokenSpec) -> CreatedToken:
        made = self.tokens.create_writes(spec)
        if made.writes:
            await self.store.commit(made.writes)
        return made

    async def root(self) -> str:
        return (
            await self.make(TokenSpec(policies=(ROOT,), path="auth/token/root", display_name="root", ttl_s=0))
        ).token

    async def child(self, parent: str, **more: Any) -> CreatedToken:
        seen = await self.tokens.resolve(parent, "")
        fields = {"policies": ("p",), "path": "auth/token/create", "display_name": "token", "ttl_s": 3600} | more
        return await self.make(TokenSpec(parent=seen, **fields))

    async def lease(self, token: str, path: str = "database/creds/app", **grant: Any) -> str:
        holder = await self.tokens.resolve(token, "")
        made = await self.leases.register(
            LeaseGrant(**({"ttl_s": 3600} | grant)), path=path, mount_uuid="m1", holder=holder
        )
        await self.store.commit(made.writes)
        return made.lease.lease_id

    async def sweep_all(self) -> None:
        """Sweep until nothing is due."""
        for _ in range(10_000):
            found = await self.sweeper.sweep()
            await self.sweeper.settle()
            if not found:
                return
        raise AssertionError("the sweeper never came to rest")

    async def alive(self, token: str) -> bool:
        try:
            await self.tokens.resolve(token, "")
        except Exception:
            return False
        return True

    async def call(
        self,
        operation: Operation,
        path: str,
        token: str,
        body: Mapping[str, object] | None = None,
        *,
        sudo: bool = False,
        table: RouteTable | None = None,
    ) -> Answer:
        """A request as the pipeline serves it: match, decode, handle, commit, and again when a race was lost."""
        match = (table or self.table).match(operation, path)
        for _ in range(64):
            seen = await self.tokens.resolve(token, "")
            caller = Caller(
                token_key=seen.key, token=token, policies=seen.entry.policies, is_root=seen.entry.is_root, has_sudo=sudo
            )
            mount = MountInfo(
                path="auth/token/",
                uuid="u",
                accessor="a",
                type="token",
                options={},
                default_ttl_s=self.limits.default_s,
                max_ttl_s=self.limits.max_s,
            )
            ctx = Context(view=self.store, mount=mount, caller=caller, sources=self.sources)
            plan = await match.route.handler(match.decode(body or {}), ctx)
            try:
                if plan.writes:
                    await self.store.commit(plan.writes)
            except Conflict:
                continue
            return plan.answer
        raise InvalidRequest("the race never ended")

    async def write(self, path: str, token: str, body: Mapping[str, object] | None = None, **more: Any) -> Answer:
        return await self.call(Operation.UPDATE, path, token, body, **more)

    async def read(self, path: str, token: str, **more: Any) -> Answer:
        return await self.call(Operation.READ, path, token, **more)

    async def create(self, parent: str, **body: object) -> str:
        answer = await self.write("create", parent, body)
        assert answer.auth is not None
        return str(answer.auth["client_token"])
