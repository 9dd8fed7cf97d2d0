"""auth/token/tidy: look for index entries without their token, and tokens without their place in the time index.

No sequence of crashes leaves either behind, as every commit changes a record with all its indexes. This is the check of
that claim on a running system, and the mend for storage that was restored by other means.
"""

from __future__ import annotations

from cluster.errors import Conflict
from engines.common.plan import Check, Delete, Write
from node.leases import paging
from node.leases.background import Background
from node.leases.model import Commit
from node.leases.timeline import TOKEN, due_key, due_put
from node.tokens import store
from node.tokens.token_store import TokenStore


class Tidy:
    """One tidy at a time; `background` starts and stops it."""

    def __init__(self, tokens: TokenStore, commit: Commit) -> None:
        self._tokens = tokens
        self._view = tokens.view
        self._commit = commit
        self.background = Background("token tidy", self.run)
        self.mended = 0

    async def run(self) -> None:
        """Look at every entry once, and mend."""
        self.mended = 0
        await self._tidy_accessors()
        await self._tidy_children()
        await self._tidy_ends()

    async def _tidy_accessors(self) -> None:
        async for name in paging.names(self._view, store.ACCESSORS):
            key = store.ACCESSORS + name
            seen = await self._view.get(key)
            if seen is not None:
                token = store.record_key(store.decode_accessor(seen.value)[1])
                if await self._view.get(token) is None:
                    await self._mend(Check(token, 0), Delete(key, seen.index))

    async def _tidy_children(self) -> None:
        async for key in paging.keys(self._view, store.PARENTS):
            token = store.record_key(key.rpartition("/")[2])
            if await self._view.get(token) is None:
                await self._mend(Check(token, 0), Delete(key))

    async def _tidy_ends(self) -> None:
        async for name in paging.names(self._view, store.RECORDS):
            seen = await self._tokens.lookup_key(name)
            if seen is None or not seen.entry.expire_at_ms:
                continue
            end_ms = seen.entry.expire_at_ms
            if await self._view.get(due_key(end_ms, TOKEN, name)) is None:
                await self._mend(Check(store.record_key(name), seen.index), due_put(end_ms, TOKEN, name))

    async def _mend(self, *writes: Write) -> None:
        try:
            await self._commit(writes)
        except Conflict:
            return  # it changed while it was looked at, so it is in use
        self.mended += 1
