"""The opened storage of a mount: reads through the barrier, with a cache that apply invalidates by key."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import islice
from typing import Final

from cluster import store as sealed_store
from cluster.errors import NoLeader
from cluster.meters import clock
from cluster.store import Store
from engines.common.context import Seen
from engines.common.plan import Delete, Put, Write
from node.barrier import Barrier
from node.telemetry.meters import NodeMeters

CACHE_ENTRIES_MAX: Final = 131_072  # the documented default of cache_size
CACHE_BYTES_MAX: Final = 64 * 1024 * 1024  # what a node may spend on opened entries, whatever their number
_EMPTY_MAX: Final = 16  # prefixes that each changed key is held against
_ENTRY_OVERHEAD: Final = 300  # a Seen, its key and two dictionary slots


class OpenedStore:
    """All storage, opened. Plaintext lives in the cache only while the node is unsealed (`close`)."""

    def __init__(self, store: Store, barrier: Barrier, meters: NodeMeters) -> None:
        self.meters = meters
        self.hits = 0
        meters.hits_now = lambda: self.hits
        self._store = store
        self._barrier = barrier
        # Ordered, as the oldest goes first: finding the first key of a plain dictionary passes over all that are gone.
        self._cache: OrderedDict[str, Seen | None] = OrderedDict()
        self._cache_bytes = 0
        self._empty: tuple[str, ...] = ()  # prefixes below which there is no key
        self._ended = False
        self._unwatch = store.watch(self._changed)

    def get(self, key: str) -> Seen | None:
        """The opened record at an absolute key. Raises BarrierDamaged when it was tampered with."""
        try:
            seen = self._cache[key]
        except KeyError:
            return self._fetched(key)
        self.hits += 1
        return seen

    def _fetched(self, key: str) -> Seen | None:
        self._require_current()
        began_s = clock()
        stored = self._store.get(key)
        seen = None if stored is None else Seen(key, self._barrier.open(key, stored.value), stored.index)
        self._remember(key, seen)
        self.meters.barrier_get.add(clock() - began_s)
        self.meters.cache_miss.value += 1
        return seen

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names directly below an absolute prefix."""
        with self.meters.barrier_list.timing():
            return self._store.list(prefix, after=after, limit=limit)

    def has_any(self, prefix: str) -> bool:
        """Whether any key starts with an absolute prefix. That there is none is remembered until there may be one."""
        if prefix in self._empty:
            return False
        if self._store.list(prefix, limit=1):
            return True
        if not self._ended:
            self._empty = (*self._empty, prefix)[-_EMPTY_MAX:]
        return False

    def keys(self, prefix: str, limit: int | None = None) -> Collection[str]:
        """Every absolute key below prefix, in order, at most `limit` of them."""
        return [key for key, _ in islice(self._store.scan(prefix), limit)]

    async def commit(self, prefix: str, writes: Sequence[Write], more: Sequence[Write] = ()) -> int:
        """Seal and commit the writes of one request: `writes` below prefix, `more` at absolute keys.

        Raises what Store.commit raises.
        """
        self._require_current()
        began_s = clock()
        sealed = [self._sealed(prefix, write) for write in writes]
        sealed.extend(self._sealed("", write) for write in more)
        index = await self._store.commit(sealed)
        self.meters.commits.committed(prefix, writes, more, clock() - began_s)
        return index

    def close(self) -> None:
        """Serve nothing more: the keys are gone, or the whole store was replaced under those who still work on it.

        Also after the next unsealing, which makes a new one.
        """
        self._ended = True
        self.meters.hits += self.hits
        self.meters.hits_now = int  # of no cache: 0
        self._unwatch()
        self._forget()

    def _forget(self) -> None:
        self._cache.clear()
        self._cache_bytes = 0
        self._empty = ()

    def _require_current(self) -> None:
        if self._ended:
            raise NoLeader("the store was sealed or replaced by a snapshot meanwhile; nothing was written")

    def _sealed(self, prefix: str, write: Write) -> sealed_store.Write:
        key = prefix + write.key
        if isinstance(write, Put):
            return sealed_store.Put(key, self._barrier.seal(key, write.value), write.seen_index)
        if isinstance(write, Delete):
            return sealed_store.Delete(key, write.seen_index)
        return sealed_store.Check(key, write.seen_index)

    def _remember(self, key: str, seen: Seen | None) -> None:
        size = _ENTRY_OVERHEAD + len(key) + (0 if seen is None else len(seen.value))
        if size > CACHE_BYTES_MAX // 64:
            return
        cache = self._cache
        cache[key] = seen
        self.meters.cache_write.value += 1
        self._cache_bytes += size
        # Oldest first, not least used: a read then costs no bookkeeping.
        while self._cache_bytes > CACHE_BYTES_MAX or len(cache) > CACHE_ENTRIES_MAX:
            oldest = next(iter(cache))
            self._forget_one(oldest)

    def _forget_one(self, key: str) -> None:
        seen = self._cache.pop(key)
        self.meters.cache_delete.value += 1
        self._cache_bytes -= _ENTRY_OVERHEAD + len(key) + (0 if seen is None else len(seen.value))

    def _changed(self, keys: Collection[str]) -> None:
        if not keys:
            self._forget()
        cache, empty = self._cache, self._empty
        for key in keys:
            if key in cache:
                self._forget_one(key)
            if empty and key.startswith(empty):
                self._empty = empty = ()


class MountView:
    """The View an engine is handed: everything below one prefix."""

    __slots__ = ("_opened", "prefix")

    def __init__(self, opened: OpenedStore, prefix: str) -> None:
        self._opened = opened
        self.prefix = prefix

    async def get(self, key: str) -> Seen | None:
        """The record at key, below this view's prefix."""
        return self._opened.get(self.prefix + key)

    async def has_any(self, prefix: str) -> bool:
        """Whether any key starts with prefix."""
        return self._opened.has_any(self.prefix + prefix)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names directly below prefix."""
        return self._opened.list(self.prefix + prefix, after=after, limit=limit)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """Every key that starts with prefix, in order."""
        skip = len(self.prefix)
        for key in self._opened.keys(self.prefix + prefix):
            yield key[skip:]
