"""Applied writes that LMDB does not have yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sortedcontainers import SortedList

from cluster.store import Stored

# What a key costs in memory besides its bytes and its value's, roughly.
_KEY_OVERHEAD_BYTES = 200


@dataclass(slots=True)
class Overlay:
    """Keys, each with its new value, or None where it was deleted. A key that is in here stays.

    They are put in order when that is asked for: doing it with each write took a twentieth of a write.
    """

    entries: dict[str, Stored | None] = field(default_factory=dict, repr=False)
    size: int = 0  # bytes, an upper bound: a key written twice counts twice
    _ordered: "SortedList[str]" = field(default_factory=SortedList, repr=False)

    def set(self, key: str, stored: Stored | None) -> None:
        """Note what the key is now."""
        self.entries[key] = stored
        self.size += _KEY_OVERHEAD_BYTES + len(key) + (len(stored.value) if stored else 0)

    def first_at(self, position: str) -> str | None:
        """The smallest key, deleted or not, that is not less than position."""
        keys = self._keys()
        at = keys.bisect_left(position)
        return keys[at] if at < len(keys) else None

    def get(self, key: str) -> Stored | None:
        """What a key that is in here is now."""
        return self.entries[key]

    def sorted_items(self) -> Iterator[tuple[str, Stored | None]]:
        """Every key in order. Changes nothing here, so that another thread may ask once no more is written."""
        for key in sorted(self.entries):
            yield key, self.entries[key]

    def items_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        """Every key, deleted or not, that is not less than position, in order."""
        for key in self._keys().irange(minimum=position):
            yield key, self.entries[key]

    def _keys(self) -> "SortedList[str]":
        if len(self._ordered) < len(self.entries):
            self._ordered.update(list(islice(self.entries, len(self._ordered), None)))
        return self._ordered
