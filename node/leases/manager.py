"""The expiration manager as requests see it: register, renew, look up, list, count and revoke leases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from engines.common.context import Sources, View
from engines.common.errors import InvalidRequest
from engines.common.plan import Check, Delete, LeaseGrant, Put, Write
from node.leases import paging, store
from node.leases.background import Background
from node.leases.executor import Executor, Failure
from node.leases.model import Commit, Lease, LeaseState, RenewInEngine, SeenLease
from node.leases.queue import BATCH, queue_leases, read_lease
from node.telemetry.meters import NodeMeters
from node.tokens import store as token_records
from node.tokens.logic import ID_RANDOM_BYTES, base62_id, end_of, least_max, left_s
from node.tokens.model import SeenToken, TokenType, TtlsOf
from node.tokens.revoker import Revoker


@dataclass(frozen=True, slots=True)
class Registered:
    """A new lease and its writes.

    `is_abandoned`: its token ended meanwhile. Commit the writes all the same (the sweeper then revokes what the engine
    made), and answer "permission denied" instead of the secret.
    """

    lease: Lease
    ttl_s: int
    writes: tuple[Write, ...]
    warnings: tuple[str, ...]
    is_abandoned: bool


class LeaseManager:
    """Every lease. `work` is set whenever there is something for the sweeper to do at once."""

    def __init__(
        self,
        view: View,
        sources: Sources,
        commit: Commit,
        ttls_of: TtlsOf,
        executor: Executor,
        revoker: Revoker,
        renew_in_engine: RenewInEngine,
        meters: NodeMeters | None = None,
    ) -> None:
        self.meters = meters or NodeMeters()
        self.view = view
        self.sources = sources
        self.executor = executor
        self.work = asyncio.Event()
        self.tidying = Background("lease tidy", self.tidy)
        self._commit = commit
        self._ttls_of = ttls_of
        self._revoker = revoker
        self._renew_in_engine = renew_in_engine
        self._running: set[str] = set()

    # Granting

    async def register(self, grant: LeaseGrant, *, path: str, mount_uuid: str, holder: SeenToken | None) -> Registered:
        """The lease of a secret that an engine made for this request path.

        Commit the writes with those of the request. A Conflict says that the token changed meanwhile: call again, which
        asks no engine anything, and commit again.
        """
        now_ms = self.sources.now_ms()
        lease_id = f"{path}/{base62_id(self.sources.random(ID_RANDOM_BYTES))}"
        end = end_of(
            now_ms=now_ms,
            issued_at_ms=now_ms,
            wanted_s=grant.ttl_s,
            limits=least_max(self._ttls_of(path), grant.max_ttl_s),
        )
        # A batch token has no record: its leases are kept with its parent, and end when it does (CVE-2020-25816).
        is_batch = holder is not None and holder.entry.type is TokenType.BATCH
        end_at_ms = holder.entry.expire_at_ms if holder is not None and is_batch else 0
        token_key = "" if holder is None else holder.entry.parent if is_batch else holder.key
        expire_at_ms = min(end.at_ms, end_at_ms) if end_at_ms else end.at_ms
        lease = Lease(
            lease_id=lease_id,
            path=path,
            mount_uuid=mount_uuid,
            token_key=token_key,
            issued_at_ms=now_ms,
            expire_at_ms=expire_at_ms,
            ttl_s=left_s(expire_at_ms, now_ms),
            max_ttl_s=grant.max_ttl_s,
            renewable=grant.renewable,
            end_at_ms=end_at_ms,
            internal=grant.internal,
        )
        with self.meters.register_lease.timing():
            return await self._registered(lease, end.warnings, now_ms)

    async def _registered(self, lease: Lease, warnings: tuple[str, ...], now_ms: int) -> Registered:
        writes: list[Write] = []
        is_abandoned = False
        if lease.token_key:
            record = token_records.record_key(lease.token_key)
            seen = await self.view.get(record)
            if seen is None:
                is_abandoned = True
            else:
                # Should the token end at this moment, one of the two loses: no lease is ever left without its token.
                writes.append(Check(record, seen.index))
                writes.append(Put(store.of_token_key(lease.token_key, lease.lease_id), lease.lease_id.encode()))
        due_ms = lease.expire_at_ms
        if is_abandoned:
            lease, due_ms = replace(lease, state=LeaseState.REVOKING, expire_at_ms=now_ms), now_ms
        writes += store.stored(lease, due_ms, 0)
        return Registered(lease, lease.ttl_s, tuple(writes), warnings, is_abandoned)

    # Renewing

    async def renew(self, lease_id: str, increment_s: int) -> tuple[Lease, tuple[Write, ...], tuple[str, ...]]:
        """The renewed lease, the writes that make it so, and warnings.

        Raises:
            InvalidRequest: There is no such lease, it has ended, is not renewable, or has reached its maximum.
        """
        with self.meters.renew_lease.timing():
            return await self._renewed(lease_id, increment_s)

    async def _renewed(self, lease_id: str, increment_s: int) -> tuple[Lease, tuple[Write, ...], tuple[str, ...]]:
        seen, now_ms = await self._existing(lease_id, "lease not found"), self.sources.now_ms()
        lease = seen.lease
        if lease.state is not LeaseState.ACTIVE or now_ms >= lease.expire_at_ms:
            raise InvalidRequest("lease expired")
        if not lease.renewable:
            raise InvalidRequest("lease is not renewable")
        if increment_s < 0:
            raise InvalidRequest("increment must be positive")
        renewal = await self._renew_in_engine(lease, increment_s)
        limits = least_max(self._ttls_of(lease.path), renewal.max_ttl_s or lease.max_ttl_s)
        end = end_of(
            now_ms=now_ms,
            issued_at_ms=lease.issued_at_ms,
            wanted_s=increment_s or renewal.ttl_s or lease.ttl_s,
            limits=limits,
        )
        renewed = replace(
            lease,
            expire_at_ms=min(end.at_ms, lease.end_at_ms) if lease.end_at_ms else end.at_ms,
            renewed_at_ms=now_ms,
            internal=lease.internal if renewal.internal is None else renewal.internal,
        )
        if renewal.extend is not None:
            await renewal.extend(renewed.expire_at_ms)
        writes = store.stored(renewed, renewed.expire_at_ms, seen.index, lease.due_at_ms)
        return renewed, (*renewal.writes, *writes), end.warnings

    # Finding

    async def lookup(self, lease_id: str) -> Lease:
        """The lease. Raises InvalidRequest ("invalid lease")."""
        with self.meters.fetch_lease_times.timing():
            return (await self._existing(lease_id, "invalid lease")).lease

    async def _existing(self, lease_id: str, refusal: str) -> SeenLease:
        seen = await read_lease(self.view, lease_id)
        if seen is None:
            raise InvalidRequest(refusal)
        return seen

    async def names_below(self, prefix: str) -> list[str]:
        """Names directly below a path; folders end in "/"."""
        return await self.view.list(store.LEASES + (prefix.strip("/") + "/" if prefix.strip("/") else ""))

    async def irrevocable(self, limit: int | None) -> list[Lease]:
        """Leases that were given up, at most `limit`."""
        found: list[Lease] = []
        async for name in paging.names(self.view, store.IRREVOCABLE):
            entry = await self.view.get(store.IRREVOCABLE + name)
            seen = await read_lease(self.view, entry.value.decode()) if entry is not None else None
            if seen is not None:
                found.append(seen.lease)
            if limit is not None and len(found) == limit:
                break
        return found

    async def count_irrevocable(self) -> dict[str, int]:
        """How many leases were given up, by mount."""
        return dict(Counter(lease.mount_uuid for lease in await self.irrevocable(None)))

    # Ending

    async def revoke(self, lease_id: str, *, is_sync: bool = False) -> None:
        """Revoke one lease: queued durably, or at its engine before this returns. One that is gone is no error.

        Raises:
            InvalidRequest: With is_sync, the engine refused; it is tried again by itself.
        """
        with self.meters.revoke_lease.timing():
            await queue_leases([lease_id], self.view, self.sources, self._commit)
            if not is_sync:
                self.work.set()
                return
            _raise_first(await self._see_off([lease_id]))

    async def _see_off(self, lease_ids: Sequence[str]) -> list[Failure]:
        """Revoke queued leases; returns once each is gone, or its engine has refused.

        A lease that the sweeper is at, or that changes meanwhile, is looked at again: it must not be taken for gone.
        """
        failures: list[Failure] = []
        pending = list(lease_ids)
        while pending:
            await self.executor.until_free(pending)
            there = [seen for lease_id in pending if (seen := await read_lease(self.view, lease_id)) is not None]
            refused = await self.executor.revoke(there)
            failures += refused
            done = {failure.lease_id for failure in refused}
            pending = [seen.lease.lease_id for seen in there if seen.lease.lease_id not in done]
        return failures

    async def revoke_prefix(self, prefix: str, *, is_forced: bool = False, is_sync: bool = False) -> None:
        """Revoke what was issued so far below a path, leases and tokens; a lone lease id is its own prefix.

        The task is durable before anything is done. Unless is_sync or is_forced, the sweeper works it off.

        Raises:
            InvalidRequest: With is_sync, an engine refused; all others were asked nevertheless.
        """
        with (self.meters.revoke_force if is_forced else self.meters.revoke_prefix).timing():
            await self._revoke_prefix(prefix, is_forced=is_forced, is_sync=is_sync)

    async def _revoke_prefix(self, prefix: str, *, is_forced: bool, is_sync: bool) -> None:
        now_ms = self.sources.now_ms()
        task = f"{store.PREFIX_TASKS}{now_ms:016x}-{base62_id(self.sources.random(ID_RANDOM_BYTES))}"
        await self._commit([Put(task, store.encode_prefix_task(prefix.strip("/"), is_forced, now_ms))])
        if is_sync or is_forced:
            _raise_first(await self.run_prefix_task(task, is_sync=True))
        else:
            self.work.set()

    async def run_prefix_task(self, task: str, *, is_sync: bool = False) -> list[Failure]:
        """Work one task of `revoke_prefix` off. Doing it twice, or from its start after a crash, does no harm."""
        self._running.add(task)
        try:
            return await self._run_prefix_task(task, is_sync=is_sync)
        finally:
            self._running.discard(task)

    def is_running(self, task: str) -> bool:
        """Whether a request of this node is at this task: it need not be done a second time beside it."""
        return task in self._running

    async def _run_prefix_task(self, task: str, *, is_sync: bool) -> list[Failure]:
        seen = await self.view.get(task)
        if seen is None:
            return []
        prefix, is_forced, cutoff_ms = store.decode_prefix_task(seen.value)
        failures: list[Failure] = []
        async for batch in self._issued_below(prefix, cutoff_ms):
            ids = [one.lease.lease_id for one in batch]
            await queue_leases(ids, self.view, self.sources, self._commit, is_forced=is_forced)
            if is_sync:
                failures += await self._see_off(ids)
        await self._revoke_tokens_below(prefix, cutoff_ms)
        await self._commit([Delete(task)])
        self.work.set()
        return failures

    async def _issued_below(self, prefix: str, cutoff_ms: int) -> AsyncIterator[list[SeenLease]]:
        single = await read_lease(self.view, prefix)
        if single is not None:
            yield [single]
        batch: list[SeenLease] = []
        below = prefix + "/" if prefix else ""
        async for key in paging.keys(self.view, store.LEASES + below):
            seen = await read_lease(self.view, key.removeprefix(store.LEASES))
            if seen is not None and seen.lease.issued_at_ms <= cutoff_ms:
                batch.append(seen)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _revoke_tokens_below(self, prefix: str, cutoff_ms: int) -> None:
        # An index of tokens by path would cost every login a write; this scan is paid by an operator, seldom.
        if prefix and prefix.split("/", 1)[0] != "auth":
            return
        await self._revoker.revoke_below_path(prefix, cutoff_ms)

    async def tidy(self) -> None:
        """Queue every lease whose token is no more, as `sys/leases/tidy` documents."""
        async for batch in self._issued_below("", self.sources.now_ms()):
            lost = [
                seen.lease.lease_id
                for seen in batch
                if seen.lease.token_key
                and seen.lease.state is LeaseState.ACTIVE
                and await self.view.get(token_records.record_key(seen.lease.token_key)) is None
            ]
            await queue_leases(lost, self.view, self.sources, self._commit)
        self.work.set()


def _raise_first(failures: list[Failure]) -> None:
    if failures:
        first = failures[0]
        raise InvalidRequest(f'failed to revoke "{first.lease_id}" (1 / {len(failures)}): {first.error}')
