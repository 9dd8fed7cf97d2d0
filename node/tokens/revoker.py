"""The end of tokens: at once for the token and all below it, and bounded however large the tree is.

Invariant: a token is usable exactly while its record exists (and its time has not come). The commit that removes a
record leaves a due entry in the time index, and that entry goes only after the token's children are gone (or orphans),
its leases are queued for revocation and its cubbyhole is empty. So every step is one small commit, a crash between two
of them leaves entries that the sweeper finds, and reads pay for none of it. A child cannot be made below a token that
is ending: its creation names the index at which the parent's record was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from cluster.errors import Conflict
from engines.common.context import View
from engines.common.plan import Check, Delete, Put, Write
from node.leases import paging
from node.leases.model import Commit
from node.leases.queue import queue_leases_of
from node.leases.timeline import SPARED, TOKEN, Due, due_key, due_put
from node.telemetry.meters import NodeMeters
from node.tokens import store
from node.tokens.model import SeenToken
from node.tokens.token_store import TokenStore, is_alive

BATCH: Final = 64  # tokens in one commit: about 20 KB, and a few ms on the event loop


class Revoker:
    """Ends tokens. `cubbyhole_of` tells below which storage prefix a token's cubbyhole lies; "" for nowhere."""

    def __init__(
        self,
        tokens: TokenStore,
        commit: Commit,
        cubbyhole_of: Callable[[str], str] = lambda _: "",
        meters: NodeMeters | None = None,
    ) -> None:
        self._tokens = tokens
        self._meters = meters or NodeMeters()
        self._view: View = tokens.view
        self._commit = commit
        self._cubbyhole_of = cubbyhole_of

    async def revoke(self, key: str) -> None:
        """End the token with this HMAC and every token below it; when this returns none of them is usable.

        Their leases are queued. A token that is gone already is no error, but what was left below it ends as well.
        """
        await self.revoke_all([key])

    async def revoke_all(self, keys: Sequence[str]) -> None:
        """As `revoke`, for several tokens."""
        with self._meters.revoke_tree.timing():
            await self._remove(keys)
            for key in keys:
                await self._cut_below(key)

    async def revoke_sparing_children(self, key: str) -> None:
        """End the token; its children become orphans."""
        while (seen := await self._tokens.lookup_key(key)) is not None:
            now_ms = self._tokens.sources.now_ms()
            writes = self._tokens.remove_writes(seen, now_ms)
            task = due_key(now_ms, TOKEN, key)
            kept = tuple(write for write in writes if write.key != task)
            try:
                await self._commit((*kept, Delete(task), due_put(now_ms, SPARED, key)))
            except Conflict:
                continue
        await self._free_below(key)

    async def revoke_below_path(self, prefix: str, cutoff_ms: int) -> None:
        """End every token issued up to the cut-off (Unix ms) whose path is the prefix or lies below it."""
        found: list[str] = []
        async for key in paging.names(self._view, store.RECORDS):
            seen = await self._tokens.lookup_key(key)
            if seen is None or seen.entry.created_at_ms > cutoff_ms:
                continue
            if not prefix or f"{seen.entry.path}/".startswith(prefix + "/"):
                found.append(seen.key)
            if len(found) == BATCH:
                await self.revoke_all(found)
                found = []
        await self.revoke_all(found)

    async def end_due(self, batch: Sequence[Due]) -> None:
        """Do what due entries of tokens ask for, and drop those that are done. Called by the sweeper."""
        gone: list[Due] = []
        expired: list[tuple[Due, SeenToken]] = []
        writes: list[Write] = []
        for due in batch:
            seen = await self._tokens.lookup_key(due.name)
            if seen is None:
                gone.append(due)
            elif is_alive(seen.entry, due.at_ms):
                # The id is in use again, chosen anew by root: the entry is its predecessor's.
                writes += (Check(store.record_key(seen.key), seen.index), Delete(due.key))
            else:
                expired.append((due, seen))
        for due, seen in expired:
            writes += self._tokens.remove_writes(seen, due.at_ms)
        if writes:
            try:
                await self._commit(writes)
            except Conflict:
                return  # one of them was renewed or revoked meanwhile: the next sweep sees how things are
        gone += (due for due, _ in expired)
        await self._clear(gone)

    async def _clear(self, gone: Sequence[Due]) -> None:
        """Remove what belonged to tokens that are gone, then the entries that asked for it."""
        done: list[Write] = []
        for due in gone:
            if due.kind == SPARED:
                await self._free_below(due.name)
            else:
                await self._cut_below(due.name)
            with self._meters.revoke_by_token.timing():
                await queue_leases_of(due.name, self._view, self._tokens.sources, self._commit)
            await self._empty_cubbyhole(due.name)
            done.append(Delete(due.key))
        if done:
            await self._commit(done)

    async def _remove(self, keys: Sequence[str]) -> None:
        """Remove the records of these tokens, and go on until none is left, however often they change meanwhile."""
        pending = list(keys)
        size = BATCH
        while pending:
            part = pending[:size]
            now_ms = self._tokens.sources.now_ms()
            writes: list[Write] = []
            for key in part:
                seen = await self._tokens.lookup_key(key)
                if seen is not None:
                    writes += self._tokens.remove_writes(seen, now_ms)
            try:
                if writes:
                    await self._commit(writes)
            except Conflict:
                size = 1  # find the one that changed without holding up the others
                continue
            del pending[: len(part)]

    async def _cut_below(self, key: str) -> None:
        """Remove every token below one that is gone, depth first: the stack stays small in the largest tree."""
        stack = [key]
        while stack:
            parent = stack[-1]
            children = await self._view.list(store.children_prefix(parent), limit=BATCH)
            if not children:
                stack.pop()
                continue
            await self._remove(children)
            await self._drop_stale(parent, children)
            stack += children

    async def _drop_stale(self, parent: str, children: Sequence[str]) -> None:
        """Drop index entries that outlived their token, so that a walk over them always comes to its end."""
        left = await self._view.list(store.children_prefix(parent), limit=BATCH)
        stale = [Delete(store.child_key(parent, child)) for child in left if child in set(children)]
        if stale:
            await self._commit(stale)

    async def _free_below(self, key: str) -> None:
        while children := await self._view.list(store.children_prefix(key), limit=BATCH):
            for child in children:
                await self._free(key, child)

    async def _free(self, parent: str, child: str) -> None:
        seen = await self._tokens.lookup_key(child)
        writes: list[Write] = [Delete(store.child_key(parent, child))]
        if seen is not None:
            orphan = replace(seen.entry, parent="")
            writes.append(Put(store.record_key(child), store.encode_token(orphan), seen.index))
        try:
            await self._commit(writes)
        except Conflict:
            return  # renewed or revoked meanwhile: the caller asks for the list again

    async def _empty_cubbyhole(self, key: str) -> None:
        prefix = self._cubbyhole_of(key)
        if not prefix:
            return
        batch: list[Write] = []
        async for entry in paging.keys(self._view, prefix):
            batch.append(Delete(entry))
            if len(batch) == BATCH:
                await self._commit(batch)
                batch = []
        if batch:
            await self._commit(batch)
