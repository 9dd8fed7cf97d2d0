"""One node's telemetry: its meters, what is read off the node itself, and who shows them."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from cluster.meters import INTERVAL_TICKS, TICK_S, Family, Labels, Registry, Spread
from cluster.raft_store import RaftStore
from node.autopilot import Autopilot, failure_tolerance
from node.identity.store import decode_entity
from node.mounts import AUTH_KEY, MOUNTS_KEY
from node.seal import Seal
from node.telemetry import exposition, runtime
from node.telemetry.exposition import Look
from node.telemetry.meters import WINDOW_S, WINDOWS, NodeMeters
from node.telemetry.names import Filter
from node.telemetry.seal import SealMeters
from node.telemetry.statsd import Pusher
from node.telemetry.usage import ROOT_NAMESPACE, Usage, counted_mounts, ttl_bucket

if TYPE_CHECKING:
    from node.core import Core
    from node.edge import Edge
    from node.mounts import Mount
    from node.tokens.model import TokenEntry

AnySeal = TypeVar("AnySeal", bound=Seal)

_REPLICATION: Final = ("performance.primary", "performance.secondary", "dr.primary", "dr.secondary")


class Telemetry:
    """Made with the node. Meters count from then on; `start` has them summed up every second, and pushed."""

    def __init__(self, core: "Core") -> None:
        self._core = core
        settings = core.config.telemetry
        hostname = core.identity.hostname
        self.meters = NodeMeters()
        self.meters.token_made = self._token_made
        self.meters.lease_made = self._lease_made
        self.meters.commits.entity_made = self._entity_made
        self.edges: list[Edge] = []
        self.look = Look(
            prefix=settings.metrics_prefix,
            shown=Filter(settings.prefix_filter, default=settings.filter_default),
            host=hostname if settings.enable_hostname_label else "",
        )
        self.has_prometheus = settings.prometheus_retention_time_s > 0
        registry = self.meters.registry
        self._cluster_name = ""
        self._gc_pause = runtime.define(registry)
        self._pusher = Pusher(settings, self.look, hostname)
        self._task: asyncio.Task[None] | None = None
        self.usage = Usage(core, self.meters, registry)
        _CoreGauges(core, self).define(registry)

    def watch_seal(self, seal: AnySeal) -> AnySeal:
        """The same seal, whose work is counted and timed from now on."""
        SealMeters(self.meters.registry, seal.type).watch(seal)
        return seal

    # Life

    def start(self) -> None:
        """Sum up every second from now on, until `stop`."""
        runtime.COLLECTOR.pauses.append(self._gc_pause)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """The node stops."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            runtime.COLLECTOR.pauses.remove(self._gc_pause)
            self._pusher.close()

    async def _run(self) -> None:
        ticks = 0
        while True:
            await self._second()
            ticks += 1
            samples = self.tick(ends_interval=ticks % INTERVAL_TICKS == 0)
            if self._pusher.sinks:
                rows = self._pusher.rows(self.families(), samples)
                await asyncio.to_thread(self._pusher.send, rows)  # names are looked up, and connections made

    async def _second(self) -> None:
        sampling = self.meters.sampling
        if sampling.timed:
            await asyncio.sleep(TICK_S)
            return
        for _ in range(WINDOWS):
            sampling.timed = True
            await asyncio.sleep(WINDOW_S)
            sampling.timed = False
            await asyncio.sleep(TICK_S / WINDOWS - WINDOW_S)

    def tick(self, *, ends_interval: bool = False) -> Mapping[Spread, list[float]]:
        """Take in what was added in the last second, and give it."""
        samples: dict[Spread, list[float]] = {}
        meters = {id(meter): meter for family in self.families() for meter in family.children.values()}
        for meter in meters.values():
            if isinstance(meter, Spread):
                taken = meter.tick()
                if taken:
                    samples[meter] = taken
            if ends_interval:
                meter.end_interval()
        self.meters.sample_well()
        return samples

    # What there is

    def families(self) -> Iterator[Family]:
        """Every family of this node."""
        yield from list(self.meters.registry.families.values())
        store = self._core.storage.store
        if isinstance(store, RaftStore):
            yield from list(store.meters.registry.families.values())

    def prometheus(self) -> bytes:
        """The text that Prometheus scrapes."""
        return exposition.prometheus(self.families(), self.look)

    def summary(self) -> dict[str, object]:
        """The documented JSON."""
        return exposition.summary(self.families(), self.look, self._core.sources.now_ms())

    def dump(self) -> None:
        """Write everything to standard error (SIGUSR1)."""
        print(exposition.dump(self.summary()), file=sys.stderr, flush=True)  # noqa: T201 - as documented

    # Labels

    def cluster_name(self) -> str:
        """The name of the cluster, as far as it was ever known here."""
        info = self._core.cluster_info() if not self._cluster_name else None
        if info is not None:
            self._cluster_name = info.name
        return self._cluster_name

    def _token_made(self, entry: "TokenEntry") -> None:
        node = self._core.unsealed
        found = None if node is None else node.router.match(entry.path)
        kind, path = (found[0].mount.type, found[0].mount.path) if found is not None else ("", "")
        labels = (self.cluster_name(), ROOT_NAMESPACE, kind, path, ttl_bucket(entry.ttl_s), entry.type.value)
        self.meters.tokens.of(*labels).value += 1
        if entry.is_root:
            self.meters.root_tokens.value += 1

    def _lease_made(self, mount: "Mount", ttl_s: int) -> None:
        labels = (self.cluster_name(), ROOT_NAMESPACE, mount.type, mount.path, ttl_bucket(ttl_s))
        self.meters.leases.of(*labels).value += 1

    def _entity_made(self, record: bytes) -> None:
        node, aliases = self._core.unsealed, decode_entity(record).aliases
        mounted = node.router.by_accessor(aliases[0].mount_accessor) if node is not None and aliases else None
        kind, path = (mounted.mount.type, mounted.mount.path) if mounted is not None else ("", "")
        self.meters.commits.entities.of(self.cluster_name(), ROOT_NAMESPACE, kind, path).value += 1


class _CoreGauges:
    """What is read off the node when somebody looks."""

    def __init__(self, core: "Core", telemetry: Telemetry) -> None:
        self._core = core
        self._telemetry = telemetry

    def define(self, registry: Registry) -> None:
        """Define them."""
        gauge, gauges = registry.gauge, registry.gauges
        cluster = ("cluster",)
        gauges("core.active", "Whether this node is active.", cluster, lambda: self._flag(self._core.is_active))
        gauges("core.unsealed", "Whether this node is unsealed.", cluster, lambda: self._flag(not self._core.is_sealed))
        gauges("core.performance_standby", "Always 0.", cluster, lambda: self._flag(False))
        for area in _REPLICATION:
            gauges(f"core.replication.{area}", "Always 0.", cluster, lambda: self._flag(False))
        gauge("core.in_flight_requests", "Requests that are being worked on.", self._in_flight)
        gauges("core.mount_table.num_entries", "Mounts.", ("type", "local"), lambda: self._mount_table()[0])
        gauges("core.mount_table.size", "Bytes of the mount table.", ("type", "local"), lambda: self._mount_table()[1])
        registry.counts("core.response_status_code", "Answers by status.", ("code", "type"), self._statuses)
        registry.counts("barrier.estimated_encryptions", "Uses of the barrier's active key.", (), self._encryptions)
        gauge("autopilot.healthy", "Whether every member is healthy.", self._is_healthy)
        gauge("autopilot.failure_tolerance", "Members that may fail.", self._failure_tolerance)
        gauges("autopilot.node.healthy", "Whether a member is healthy.", ("node_id",), self._members)

    def _flag(self, value: bool) -> Mapping[Labels, float]:
        return {(self._telemetry.cluster_name(),): float(value)}

    def _in_flight(self) -> float:
        return float(sum(len(edge.in_flight) for edge in self._telemetry.edges))

    def _statuses(self) -> Mapping[Labels, float]:
        counts: dict[Labels, float] = {}
        for edge in self._telemetry.edges:
            for status, count in edge.answers.items():
                labels = (str(status), f"{status // 100}xx")
                counts[labels] = counts.get(labels, 0) + count
        return counts

    def _encryptions(self) -> Mapping[Labels, float]:
        barrier = self._core.barrier
        return {} if barrier.is_sealed else {(): barrier.keyring.active.encryptions + barrier.uncounted}

    def _mount_table(self) -> tuple[Mapping[Labels, float], Mapping[Labels, float]]:
        node = self._core.unsealed
        if node is None or self._core.barrier.is_sealed:
            return {}, {}
        records = {key == AUTH_KEY: node.opened.get(key) for key in (MOUNTS_KEY, AUTH_KEY)}
        sizes = {is_auth: len(seen.value) for is_auth, seen in records.items() if seen is not None}
        return counted_mounts(node.mounts(), sizes)

    def _members(self) -> Mapping[Labels, float]:
        autopilot = self._autopilot()
        if autopilot is None:
            return {}
        config = autopilot.config()
        return {(member.node_id,): float(member.is_healthy(config)) for member in autopilot.members()}

    def _is_healthy(self) -> float | None:
        healthy = self._members().values()
        return float(all(healthy)) if healthy else None

    def _failure_tolerance(self) -> float | None:
        autopilot = self._autopilot()
        return None if autopilot is None else float(failure_tolerance(autopilot.members(), autopilot.config()))

    def _autopilot(self) -> Autopilot | None:
        return None if self._core.barrier.is_sealed else self._core.autopilot
