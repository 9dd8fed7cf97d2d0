"""Usage gauges: what takes a walk over stored records to know. Computed in the background, in slices between requests.

Every unsealed node computes its own, from its own copy of the records. Until the first computation is done a gauge has
no value. A walk that takes long is made less often: it never uses more than a hundredth of a processor.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cluster.errors import ClusterError
from cluster.meters import Labels, Registry, clock
from engines.common.flat_secret import KV_V1_PREFIX
from node.errors import NodeError
from node.identity import store as identity
from node.leases import store as leases
from node.leases import timeline
from node.mounts import Mount
from node.tokens import store as tokens

if TYPE_CHECKING:
    from node.core import Core
    from node.telemetry.meters import NodeMeters
    from node.unsealed import Unsealed

logger = logging.getLogger(__name__)

Values = dict[Labels, float]
ROOT_NAMESPACE: Final = "root"

_SLICE_S: Final = 0.002  # on the event loop at a time
_SHARE: Final = 100  # of the time: a walk of one second is followed by a hundred without
QUICK_PERIOD_S: Final = 10.0  # for the counts of leases: an alert rests on them
LOCKED_PERIOD_S: Final = 900.0  # as documented
_RETRY_S: Final = 1.0  # while the keyring or the mount table has not been replicated to this node

_KV_PREFIXES: Final[Mapping[str, str]] = {"2": "metadata/", "1": KV_V1_PREFIX}

# The documented buckets of a token's or lease's first TTL, rounded up.
_TTL_BUCKETS: Final = (
    (60, "1m"),
    (600, "10m"),
    (1200, "20m"),
    (3600, "1h"),
    (7200, "2h"),
    (86_400, "1d"),
    (2 * 86_400, "2d"),
    (7 * 86_400, "7d"),
    (30 * 86_400, "30d"),
)


def ttl_bucket(ttl_s: int) -> str:
    """The bucket of a TTL in seconds; "+Inf" for what is longer than all, or has no end."""
    return next((name for limit_s, name in _TTL_BUCKETS if 0 < ttl_s <= limit_s), "+Inf")


class Usage:
    """The usage gauges of one node."""

    def __init__(self, core: "Core", meters: "NodeMeters", registry: Registry) -> None:
        self._core = core
        self._meters = meters
        self._values: dict[str, Values] = {}
        self._computed_s: dict[str, float] = {}
        self._settings = core.config.telemetry
        namespace = ("cluster", "namespace")
        for name, help_, labels in (
            ("token.count", "Service tokens.", namespace),
            ("token.count.by_auth", "Service tokens by the type of the auth method.", (*namespace, "auth_method")),
            ("token.count.by_policy", "Service tokens by policy.", (*namespace, "policy")),
            ("token.count.by_ttl", "Service tokens by their first TTL.", (*namespace, "creation_ttl")),
            ("identity.entity.count", "Entities.", namespace),
            ("identity.num_entities", "Entities.", ()),
            ("identity.entity.alias.count", "Aliases of entities.", (*namespace, "auth_method", "mount_point")),
            ("secret.kv.count", "Secrets of the KV mounts.", (*namespace, "mount_point")),
            ("expire.num_leases", "Leases and tokens that end.", ()),
            ("expire.num_irrevocable_leases", "Leases that their engine would not revoke.", ()),
            ("core.locked_users", "Users that are locked out.", ()),
            ("expire.leases.by_expiration", "Leases and tokens by when they end.", self._expiring_labels()),
        ):
            registry.gauges(name, help_, labels, self._reader(name))

    def _reader(self, name: str) -> Callable[[], Values]:
        return lambda: {} if self._core.is_sealed else self._values.get(name, {})

    def _expiring_labels(self) -> tuple[str, ...]:
        labels = ("cluster", "gauge", "expiring")
        return (*labels, "namespace") if self._settings.add_lease_metrics_namespace_labels else labels

    # When

    async def run(self) -> None:
        """Compute again and again, until cancelled: the node seals, and its gauges end with it."""
        rounds = [self._again(QUICK_PERIOD_S, self.count_leases), self._again(LOCKED_PERIOD_S, self.count_locked_users)]
        if self._settings.usage_gauge_period_s:
            period_s = float(self._settings.usage_gauge_period_s)
            rounds += [self._again(period_s, work) for work in (self.count_tokens, self.count_entities, self.count_kv)]
        try:
            await asyncio.gather(*rounds)
        finally:
            self._values.clear()

    async def _again(self, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            began_s, wait_s = clock(), _RETRY_S
            with contextlib.suppress(ClusterError, NodeError, LookupError):
                if not self._core.barrier.is_sealed:
                    await work()
                    wait_s = max(period_s, _SHARE * (clock() - began_s))
            await asyncio.sleep(wait_s)

    async def compute(self) -> None:
        """Compute everything once, now."""
        for work in (
            self.count_leases,
            self.count_locked_users,
            self.count_tokens,
            self.count_entities,
            self.count_kv,
        ):
            await work()

    # What

    async def count_tokens(self) -> None:
        """Tokens in all, by auth method, by policy and by TTL."""
        async with self._collecting("token"):
            node, at = self._core.require_unsealed(), self._at()
            total = 0
            by_auth: Counter[str] = Counter()
            by_policy: Counter[str] = Counter()
            by_ttl: Counter[str] = Counter()
            async for key, sealed in self._rows(node, tokens.RECORDS):
                entry = tokens.decode_token(node.barrier.open(key, sealed))
                total += 1
                found = node.router.match(entry.path)
                by_auth[found[0].mount.type if found is not None else ""] += 1
                by_policy.update(entry.policies)
                by_ttl[ttl_bucket(entry.ttl_s)] += 1
            self._values["token.count"] = {at: total}
            self._set("token.count.by_auth", {(*at, name): count for name, count in by_auth.items()})
            self._set("token.count.by_policy", {(*at, name): count for name, count in by_policy.items()})
            self._set("token.count.by_ttl", {(*at, name): count for name, count in by_ttl.items()})

    async def count_entities(self) -> None:
        """Entities, and their aliases by auth mount."""
        async with self._collecting("identity"):
            node, at = self._core.require_unsealed(), self._at()
            total = 0
            by_mount: Counter[str] = Counter()
            async for key, sealed in self._rows(node, identity.ENTITIES):
                total += 1
                entity = identity.decode_entity(node.barrier.open(key, sealed))
                by_mount.update(alias.mount_accessor for alias in entity.aliases)
            self._values["identity.entity.count"] = {at: total}
            self._values["identity.num_entities"] = {(): total}
            aliases: Values = {}
            for accessor, count in by_mount.items():
                mounted = node.router.by_accessor(accessor)
                if mounted is not None:
                    aliases[(*at, mounted.mount.type, mounted.mount.path)] = count
            self._set("identity.entity.alias.count", aliases)

    async def count_kv(self) -> None:
        """Secrets of each KV mount."""
        async with self._collecting("secret.kv"):
            node, at = self._core.require_unsealed(), self._at()
            counts: Values = {}
            for mount in [mount for mount in node.mounts() if mount.type in ("kv", "generic")]:
                prefix = mount.storage_prefix + _KV_PREFIXES.get(mount.options.get("version", "1"), KV_V1_PREFIX)
                counts[(*at, mount.path)] = await self._count(node, prefix)
            self._set("secret.kv.count", counts)

    async def count_leases(self) -> None:
        """What ends, by when; and what should have."""
        async with self._collecting("expire"):
            node = self._core.require_unsealed()
            now_ms, epsilon_ms = self._core.sources.now_ms(), self._settings.lease_metrics_epsilon_s * 1000
            buckets: Counter[int] = Counter()
            total = 0
            async for key, _ in self._rows(node, timeline.PREFIX):
                total += 1
                bucket = (int(key[len(timeline.PREFIX) :][:16], 16) - now_ms) // (epsilon_ms or 1)
                if 0 <= bucket < self._settings.num_lease_metrics_buckets:
                    buckets[bucket] += 1
            self._values["expire.num_leases"] = {(): total}
            given_up = await self._count(node, leases.IRREVOCABLE)
            self._values["expire.num_irrevocable_leases"] = {(): given_up}
            self._set("expire.leases.by_expiration", self._by_expiration(buckets, now_ms, epsilon_ms))

    def _by_expiration(self, buckets: Counter[int], now_ms: int, epsilon_ms: int) -> Values:
        at: Labels = (self._at()[0], "leases_by_expiration")
        more = (ROOT_NAMESPACE,) if self._settings.add_lease_metrics_namespace_labels else ()
        return {
            (*at, str((now_ms + (bucket + 1) * epsilon_ms) // 1000), *more): count for bucket, count in buckets.items()
        }

    async def count_locked_users(self) -> None:
        """Users that are locked out."""
        async with self._collecting("core.locked_users"):
            node = self._core.require_unsealed()
            mounts = {mount.accessor: mount for mount in node.mounts()}
            self._values["core.locked_users"] = {(): len(node.lockout.locked_users(mounts))}

    # How

    def _at(self) -> Labels:
        return self._core.telemetry.cluster_name(), ROOT_NAMESPACE

    def _set(self, name: str, values: Values) -> None:
        """At most `maximum_gauge_cardinality` values, the largest: one more label value is one more time series."""
        most = self._settings.gauge_cardinality_max
        self._values[name] = dict(sorted(values.items(), key=lambda one: -one[1])[:most])

    async def _count(self, node: "Unsealed", prefix: str) -> int:
        total = 0
        async for _ in self._rows(node, prefix):
            total += 1
        return total

    @staticmethod
    async def _rows(node: "Unsealed", prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        """Every key below a prefix with its sealed value; whoever waits for the event loop gets it in between.

        Past the cache of opened entries, whose place belongs to what requests read.
        """
        until_s = clock() + _SLICE_S
        for key, stored in node.store.scan(prefix):
            yield key, stored.value
            if clock() > until_s:
                await asyncio.sleep(0)
                until_s = clock() + _SLICE_S

    @contextlib.asynccontextmanager
    async def _collecting(self, name: str) -> AsyncIterator[None]:
        labels = (self._core.telemetry.cluster_name(), name)
        began_s = clock()
        before_s = self._computed_s.get(name)
        if before_s is not None:
            self._meters.collection_interval.of(*labels).add(began_s - before_s)
        try:
            yield
        except Exception:
            self._meters.collection_error.of(*labels).value += 1
            raise
        self._computed_s[name] = began_s
        self._meters.collection.of(*labels).add(clock() - began_s)


def counted_mounts(mounts: Sequence[Mount], records: Mapping[bool, int]) -> tuple[Values, Values]:
    """Entries of the mount tables and their bytes, by the documented labels `type` and `local`.

    Args:
        records: Bytes of the record of each table, by whether it is that of the auth methods.
    """
    entries: Values = {}
    sizes: Values = {}
    for is_auth, size in records.items():
        rows = [mount for mount in mounts if mount.is_auth is is_auth]
        kind = "auth" if is_auth else "logical"
        for is_local in (False, True):
            count = sum(row.local is is_local for row in rows)
            entries[kind, str(is_local).lower()] = count
            sizes[kind, str(is_local).lower()] = round(size * count / len(rows)) if rows else 0
    return entries, sizes
