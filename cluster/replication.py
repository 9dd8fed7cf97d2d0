"""The leader's side of replication: what has been sent to each follower, what it answered, what goes out next.

PySyncObj moves its next index back whenever an older acknowledgement arrives, and would send again what is on its
way. Here each follower has its own position, which only moves back when the follower says that something is missing or
the connection is new. PySyncObj's append_entries are taken as "this follower is due"; what leaves is decided here, once
per turn of the event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cluster.lease import lease_start_ns
from cluster.pysyncobj_seams import Engine, Role
from cluster.raft_meters import RaftMeters
from cluster.raft_settings import Clock, RaftSettings
from cluster.snapshot_stream import SnapshotSender

if TYPE_CHECKING:
    from cluster.links import Links

logger = logging.getLogger(__name__)

# A message that only brings the news of a commit waits so long for an entry to travel with: followers apply a little
# later, and a busy cluster sends half as many messages.
_COMMIT_NEWS_DELAY_S: Final = 0.004
_ENTRY_OVERHEAD_BYTES: Final = 32
_ENTRIES_MAX: Final = 8192


@dataclass(frozen=True, slots=True)
class PeerProgress:
    """How far a follower is, as the leader knows it. last_contact_ms is None until it has answered once."""

    match_index: int
    next_index: int
    last_contact_ms: int | None


@dataclass(slots=True)
class _Follower:
    next_index: int
    acked_index: int = 0
    acked_ns: int = 0  # when acked_index grew
    acked_term: int = 0  # of the entry at acked_index, which our log may drop; 0: not known
    must_prove: bool = False  # the connection is new, and nobody knows yet whether it still has what it acknowledged
    answered_ns: int = 0
    contact_ns: int = 0
    sent_ns: int = 0
    sent_commit: int = 0
    rewound_ns: int = 0
    streams_ns: int = 0
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)  # (last index, bytes) of each message
    in_flight_bytes: int = 0
    stream: SnapshotSender | None = None

    def go_to(self, next_index: int, now_ns: int) -> None:
        self.next_index = next_index
        self.rewound_ns = now_ns
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def arrived(self, index: int, raft_term: int | None, now_ns: int) -> None:
        if index > self.acked_index:
            self.acked_index, self.acked_term, self.acked_ns = index, raft_term or 0, now_ns
        while self.in_flight and self.in_flight[0][0] <= index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None


class Replicator:
    def __init__(
        self,
        engine: Engine,
        links: "Links",
        settings: RaftSettings,
        clock: Clock,
        synced_index: Callable[[], int],
        open_stream: Callable[[str], SnapshotSender],
        restored_index: Callable[[], int],
        meters: RaftMeters,
    ) -> None:
        """`restored_index` is that of the newest applied entry that replaced the state: only a stream brings it."""
        self._engine = engine
        self._links = links
        self._settings = settings
        self._clock = clock
        self._synced_index = synced_index
        self._open_stream = open_stream
        self._restored_index = restored_index
        self._meters = meters
        self._raft_term = 0
        self._followers: dict[str, _Follower] = {}
        self._learners: set[str] = set()
        self._due: set[str] = set()
        self._news: asyncio.TimerHandle | None = None

    def touch(self, node_id: str) -> None:
        """PySyncObj wants this follower to hear from us; `flush` decides what."""
        self._due.add(node_id)

    def learn(self, node_id: str) -> None:
        """Send the log to a node that is to become a member. It has no vote and counts for nothing meanwhile."""
        self._learners.add(node_id)
        if known := self._followers.pop(node_id, None):
            known.close()  # what is known of a former member of this name says nothing about the new one's disk
        self._of(node_id)
        self._due.add(node_id)

    def end_learning(self, node_id: str) -> None:
        self._learners.discard(node_id)

    def acked_index(self, node_id: str) -> int:
        """Up to where this node says that it holds the log durably."""
        return self._of(node_id).acked_index

    def follows(self, node_id: str) -> bool:
        """Whether this node gets the log, as a member or before it becomes one."""
        return node_id in self._learners or self._engine.is_member(node_id)

    def flush(self) -> None:
        """Send what is due. To be called after the engine has returned, so that its messages become one."""
        due, self._due = self._due, set()
        if self._engine.role is Role.LEADER:
            for node_id in due:
                if self.follows(node_id):
                    self._pump(node_id, self._of(node_id))

    def pulse(self) -> None:
        """The timer: go on with streams and drop who left."""
        leads = self._engine.role is Role.LEADER
        for node_id, follower in list(self._followers.items()):
            if not leads or not self.follows(node_id):
                follower.close()
                del self._followers[node_id]
            else:
                self._due.add(node_id)

    def close(self) -> None:
        for follower in self._followers.values():
            follower.close()
        self._followers = {}
        if self._news is not None:
            self._news.cancel()
            self._news = None

    def reconnected(self, node_id: str) -> None:
        """What was on its way may be lost; begin after what was acknowledged, if anything was."""
        follower = self._followers.get(node_id)
        if follower is not None:
            follower.go_to(follower.acked_index + 1 if follower.acked_index else follower.next_index, self._now())
            follower.must_prove = follower.acked_term > 0
            self._due.add(node_id)

    def lease_start_ns(self) -> int:
        """See cluster/lease.py; 0 when no majority has answered in this term."""
        answered = (self._of(node_id).answered_ns for node_id in self._engine.others)
        return lease_start_ns(answered, self._engine.quorum, self._now())

    def progress(self) -> dict[str, PeerProgress]:
        now = self._now()
        return {
            node_id: PeerProgress(
                self._engine.match_index(node_id),
                self._of(node_id).next_index,
                (now - self._of(node_id).contact_ns) // 1_000_000 if self._of(node_id).contact_ns else None,
            )
            for node_id in self._engine.others
        }

    def on_ack(self, node_id: str, message: Mapping[str, Any]) -> None:
        """An append_ack of this term, from a member."""
        follower = self._of(node_id)
        now = self._now()
        follower.contact_ns = now
        if message["sent_at"] <= now:
            rpc = self._meters.sent_rpc if follower.in_flight else self._meters.sent_heartbeat
            rpc.of(node_id).add((now - message["sent_at"]) / 1e9)
            follower.answered_ns = max(follower.answered_ns, message["sent_at"])
        next_index = message["next_index"]
        if message["reset"] and 0 < next_index <= follower.acked_index and message["sent_at"] > follower.acked_ns:
            self._on_lost_log(node_id, follower, next_index - 1)
        if not 0 < next_index <= self._engine.last_index + 1:
            pass
        elif message["success"]:
            if next_index > follower.acked_index and message["sent_at"] >= follower.rewound_ns:
                follower.must_prove = False
            follower.arrived(next_index - 1, self._engine.term_at(next_index - 1), now)
            if follower.stream is not None and next_index > follower.stream.index:
                self._meters.sent_snapshot.of(node_id).add((now - follower.streams_ns) / 1e9)
                follower.close()
                follower.go_to(next_index, now)
        elif message["reset"] and message["sent_at"] >= follower.rewound_ns and follower.stream is None:
            # One gap answers each message behind it; only the first answer since we went back counts.
            follower.go_to(next_index, now)
        self._count(node_id, follower)
        self._due.add(node_id)

    def _on_lost_log(self, node_id: str, follower: _Follower, last_index: int) -> None:
        """It answered what was sent after it had acknowledged more, and within a term a log only grows.

        What it should do about it is decided there. If it goes on, it gets what it lacks, and its word counts anew.
        """
        logger.error(
            "node %s has lost log entries that it had acknowledged: it has %d and said %d. If it does not start any "
            "more, remove the peer, empty its data folder and let it join again",
            node_id,
            last_index,
            follower.acked_index,
        )
        self._links.send(node_id, {"type": "log_lost", "term": self._engine.term, "acked_index": follower.acked_index})
        follower.acked_index, follower.acked_term, follower.must_prove = last_index, 0, False

    def on_snapshot_ack(self, node_id: str, message: Mapping[str, Any]) -> None:
        follower = self._of(node_id)
        follower.contact_ns = self._now()
        if follower.stream is not None:
            follower.stream.on_ack(message["snapshot_id"], message["offset"], message["ok"])
        self._due.add(node_id)

    def on_synced(self) -> None:
        """More of our own log is durable: acknowledgements that waited for it count now."""
        for node_id, follower in self._followers.items():
            if self._usable(follower) > self._engine.match_index(node_id):
                self._count(node_id, follower)

    def _of(self, node_id: str) -> _Follower:
        if self._engine.term != self._raft_term:
            self.close()
            self._raft_term = self._engine.term
        if node_id not in self._followers:
            # A new leader assumes that all have what it has (Raft, 5.3); its own first entry is the probe.
            self._followers[node_id] = _Follower(next_index=self._engine.noop_index or self._engine.last_index + 1)
        return self._followers[node_id]

    def _usable(self, follower: _Follower) -> int:
        # PySyncObj counts the leader's own copy of an entry without asking whether it is durable here.
        return min(follower.acked_index, self._synced_index())

    def _count(self, node_id: str, follower: _Follower) -> None:
        node = self._engine.others.get(node_id)
        if node is None:
            return
        usable = self._usable(follower)
        is_news = usable > self._engine.match_index(node_id)
        self._engine.deliver(
            node,
            {"type": "next_node_idx", "next_node_idx": usable + 1, "success": is_news, "reset": False},
        )

    def _pump(self, node_id: str, follower: _Follower) -> None:
        if not self._links.connected(node_id):
            return
        is_missing = self._engine.term_at(follower.next_index - 1) is None
        if follower.stream is None and is_missing and follower.must_prove:
            # A stream would hide that it has lost what it acknowledged. The answer to this tells.
            if self._now() - follower.sent_ns >= self._settings.heartbeat_s * 0.75e9:
                self._send(node_id, follower, follower.acked_index, [], follower.acked_term)
            return
        if follower.stream is None and (is_missing or follower.next_index <= self._restored_index()):
            follower.stream = self._open_stream(node_id)
            follower.streams_ns = self._now()
        if follower.stream is not None:
            follower.stream.pump(self._now())
            if follower.stream.failed:
                follower.close()
            self._beat(node_id, follower, prev_index=0)
            return
        sent = False
        while follower.next_index <= self._engine.last_index and follower.in_flight_bytes < self._settings.window_bytes:
            entries, size = self._slice(follower.next_index)
            if not self._send(node_id, follower, follower.next_index - 1, entries):
                return
            follower.next_index += len(entries)
            follower.in_flight.append((follower.next_index - 1, size))
            self._meters.sent_logs.of(node_id).value += len(entries)
            follower.in_flight_bytes += size
            sent = True
        if not sent:
            self._beat(node_id, follower, prev_index=follower.next_index - 1)

    def _slice(self, index: int) -> tuple[list[Any], int]:
        log = self._engine.log
        position = index - self._engine.first_index
        entries: list[Any] = []
        size = 0
        while position < len(log) and size < self._settings.message_bytes_max and len(entries) < _ENTRIES_MAX:
            entries.append(log[position])
            size += len(entries[-1][0]) + _ENTRY_OVERHEAD_BYTES
            position += 1
        return entries, size

    def _beat(self, node_id: str, follower: _Follower, prev_index: int) -> None:
        """A message without entries, if one is due. With prev_index 0 it verifies nothing."""
        silent_ns = self._now() - follower.sent_ns
        if silent_ns >= self._settings.heartbeat_s * 0.75e9:
            self._send(node_id, follower, prev_index, [])
        elif self._engine.commit_index > follower.sent_commit and self._news is None:
            self._news = asyncio.get_running_loop().call_later(_COMMIT_NEWS_DELAY_S, self._tell_news)

    def _tell_news(self) -> None:
        self._news = None
        if self._engine.role is not Role.LEADER:
            return
        for node_id in self._engine.others:
            follower = self._of(node_id)
            # To one that has to prove what it holds this would say nothing, and keep putting off what asks for it.
            is_told = follower.stream is None and not follower.must_prove
            if is_told and follower.sent_commit < self._engine.commit_index:
                self._send(node_id, follower, follower.next_index - 1, [])

    def _send(
        self,
        node_id: str,
        follower: _Follower,
        prev_index: int,
        entries: list[Any],
        prev_term: int | None = None,
    ) -> bool:
        now = self._now()
        prev_term = prev_term or self._engine.term_at(prev_index)
        if prev_term is None:
            # Compacted away, or made up: what comes before is not said, and the message verifies nothing.
            prev_index, prev_term = 0, 0
        sent = self._links.send(
            node_id,
            {
                "type": "append_entries",
                "term": self._engine.term,
                "commit_index": self._engine.commit_index,
                "entries": entries,
                "prev_index": prev_index,
                "prev_term": prev_term,
                "sent_at": now,
            },
        )
        if sent:
            follower.sent_ns = now
            follower.sent_commit = self._engine.commit_index
        return sent

    def _now(self) -> int:
        return self._clock.now_ns()
