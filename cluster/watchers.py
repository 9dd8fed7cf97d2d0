"""Who is told which keys an applied entry has changed."""

from collections.abc import Callable, Collection, Sequence

Callback = Callable[[Collection[str]], None]


class Watchers:
    """Callbacks in the order in which they came, each for all keys or for those below some prefixes.

    Nearly every entry changes keys that only one of them wants, so the others cost one look at each key together.
    """

    def __init__(self) -> None:
        self._watchers: tuple[tuple[Callback, tuple[str, ...]], ...] = ()
        self._prefixes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, callback: Callback, below: Sequence[str] = ()) -> Callable[[], None]:
        """As Store.watch."""
        watcher = (callback, tuple(below))
        self._set((*self._watchers, watcher))
        return lambda: self._set(tuple(other for other in self._watchers if other is not watcher))

    def tell(self, keys: Collection[str]) -> None:
        """These keys have changed; none: anything may have."""
        prefixes = self._prefixes
        wanted = [key for key in keys if key.startswith(prefixes)] if prefixes else []
        for callback, below in self._watchers:
            if not below or not keys:
                callback(keys)
            elif wanted:
                own = [key for key in wanted if key.startswith(below)]
                if own:
                    callback(own)

    def _set(self, watchers: tuple[tuple[Callback, tuple[str, ...]], ...]) -> None:
        self._watchers = watchers
        self._prefixes = tuple({prefix for _, below in watchers for prefix in below})
