"""The sweeper: on the leader, ends what is due, oldest first, in small batches between which requests are served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from cluster.errors import ClusterError, Conflict
from engines.common.plan import Check, Delete, Write
from node.leases import store
from node.leases.manager import LeaseManager
from node.leases.model import Commit, SeenLease
from node.leases.queue import read_lease
from node.leases.timeline import LEASE, Due, due_by, due_put, first_due_ms
from node.logs import log_unforeseen
from node.tokens.revoker import Revoker

_BATCH: Final = 32  # entries between two turns of the event loop: 2 ms of work
_PAUSE_S: Final = 0.0005  # between two batches: whoever came meanwhile is served before the next
# What was just worked off lies at the front of the index as deletions that are not in LMDB yet, and a look from there
# steps over all of them. What conflicted, or came in with an earlier end, waits for that look.
_RESUMES_MAX: Final = 32
_GROUPS_MAX: Final = 4  # batches that one mount's engine may have in work; more wait, so that others do not
_ROOM_S: Final = 1.0  # in which an engine that is at work ends one of those; one that does not is taken to hang
_POSTPONED_MS: Final = 15_000  # for leases of a mount whose engine hangs
_DAMAGED_MS: Final = 3_600_000  # for entries whose record cannot be read, so that they do not block the rest
_PREFIXES: Final = ""  # the group of prefix revocations; no mount has an empty uuid
_IDLE_S: Final = 1.0  # the longest sleep: what is granted meanwhile with an earlier end waits no longer
_log = structlog.get_logger(__name__)


class Sweeper:
    """Runs between `start` and `stop`, which the node calls as it gains and loses leadership.

    It keeps no list: each sweep reads the front of the time index, so starting costs the same with a million leases.
    """

    def __init__(self, manager: LeaseManager, revoker: Revoker, commit: Commit) -> None:
        self._manager = manager
        self._view = manager.view
        # The time by which it ends things; what the node does its duties by may be more careful than a clock.
        self.now_ms: Callable[[], int] = manager.sources.now_ms
        self._revoker = revoker
        self._commit = commit
        self._loop: asyncio.Task[None] | None = None
        self._groups: dict[str, set[asyncio.Task[None]]] = {}
        # The key at which the last sweep ended, while there is more behind it.
        self._after = ""
        self._resumed = 0
        self._hung: set[str] = set()

    def start(self) -> None:
        """Begin sweeping, if it has not begun."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End at once; whatever was under way is in the index, for the next leader."""
        tasks = [task for group in self._groups.values() for task in group]
        if self._loop is not None:
            tasks.append(self._loop)
            self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                found = await self.sweep()
                if not found:
                    await self._idle()
            except ClusterError as error:
                _log.warning("sweep interrupted", reason=str(error))
                await asyncio.sleep(_IDLE_S)
            except Exception as error:
                # A bug, but what it hits is one sweep: expiry as such must not end before the process does.
                log_unforeseen("a sweep failed", error)
                await asyncio.sleep(_IDLE_S)
            # Between batches everything that waits is served first.
            await asyncio.sleep(_PAUSE_S)

    async def _idle(self) -> None:
        self._manager.work.clear()
        due_ms = await first_due_ms(self._view)
        wait_s = _IDLE_S if due_ms is None else max(0.001, (due_ms - self.now_ms()) / 1000)
        try:
            async with asyncio.timeout(min(_IDLE_S, wait_s)):
                await self._manager.work.wait()
        except TimeoutError:
            return

    async def sweep(self) -> int:
        """One batch: how much there was to do. Engines are asked in tasks of their own; see `settle`."""
        begun = await self._begin_prefix_task()
        after = self._after
        batch = await due_by(self._view, self.now_ms(), _BATCH, after)
        self._go_on_behind(batch)
        self._count(batch)
        await self._guarded([due for due in batch if due.kind != LEASE], self._revoker.end_due)
        await self._guarded([due for due in batch if due.kind == LEASE], self._end_leases)
        return len(batch) + begun + bool(after)

    def _count(self, batch: Sequence[Due]) -> None:
        meters, now_ms = self._manager.meters, self.now_ms()
        meters.lease_expiration.value += len(batch)
        for due in batch:
            meters.lease_in_queue.add((now_ms - due.at_ms) / 1000)

    def _go_on_behind(self, batch: Sequence[Due]) -> None:
        """Let the next sweep begin where this batch ends; from the front again at the end, and every so often."""
        self._resumed += 1
        if len(batch) < _BATCH or self._resumed >= _RESUMES_MAX:
            self._after, self._resumed = "", 0
        else:
            self._after = batch[-1].key

    async def _begin_prefix_task(self) -> int:
        """Begin the oldest prefix revocation, beside the sweeps: it may take long, and must not delay them."""
        if _PREFIXES in self._groups:
            return 0
        for name in await self._view.list(store.PREFIX_TASKS, limit=_BATCH):
            task = store.PREFIX_TASKS + name
            if not self._manager.is_running(task):
                self._begin(_PREFIXES, self._run_prefix_task(task))
                return 1
        return 0

    async def _run_prefix_task(self, task: str) -> None:
        try:
            await self._manager.run_prefix_task(task)
        except ClusterError as error:
            _log.warning("a revocation by prefix was interrupted", reason=str(error))

    async def settle(self) -> None:
        """Wait until the engines have answered for what was swept so far."""
        while tasks := [task for group in self._groups.values() for task in group]:
            await asyncio.gather(*tasks)

    async def _guarded(self, batch: Sequence[Due], work: Callable[[Sequence[Due]], Awaitable[None]]) -> None:
        """Do the work; an entry that makes it fail is put off, so that one damaged record never stops expiry."""
        if not batch:
            return
        try:
            await work(batch)
        except ClusterError:
            raise
        except Exception as error:
            if len(batch) > 1:
                for due in batch:
                    await self._guarded([due], work)
                return
            due = batch[0]
            _log.error("an ended entry cannot be read", kind=due.kind, error=type(error).__name__)
            await self._commit([Delete(due.key), due_put(self.now_ms() + _DAMAGED_MS, due.kind, due.name)])

    async def _end_leases(self, batch: Sequence[Due]) -> None:
        writes: list[Write] = []
        by_mount: dict[str, list[SeenLease]] = {}
        for due in batch:
            seen = await read_lease(self._view, due.name)
            if seen is None:
                writes += (Check(store.lease_key(due.name), 0), Delete(due.key))
            elif seen.lease.due_at_ms != due.at_ms:
                writes += (Check(store.lease_key(due.name), seen.index), Delete(due.key))
            elif not await self._has_room(seen.lease.mount_uuid):
                later_ms = self.now_ms() + _POSTPONED_MS
                later = replace(seen.lease, due_at_ms=later_ms)
                writes += store.stored(later, later_ms, seen.index, due.at_ms)
            else:
                by_mount.setdefault(seen.lease.mount_uuid, []).append(seen)
        if writes:
            try:
                await self._commit(writes)
            except Conflict:
                return  # one of them changed: the next sweep sees how things are
        for mount_uuid, leases in by_mount.items():
            claimed = await self._manager.executor.claim(leases)
            if claimed:
                task = self._begin(mount_uuid, self._act(claimed))
                self._manager.executor.hand_over(claimed, task)

    async def _has_room(self, mount_uuid: str) -> bool:
        """Whether a mount's engine can take another batch, after a short wait if need be.

        Thus a database sets the pace at which its leases end; one that hangs holds the others up only once.
        """
        tasks = self._groups.get(mount_uuid, set())
        if len(tasks) >= _GROUPS_MAX and mount_uuid not in self._hung:
            done, _ = await asyncio.wait(tasks, timeout=_ROOM_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._hung.add(mount_uuid)
        return len(tasks) < _GROUPS_MAX

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        group = self._groups.setdefault(name, set())
        group.add(task)
        meters = self._manager.meters
        meters.jobs.add(sum(map(len, self._groups.values())))
        meters.queues.of(name or "prefix").add(len(group))
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        group = self._groups[name]
        group.discard(task)
        self._hung.discard(name)
        if not group:
            del self._groups[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log_unforeseen("background work of the sweeper failed", error)

    async def _act(self, claimed: list[SeenLease]) -> None:
        try:
            failures = await self._manager.executor.act(claimed)
        except ClusterError as error:
            _log.warning("the result of a revocation could not be stored", reason=str(error))
            return
        for failure in failures:
            _log.warning("a lease could not be revoked", lease_id=failure.lease_id, error=failure.error)
