"""Applied writes that LMDB does not have yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from cluster.store import Stored

# What a key costs in memory besides its bytes and its value's, roughly.
_KEY_OVERHEAD_BYTES = 200


@dataclass(slots=True)
class Overlay:
    """Keys in order, each with its new value, or None where it was deleted."""

    entries: "SortedDict[str, Stored | None]" = field(default_factory=SortedDict, repr=False)
    size: int = 0  # bytes, an upper bound: a key written twice counts twice

    def set(self, key: str, stored: Stored | None) -> None:
        """Note what the key is now."""
        self.entries[key] = stored
        self.size += _KEY_OVERHEAD_BYTES + len(key) + (len(stored.value) if stored else 0)

    def first_at(self, position: str) -> str | None:
        """The smallest key, deleted or not, that is not less than position."""
        return next(self.entries.irange(minimum=position), None) if self.entries else None

    def get(self, key: str) -> Stored | None:
        """What a key that is in here is now."""
        stored: Stored | None = self.entries[key]
        return stored

    def items_from(self, position: str) -> Iterator[tuple[str, Stored | None]]:
        """Every key, deleted or not, that is not less than position, in order."""
        for key in self.entries.irange(minimum=position):
            yield key, self.entries[key]
