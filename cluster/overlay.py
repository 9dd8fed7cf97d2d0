"""Applied writes that LMDB does not have yet."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from cluster.store import Stored

# What a key costs in memory besides its bytes and its value's, roughly.
_KEY_OVERHEAD_BYTES = 200


@dataclass(slots=True)
class Overlay:
    """Keys, each with its new value, or None where it was deleted. A key that is in here stays.

    Order is made when it is asked for: keeping it with each write took a twentieth of a write (docs/performance.md).
    """

    entries: dict[str, Stored | None] = field(default_factory=dict, repr=False)
    size: int = 0  # bytes, an upper bound: a key written twice counts twice
    _ordered: list[str] = field(default_factory=list, repr=False)

    def set(self, key: str, stored: Stored | None) -> None:
        """Note what the key is now."""
        self.entries[key] = stored
        self.size += _KEY_OVERHEAD_BYTES + len(key) + (len(stored.value) if stored else 0)

    def keys(self) -> Sequence[str]:
        """The keys there are now, in order."""
        known = self._ordered
        if len(known) < len(self.entries):
            # Sorting a sorted list with a little more behind it takes little more than reading it.
            self._ordered = known = sorted(chain(known, islice(self.entries, len(known), None)))
        return known

    def first_at(self, position: str) -> str | None:
        """The smallest key, deleted or not, that is not less than position."""
        keys = self.keys()
        at = bisect_left(keys, position)
        return keys[at] if at < len(keys) else None

    def get(self, key: str) -> Stored | None:
        """What a key that is in here is now."""
        return self.entries[key]

    def items(self) -> Iterator[tuple[str, Stored | None]]:
        """Every key in order."""
        return self.items_from("")

    def items_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        """Every key, deleted or not, that is not less than position, in order."""
        keys = self.keys()
        for at in range(bisect_left(keys, position), len(keys)):
            yield keys[at], self.entries[keys[at]]
