"""Autopilot: the health of the cluster as the active node sees it, and the removal of members that are gone for good.

What is known is what Raft knows: when a member last answered and how far its log is. A new leader has heard nobody
yet, so it counts from its own beginning; nothing is ever removed because leadership has changed.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from cluster.errors import ClusterError
from engines.common.duration import format_go
from engines.common.errors import InvalidRequest
from node.sources import Sources
from node.storage import RaftStorage
from node.view import OpenedStore

logger = logging.getLogger(__name__)

CONFIG_KEY: Final = "core/raft/autopilot"
MIN_QUORUM_LEAST: Final = 3  # the documentation's: with fewer members the next failure stops the cluster
DEAD_S_LEAST: Final = 60  # the documentation's: a restart must not look like a death
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotConfig:
    """The rules. Times in whole seconds."""

    cleanup_dead_servers: bool = False
    last_contact_threshold_s: int = 10
    dead_server_last_contact_threshold_s: int = 24 * 3600
    server_stabilization_time_s: int = 10
    max_trailing_logs: int = 1000
    min_quorum: int = 0
    disable_upgrade_migration: bool = False

    def require_sound(self) -> None:
        """Raises InvalidRequest for rules that could take the cluster's majority away."""
        times = (self.last_contact_threshold_s, self.server_stabilization_time_s, self.max_trailing_logs)
        if min(times) < 0 or self.last_contact_threshold_s == 0:
            raise InvalidRequest("thresholds must be positive")
        if self.min_quorum < 0:
            raise InvalidRequest("min_quorum must not be negative")
        if self.dead_server_last_contact_threshold_s < DEAD_S_LEAST:
            raise InvalidRequest(f"dead_server_last_contact_threshold should not be less than {DEAD_S_LEAST} seconds")
        if self.cleanup_dead_servers and self.min_quorum < MIN_QUORUM_LEAST:
            raise InvalidRequest(
                f"min_quorum must be set when cleanup_dead_servers is set, and should at least be {MIN_QUORUM_LEAST}"
            )

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(record: bytes) -> "AutopilotConfig":
        """Raises ValueError."""
        if record[:1] != _FORMAT:
            raise ValueError("the autopilot record has an unknown format; was it written by a newer version?")
        return AutopilotConfig(**json.loads(record[1:]))

    def shown(self) -> dict[str, object]:
        """The members of the API."""
        return {
            "cleanup_dead_servers": self.cleanup_dead_servers,
            "dead_server_last_contact_threshold": format_go(self.dead_server_last_contact_threshold_s),
            "disable_upgrade_migration": self.disable_upgrade_migration,
            "last_contact_threshold": format_go(self.last_contact_threshold_s),
            "max_trailing_logs": self.max_trailing_logs,
            "min_quorum": self.min_quorum,
            "server_stabilization_time": format_go(self.server_stabilization_time_s),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member as it is now. `silent_ms`: since it last answered; 0 for the leader itself."""

    node_id: str
    address: str
    is_leader: bool
    silent_ms: int
    last_index: int
    last_raft_term: int
    lag: int

    def is_healthy(self, config: AutopilotConfig) -> bool:
        """Whether it answers and keeps up, by these rules."""
        return self.is_leader or (
            self.silent_ms <= config.last_contact_threshold_s * 1000 and self.lag <= config.max_trailing_logs
        )

    def is_dead(self, config: AutopilotConfig) -> bool:
        """Whether it has been silent for so long that it may be removed."""
        return not self.is_leader and self.silent_ms >= config.dead_server_last_contact_threshold_s * 1000


def to_remove(members: Sequence[Member], config: AutopilotConfig) -> list[Member]:
    """The dead members that may go now: at most so many that those that live are a majority, and min_quorum stay."""
    if not config.cleanup_dead_servers:
        return []
    dead = [member for member in members if member.is_dead(config)]
    if 2 * len(dead) >= len(members):
        return []
    return dead[: max(0, len(members) - config.min_quorum)]


def failure_tolerance(members: Sequence[Member], config: AutopilotConfig) -> int:
    """How many more members may fail before the cluster stops."""
    healthy = sum(member.is_healthy(config) for member in members)
    return max(0, healthy - (len(members) // 2 + 1))


class Autopilot:
    """Runs on the active node, from taking over until it leads no more."""

    def __init__(
        self, opened: OpenedStore, storage: RaftStorage, sources: Sources, version_of: Callable[[str], str]
    ) -> None:
        self._opened = opened
        self._storage = storage
        self._sources = sources
        self._version_of = version_of
        self._began_ms = sources.now_ms()
        self._began_s = sources.monotonic_s()
        self._stable: dict[str, tuple[bool, int]] = {}  # healthy, and since when (Unix milliseconds)

    def config(self) -> AutopilotConfig:
        """The rules in force."""
        seen = self._opened.get(CONFIG_KEY)
        return AutopilotConfig() if seen is None else AutopilotConfig.from_bytes(seen.value)

    def members(self) -> list[Member]:
        """Every member as it is now."""
        raft = self._storage.raft
        progress = raft.peer_progress()
        # Whoever has not answered yet is silent for as long as this node leads, at least.
        since_ms = int((self._sources.monotonic_s() - self._began_s) * 1000)
        found = []
        for peer in raft.peers():
            is_leader = peer.node_id == raft.node_id
            known = progress.get(peer.node_id)
            heard_ms = known.last_contact_ms if known is not None else None
            index = raft.last_index if is_leader else known.match_index if known is not None else 0
            found.append(
                Member(
                    node_id=peer.node_id,
                    address=peer.address,
                    is_leader=is_leader,
                    silent_ms=0 if is_leader else since_ms if heard_ms is None else heard_ms,
                    last_index=index,
                    last_raft_term=raft.term_at(index) or 0,
                    lag=raft.last_index - index,
                )
            )
        return found

    def state(self) -> dict[str, object]:
        """The answer of sys/storage/raft/autopilot/state."""
        config, members = self.config(), self.members()
        self._observe(config, members)
        return {
            "failure_tolerance": failure_tolerance(members, config),
            "healthy": all(member.is_healthy(config) for member in members),
            "leader": self._storage.node_id,
            "servers": {member.node_id: self._shown(member, config) for member in members},
            "voters": [member.node_id for member in members],
        }

    async def run(self, leads: Callable[[], bool]) -> None:
        """Watch, and remove who is dead, for as long as `leads` says so."""
        settings = self._storage.autopilot_periods
        checked_s = self._sources.monotonic_s()
        while leads():
            try:
                config, members = self.config(), self.members()
                self._observe(config, members)
                if self._sources.monotonic_s() - checked_s >= settings.reconcile_s:
                    checked_s = self._sources.monotonic_s()
                    await self._clean_up(members, config)
            except ClusterError as error:
                logger.info("autopilot could not finish its round: %s", error)
            await asyncio.sleep(settings.update_s)

    async def _clean_up(self, members: Sequence[Member], config: AutopilotConfig) -> None:
        for member in to_remove(members, config):
            logger.warning(
                "autopilot removes node %r: it has been silent for %d s", member.node_id, member.silent_ms // 1000
            )
            await self._storage.raft.remove_peer(member.node_id)

    def _observe(self, config: AutopilotConfig, members: Sequence[Member]) -> None:
        now_ms = self._sources.now_ms()
        before, self._stable = self._stable, {}
        for member in members:
            healthy = member.is_healthy(config)
            was_healthy, since_ms = before.get(member.node_id, (healthy, self._began_ms))
            self._stable[member.node_id] = (healthy, since_ms if healthy == was_healthy else now_ms)

    def _shown(self, member: Member, config: AutopilotConfig) -> dict[str, object]:
        since_ms = self._stable[member.node_id][1]
        return {
            "address": member.address,
            "healthy": member.is_healthy(config),
            "id": member.node_id,
            "last_contact": _go_ms(member.silent_ms),
            "last_index": member.last_index,
            "last_term": member.last_raft_term,
            "name": member.node_id,
            "node_status": "alive" if member.silent_ms <= config.last_contact_threshold_s * 1000 else "left",
            "node_type": "voter",
            "stable_since": datetime.fromtimestamp(since_ms / 1000, UTC).isoformat().replace("+00:00", "Z"),
            "status": "leader" if member.is_leader else "voter",
            "version": self._version_of(member.node_id),
        }


def _go_ms(span_ms: int) -> str:
    """A duration as Go prints it, to the millisecond below a minute."""
    if span_ms >= 60_000 or span_ms == 0:
        return format_go(span_ms // 1000)
    return f"{span_ms / 1000:g}s" if span_ms >= 1000 else f"{span_ms}ms"
