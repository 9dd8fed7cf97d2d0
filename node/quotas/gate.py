"""The decision of one request: which limit, is there room, and what the client is told."""

from __future__ import annotations

from collections.abc import Callable, Collection

from cluster.store import Store
from node.errors import BadRequest, RateLimited
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, decode_mounts
from node.paths import canonical_path
from node.quotas.buckets import Buckets, Taken
from node.quotas.model import CONFIG_KEY, PREFIX, QuotaConfig, RateLimit
from node.quotas.rules import Rules
from node.quotas.verdict import ADMITTED, Verdict
from node.sources import Sources
from node.view import OpenedStore


class Quotas:
    """The rate limits of one unsealed node. Rules are derived from the store; what was counted is this node's own.

    `folded` gives a path the one spelling that its engine uses, so that no other spelling escapes its limit.
    """

    def __init__(self, opened: OpenedStore, store: Store, sources: Sources, folded: Callable[[str], str]) -> None:
        self._opened = opened
        self._sources = sources
        self._folded = folded
        self._buckets = Buckets()
        self._rules: Rules | None = None
        self._unwatch = store.watch(self._changed, ("sys/quotas/", MOUNTS_KEY, AUTH_KEY))

    def close(self) -> None:
        """Follow the store no more: the node is sealing."""
        self._unwatch()

    @property
    def rules(self) -> Rules:
        """The rules as of now."""
        if self._rules is None:
            limits = [RateLimit.of_bytes(seen.value) for seen in map(self._opened.get, self.keys()) if seen is not None]
            mounts = (mount.path for key in (MOUNTS_KEY, AUTH_KEY) for mount in self._mounts(key))
            self._rules = Rules(limits, mounts, self.config())
        return self._rules

    def keys(self) -> Collection[str]:
        """Where every limit lies."""
        return self._opened.keys(PREFIX)

    def config(self) -> QuotaConfig:
        """The configuration."""
        seen = self._opened.get(CONFIG_KEY)
        return QuotaConfig() if seen is None else QuotaConfig.of_bytes(seen.value)

    def before_body(self, raw_path: str, address: str) -> Verdict:
        """Judge a request by its path ("/v1/...", percent-encoded) and sender alone.

        Where a login role may have a limit of its own, the request is let pass as long as any of those that may hold
        has room; `of_role` then takes from the right one.
        """
        rules = self.rules
        if rules.is_empty:
            return ADMITTED
        path = self._path(raw_path)
        if rules.is_exempt(path):
            return ADMITTED
        limit, roles = rules.for_path(path), rules.roles_of(path)
        if roles:
            now_s = self._sources.monotonic_s()
            possible = [*roles.values(), *((limit,) if limit is not None else ())]
            if limit is None or any(self._buckets.has_one(one, address, now_s) for one in possible):
                return ADMITTED
        return self._taken(limit, path, address)

    def asks_for_role(self, raw_path: str) -> bool:
        """Whether `before_body` has left the decision to `of_role`."""
        rules = self.rules
        if rules.is_empty:
            return False
        path = self._path(raw_path)
        return not rules.is_exempt(path) and bool(rules.roles_of(path))

    def of_role(self, raw_path: str, address: str, role: str) -> Verdict:
        """Judge a request once its login role is known ("" for none)."""
        path = self._path(raw_path)
        limit = self.rules.roles_of(path).get(role) if role else None
        return self._taken(limit or self.rules.for_path(path), path, address)

    def _taken(self, limit: RateLimit | None, path: str, address: str) -> Verdict:
        if limit is None:
            return ADMITTED
        taken = self._buckets.take(limit, address, self._sources.monotonic_s())
        headers = _headers(taken) if self.rules.config.response_headers else {}
        if taken.is_allowed:
            return Verdict(None, headers) if headers else ADMITTED
        self._opened.meters.rate_limited.of(limit.name).value += 1
        return Verdict(RateLimited(path), headers)

    def _path(self, raw: str) -> str:
        """The canonical path; "" for one that will be refused, and that only the limit of everything holds for."""
        if not raw.startswith("/v1/"):
            return ""
        try:
            return self._folded(canonical_path(raw[4:]))
        except BadRequest:
            return ""

    def _mounts(self, key: str) -> tuple[Mount, ...]:
        seen = self._opened.get(key)
        return () if seen is None else decode_mounts(seen.value)

    def _changed(self, keys: Collection[str]) -> None:
        if not keys or any(key.startswith("sys/quotas/") or key in (MOUNTS_KEY, AUTH_KEY) for key in keys):
            self._rules = None


def _headers(taken: Taken) -> dict[str, str]:
    headers = {
        "X-Ratelimit-Limit": str(taken.limit),
        "X-Ratelimit-Remaining": str(taken.remaining),
        "X-Ratelimit-Reset": str(taken.reset_s),
    }
    if not taken.is_allowed:
        headers["Retry-After"] = str(taken.retry_s)
    return headers
