"""Autopilot: who is healthy, who is dead, and that removing the dead never costs the living their majority."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cluster.peers import Peer
from cluster.replication import PeerProgress
from engines.common.errors import InvalidRequest
from node.autopilot import Autopilot, AutopilotConfig, Member, failure_tolerance, to_remove
from node.storage import AutopilotPeriods

CLEANING = AutopilotConfig(cleanup_dead_servers=True, min_quorum=3, dead_server_last_contact_threshold_s=60)


def member(node_id: str, silent_s: float = 0, lag: int = 0, *, is_leader: bool = False) -> Member:
    return Member(
        node_id=node_id,
        address=f"{node_id}:1",
        is_leader=is_leader,
        silent_ms=int(silent_s * 1000),
        last_index=100 - lag,
        last_raft_term=1,
        lag=lag,
    )


def members(count: int, dead: int, silent_s: float = 60) -> list[Member]:
    living = [member(f"n{i}", is_leader=i == 0) for i in range(count - dead)]
    return living + [member(f"d{i}", silent_s) for i in range(dead)]


@pytest.mark.parametrize(
    ("count", "dead", "removed"),
    [(5, 1, 1), (5, 2, 2), (5, 3, 0), (4, 1, 1), (4, 2, 0), (3, 1, 0), (7, 3, 3), (2, 1, 0), (1, 0, 0)],
)
def test_who_is_removed(count: int, dead: int, removed: int) -> None:
    """The living stay a majority of what was, min_quorum members are left, and without the rule nobody goes."""
    assert len(to_remove(members(count, dead), CLEANING)) == removed
    assert to_remove(members(count, dead), AutopilotConfig()) == []
    assert to_remove(members(count, dead, silent_s=59.9), CLEANING) == []


def test_health() -> None:
    """Silence and lag make a member unhealthy at the documented thresholds; the leader is what it measures by."""
    config = AutopilotConfig()
    assert member("a", 10, 1000).is_healthy(config)
    assert not member("a", 10.1).is_healthy(config)
    assert not member("a", 0, 1001).is_healthy(config)
    assert member("a", is_leader=True).is_healthy(config)
    assert [failure_tolerance(members(n, d), config) for n, d in ((1, 0), (3, 0), (3, 1), (5, 0), (5, 2))] == [
        0,
        1,
        0,
        2,
        0,
    ]


@pytest.mark.parametrize(
    "config",
    [
        AutopilotConfig(cleanup_dead_servers=True),
        AutopilotConfig(cleanup_dead_servers=True, min_quorum=2),
        AutopilotConfig(dead_server_last_contact_threshold_s=59),
        AutopilotConfig(last_contact_threshold_s=0),
        AutopilotConfig(min_quorum=-1),
        AutopilotConfig(max_trailing_logs=-1),
    ],
)
def test_rules_that_are_refused(config: AutopilotConfig) -> None:
    """Rules under which a restart could be taken for a death, or the last majority be removed."""
    with pytest.raises(InvalidRequest):
        config.require_sound()


def test_the_record() -> None:
    """It comes back, durations are shown as Go prints them, and an unknown format is refused."""
    assert AutopilotConfig.from_bytes(CLEANING.to_bytes()) == CLEANING
    assert AutopilotConfig().shown() == {
        "cleanup_dead_servers": False,
        "dead_server_last_contact_threshold": "24h0m0s",
        "disable_upgrade_migration": False,
        "last_contact_threshold": "10s",
        "max_trailing_logs": 1000,
        "min_quorum": 0,
        "server_stabilization_time": "10s",
    }
    with pytest.raises(ValueError, match="format"):
        AutopilotConfig.from_bytes(b"\x02{}")


@dataclass
class FakeRaft:
    """Four members: one that answers, one that never has, one that has been silent for longer than any rule allows."""

    node_id: str = "n1"
    last_index: int = 500
    removed: list[str] = field(default_factory=list)

    def peers(self) -> list[Peer]:
        return [Peer(f"n{i}", f"n{i}:1") for i in range(1, 5) if f"n{i}" not in self.removed]

    def peer_progress(self) -> dict[str, PeerProgress]:
        return {
            "n2": PeerProgress(499, 500, 120),
            "n3": PeerProgress(0, 1, None),
            "n4": PeerProgress(10, 11, 3_600_000),
        }

    def term_at(self, index: int) -> int | None:
        return 7 if index else None

    async def remove_peer(self, node_id: str) -> None:
        self.removed.append(node_id)


class FakeSources:
    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return 50.0

    def random(self, size: int) -> bytes:
        return bytes(size)


def autopilot(raft: FakeRaft, config: AutopilotConfig) -> Autopilot:
    storage: Any = type("S", (), {})()
    storage.raft, storage.node_id = raft, "n1"
    storage.autopilot_periods = AutopilotPeriods(update_s=0, reconcile_s=0)
    opened: Any = type("O", (), {"get": lambda self, key: type("Seen", (), {"value": config.to_bytes()})()})()
    return Autopilot(opened, storage, cast(Any, FakeSources()), lambda node_id: "1.18.0" if node_id == "n1" else "")


def test_the_state() -> None:
    """The documented members; who has not answered this leader yet counts from its beginning, not as long dead."""
    state = cast(Any, autopilot(FakeRaft(), AutopilotConfig()).state())
    assert (state["healthy"], state["failure_tolerance"], state["leader"]) == (False, 0, "n1")
    assert state["voters"] == ["n1", "n2", "n3", "n4"]
    assert state["servers"]["n2"] == {
        "address": "n2:1",
        "healthy": True,
        "id": "n2",
        "last_contact": "120ms",
        "last_index": 499,
        "last_term": 7,
        "name": "n2",
        "node_status": "alive",
        "node_type": "voter",
        "stable_since": "2023-11-14T22:13:20Z",
        "status": "voter",
        "version": "",
    }
    assert state["servers"]["n1"]["status"] == "leader"
    assert (state["servers"]["n3"]["last_contact"], state["servers"]["n3"]["healthy"]) == ("0s", True)
    assert (state["servers"]["n4"]["last_contact"], state["servers"]["n4"]["node_status"]) == ("1h0m0s", "left")


def test_the_dead_are_removed_while_it_leads() -> None:
    """Once, by way of Raft; and the round ends with leadership."""
    raft = FakeRaft()
    rounds = iter([True, True, False])
    asyncio.run(autopilot(raft, CLEANING).run(lambda: next(rounds)))
    assert raft.removed == ["n4"]
