"""A store in memory with the semantics of seen indexes, for the tests of tokens and leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from sortedcontainers import SortedDict

from cluster.errors import Conflict, NoLeader
from engines.common.context import Seen
from engines.common.crypto import Aead
from engines.common.plan import Check, Delete, Put, Write
from node.errors import BarrierDamaged


class MemoryStore:
    """View and commit over one dict. `fail_after` cuts it off after that many commits, as a crash would."""

    def __init__(self) -> None:
        self.entries: SortedDict[str, tuple[bytes, int]] = SortedDict()
        self.index = 0
        self.commits = 0
        self.fail_after: int | None = None
        self.largest_commit = 0

    async def get(self, key: str) -> Seen | None:
        found = self.entries.get(key)
        return Seen(key, found[0], found[1]) if found is not None else None

    async def has_any(self, prefix: str) -> bool:
        return bool(await self.list(prefix, limit=1))

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        names: list[str] = []
        key = next(self.entries.irange(minimum=prefix + after), None)
        while key is not None and key.startswith(prefix) and (limit is None or len(names) < limit):
            head, slash, _ = key[len(prefix) :].partition("/")
            if head + slash > after:
                names.append(head + slash)
            # "0" is the character after "/": a folder is left in one step.
            key = next(self.entries.irange(minimum=prefix + (head + "0" if slash else head + "\0")), None)
        return names

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        at: str | None = prefix
        inclusive = True
        while at is not None:
            key = next(self.entries.irange(minimum=at, inclusive=(inclusive, True)), None)
            if key is None or not key.startswith(prefix):
                return
            yield key
            at, inclusive = key, False

    async def commit(self, writes: Sequence[Write]) -> int:
        """All or nothing; yields to other tasks first, as a real round trip would."""
        await asyncio.sleep(0)
        if self.fail_after is not None and self.commits >= self.fail_after:
            raise NoLeader("cut off by the test")
        for write in writes:
            if write.seen_index is not None and self.entries.get(write.key, (b"", 0))[1] != write.seen_index:
                raise Conflict(write.key)
        self.index += 1
        self.commits += 1
        self.largest_commit = max(self.largest_commit, len(writes))
        for write in writes:
            if isinstance(write, Put):
                self.entries[write.key] = (write.value, self.index)
            elif isinstance(write, Delete):
                self.entries.pop(write.key, None)
            else:
                assert isinstance(write, Check)
        return self.index

    def keys_below(self, prefix: str) -> Sequence[str]:
        return [key for key in self.entries if key.startswith(prefix)]


class TestSealer:
    """Real AES-256-GCM with the key path as associated data; refuses as the barrier does."""

    __test__ = False

    def __init__(self) -> None:
        self._aead = Aead(bytes(32))
        self._count = 0

    def seal(self, key: str, plaintext: bytes) -> bytes:
        self._count += 1
        nonce = self._count.to_bytes(12, "big")
        return nonce + self._aead.seal(nonce, plaintext, key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        try:
            return self._aead.open(sealed[:12], sealed[12:], key.encode())
        except Exception:
            raise BarrierDamaged(key) from None
