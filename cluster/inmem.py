"""The store of dev mode and of tests: everything in memory, committed at once, gone with the process."""

from collections.abc import Callable, Collection, Iterator, Sequence

from sortedcontainers import SortedDict

from cluster.errors import Conflict
from cluster.keys import behind, names_below
from cluster.outcome import changed_keys, first_conflict
from cluster.store import Delete, Put, Stored, Write
from cluster.watchers import Watchers


class InmemStore:
    """A `Store` without peers: it is always the leader, and a commit is visible when it returns."""

    def __init__(self) -> None:
        self._entries: SortedDict[str, Stored] = SortedDict()
        self._applied_index = 0
        self._watchers = Watchers()

    @property
    def applied_index(self) -> int:
        return self._applied_index

    def get(self, key: str) -> Stored | None:
        found: Stored | None = self._entries.get(key)
        return found

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return names_below(self._first_at, prefix, after=after, limit=limit)

    def scan(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        key = self._first_at(prefix)
        while key is not None and key.startswith(prefix):
            yield key, self._entries[key]
            key = self._first_at(behind(key))

    async def commit(self, writes: Sequence[Write]) -> int:
        conflict = first_conflict(writes, self._index_of)
        if conflict is not None:
            raise Conflict(conflict)
        self._applied_index += 1
        for write in writes:
            if isinstance(write, Put):
                self._entries[write.key] = Stored(write.value, self._applied_index)
            elif isinstance(write, Delete):
                self._entries.pop(write.key, None)
        self._watchers.tell(changed_keys(writes))
        return self._applied_index

    @property
    def leading_term(self) -> int:
        """The first and only."""
        return 1

    def require_lease(self, since: int | None = None) -> None:
        """Nobody else could lead."""

    def watch(self, callback: Callable[[Collection[str]], None], below: Sequence[str] = ()) -> Callable[[], None]:
        return self._watchers.add(callback, below)

    def _index_of(self, key: str) -> int:
        stored = self._entries.get(key)
        return stored.index if stored else 0

    def _first_at(self, position: str) -> str | None:
        return next(self._entries.irange(minimum=position), None)
