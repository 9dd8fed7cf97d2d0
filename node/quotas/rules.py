"""Which rate limit holds for a request: the most specific one. Immutable; a changed record makes new rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from node.quotas.model import QuotaConfig, RateLimit


class Paths:
    """A set of paths; those that end in "*" stand for everything that begins with them."""

    def __init__(self, paths: Iterable[str]) -> None:
        plain = tuple(path.strip("/") if not path.endswith("*") else path.lstrip("/") for path in paths)
        self._exact: Final = frozenset(path for path in plain if not path.endswith("*"))
        self._beginnings: Final = tuple(path[:-1] for path in plain if path.endswith("*"))

    def __contains__(self, path: str) -> bool:
        return path in self._exact or (bool(self._beginnings) and path.startswith(self._beginnings))


class Rules:
    """All rate limits, by what they are for.

    Most specific first: a role of the mount, the path itself, the longest beginning, the mount, everything.
    """

    def __init__(self, limits: Sequence[RateLimit], mounts: Iterable[str], config: QuotaConfig) -> None:
        self.config: Final = config
        self.is_empty: Final = not limits
        self._exempt: Final = Paths((*config.exempt_paths, *config.global_exempt_paths))
        self._mounts: Final = frozenset(mounts)
        self._exact: Final = {limit.path: limit for limit in limits if not limit.role and not _is_open(limit)}
        self._beginnings: Final = tuple(
            sorted(
                ((limit.path[:-1], limit) for limit in limits if not limit.role and _is_open(limit)),
                key=lambda one: -len(one[0]),
            )
        )
        self._roles: Final[dict[str, dict[str, RateLimit]]] = {}
        for limit in limits:
            if limit.role:
                self._roles.setdefault(limit.path, {})[limit.role] = limit

    def is_exempt(self, path: str) -> bool:
        """Whether no limit holds for the path."""
        return path in self._exempt

    def for_path(self, path: str) -> RateLimit | None:
        """The limit of a canonical path, as far as it can be told without the body."""
        exact = self._exact
        if exact or self._beginnings:
            found = exact.get(path)
            if found is not None and path:
                return found
            for beginning, limit in self._beginnings:
                if path.startswith(beginning):
                    return limit
            mount = self.mount_of(path)
            found = exact.get(mount) if mount else None
            if found is not None:
                return found
        return exact.get("")

    def roles_of(self, path: str) -> dict[str, RateLimit]:
        """The limits by login role of the mount that a path is below."""
        return self._roles.get(self.mount_of(path), {}) if self._roles else {}

    def mount_of(self, path: str) -> str:
        """The mount that answers for the path, "" if none does."""
        at = path + "/"
        while at:
            if at in self._mounts:
                return at
            at = at[: at.rfind("/", 0, -1) + 1]
        return ""


def _is_open(limit: RateLimit) -> bool:
    return limit.path.endswith("*")
