"""The follower's side of replication: what of an append_entries reaches PySyncObj, and when it is acknowledged.

Invariant: an acknowledgement names only entries that are verified against the leader's log in its term and that are on
stable storage here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pysyncobj.node import Node

from cluster.append_filter import Mismatch, reduce_append
from cluster.pysyncobj_seams import Engine, body_of, require_command

if TYPE_CHECKING:
    from cluster.links import Links


@dataclass(slots=True)
class _Leader:
    """What this node knows of the leader it follows in one term."""

    node_id: str
    raft_term: int
    verified_index: int = 0
    commit_index: int = 0
    acked_index: int = 0
    sent_at: int = 0


class Follower:
    def __init__(
        self, engine: Engine, links: "Links", synced_index: Callable[[], int], can_apply: Callable[[bytes], bool]
    ) -> None:
        """`can_apply` says of an entry's body whether this node has all that applying it takes."""
        self._engine = engine
        self._can_apply = can_apply
        self._links = links
        self._synced_index = synced_index
        self._leader: _Leader | None = None

    def on_append(self, node: Node, message: Mapping[str, Any]) -> None:
        """An append_entries whose term is not behind ours.

        Raises:
            CommittedConflict: The cluster has lost data; this node must stop.
            ValueError: The entries are malformed; nothing was done.
        """
        engine = self._engine
        entries = self._usable([tuple(entry) for entry in message["entries"]])
        reduced = reduce_append(engine, message["prev_index"], message["prev_term"], entries, message["commit_index"])
        # First what PySyncObj makes of any word from a leader: the term, who leads, the election time-out.
        heartbeat = {"type": "append_entries", "term": message["term"], "commit_index": 0}
        engine.deliver(node, heartbeat)
        leader = self._following(node.id)
        leader.sent_at = message["sent_at"]
        if isinstance(reduced, Mismatch):
            self._ack(leader, reduced.next_index, reset=True)
            return
        if reduced.entries:
            engine.deliver(
                node,
                heartbeat
                | {
                    "prevLogIdx": reduced.prev_index,
                    "prevLogTerm": reduced.prev_term,
                    "entries": reduced.entries,
                },
            )
        leader.verified_index = max(leader.verified_index, reduced.verified_index)
        leader.commit_index = max(leader.commit_index, reduced.commit_index)
        self._commit(leader)
        if not reduced.entries or self._synced_index() >= leader.verified_index:
            self._ack_durable(leader)

    def _usable(self, entries: list[Any]) -> list[Any]:
        """The entries before the first that could not be applied here. The leader has a snapshot for what follows."""
        for position, (command, _, _) in enumerate(entries):
            require_command(command)
            body = body_of(command)
            if body is not None and not self._can_apply(body):
                return entries[:position]
        return entries

    def installed(self, node: Node, index: int) -> None:
        """A snapshot up to index was taken in, or turned out to be known already."""
        leader = self._following(node.id)
        leader.verified_index = max(leader.verified_index, index)
        leader.commit_index = max(leader.commit_index, index)
        self._commit(leader)
        if self._synced_index() >= index:
            self._ack_durable(leader)

    def on_synced(self) -> None:
        """More of the log is durable: commit and acknowledge what waited for it."""
        leader = self._current()
        if leader is None:
            return
        self._commit(leader)
        if min(leader.verified_index, self._synced_index()) > leader.acked_index:
            self._ack_durable(leader)

    def pulse(self) -> None:
        """A disk that is slow must not look like a dead node: say what is durable, at least that we live."""
        leader = self._current()
        if leader is not None and leader.acked_index < leader.verified_index:
            self._ack_durable(leader)

    def _current(self) -> _Leader | None:
        leader = self._leader
        if leader is None or leader.raft_term != self._engine.term or leader.node_id == self._engine.node_id:
            return None
        return leader

    def _following(self, node_id: str) -> _Leader:
        leader = self._current()
        if leader is None or leader.node_id != node_id:
            leader = self._leader = _Leader(node_id, self._engine.term)
        return leader

    def _commit(self, leader: _Leader) -> None:
        # Only what is durable: the journal would have to sync at once, and block, for anything else.
        self._engine.commit_to(min(leader.commit_index, leader.verified_index, self._synced_index()))

    def _ack_durable(self, leader: _Leader) -> None:
        leader.acked_index = max(leader.acked_index, min(leader.verified_index, self._synced_index()))
        self._ack(leader, leader.acked_index + 1, success=True)

    def _ack(self, leader: _Leader, next_index: int, *, success: bool = False, reset: bool = False) -> None:
        self._links.send(
            leader.node_id,
            {
                "type": "append_ack",
                "term": self._engine.term,
                "next_index": next_index,
                "success": success,
                "reset": reset,
                "sent_at": leader.sent_at,
            },
        )
