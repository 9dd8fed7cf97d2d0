"""PySyncObj's transport: its messages become ours on the way out, and ours become its own on the way in.

Nothing reaches PySyncObj that is not of its term, from a member and reduced to what is new; nothing it sends reaches a
peer in its own words. Forwarding of commands, its utility messages and its dump transfers end here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pysyncobj.node import Node
from pysyncobj.transport import Transport

from cluster.elections import Elections
from cluster.follower import Follower
from cluster.lost_log import LogLost
from cluster.pysyncobj_seams import Engine, Role, not_leader_answer
from cluster.replication import Replicator

if TYPE_CHECKING:
    from cluster.links import Links

Message = dict[str, Any]


class OutgoingTransport(Transport):  # type: ignore[misc]
    """What PySyncObj sees. It comes first, because PySyncObj is built with it; `attach` gives it the rest."""

    def __init__(self) -> None:
        super().__init__(None, None, [])
        self._attached: Router | None = None
        self.on_members_changed: Callable[[], None] = lambda: None

    def attach(self, router: "Router") -> None:
        self._attached = router

    def send(self, node: Node, message: Message) -> bool:
        return self._attached is not None and self._attached.send(node, message)

    def addNode(self, node: Node) -> None:  # noqa: N802
        self.on_members_changed()

    def dropNode(self, node: Node) -> None:  # noqa: N802
        self.on_members_changed()


class Router:
    """Both directions, between one engine and its links."""

    def __init__(
        self,
        engine: Engine,
        links: "Links",
        elections: Elections,
        follower: Follower,
        replicator: Replicator,
        on_chunk: Callable[[Node, Message], None],
    ) -> None:
        self._engine = engine
        self._links = links
        self._elections = elections
        self._follower = follower
        self._replicator = replicator
        self._on_chunk = on_chunk
        self._unanswered: list[Message] = []
        self._incoming: dict[str, Callable[[str, Message], None]] = {
            "append_entries": self._append_entries,
            "append_ack": self._append_ack,
            "request_vote": self._request_vote,
            "response_vote": self._response_vote,
            "pre_vote": self._pre_vote,
            "pre_vote_granted": self._pre_vote_granted,
            "timeout_now": self._timeout_now,
            "snapshot_chunk": self._snapshot_chunk,
            "snapshot_ack": self._snapshot_ack,
            "not_a_member": self._not_a_member,
            "log_lost": self._log_lost,
        }

    # From PySyncObj.

    def send(self, node: Node, message: Message) -> bool:
        kind = message["type"]
        if kind == "append_entries":
            self._replicator.touch(node.id)
            return True
        if kind == "next_node_idx":
            return True  # cluster/follower.py acknowledges, once the entries are durable
        if kind == "apply_command":
            self._unanswered.append(not_leader_answer(message))
            return True
        if kind == "request_vote":
            message = {**message, "transfer": self._elections.by_transfer}
        elif kind not in ("response_vote", "timeout_now"):
            return False
        return self._links.send(node.id, message)

    def flush(self) -> None:
        """Do what had to wait until the engine returned."""
        unanswered, self._unanswered = self._unanswered, []
        for answer in unanswered:
            self._engine.deliver(self._engine.self_node, answer)
        self._replicator.flush()

    # From the peers.

    def receive(self, node_id: str, message: Message) -> None:
        """One message of a peer, in a shape of cluster/wire.py."""
        handle = self._incoming.get(message["type"])
        if handle is not None:
            handle(node_id, message)

    def _is_of_our_term(self, message: Message) -> bool:
        """For answers to a leader or candidate: one from a later term deposes it, one from an earlier is stale."""
        if message["term"] > self._engine.term:
            self._engine.observe_term(message["term"])
        return bool(message["term"] == self._engine.term)

    def _append_entries(self, node_id: str, message: Message) -> None:
        if self._from_leader(node_id, message):
            self._follower.on_append(self._node(node_id), message)

    def _snapshot_chunk(self, node_id: str, message: Message) -> None:
        if self._from_leader(node_id, message):
            self._on_chunk(self._node(node_id), message)

    def _from_leader(self, node_id: str, message: Message) -> bool:
        # The sender need not be a member by our log: a new leader may have joined by an entry that is on its way here.
        if message["term"] < self._engine.term or node_id == self._engine.node_id:
            # Without this a leader whose peer is terms ahead would never learn why it is ignored.
            self._links.send(
                node_id,
                {"type": "append_ack", "term": self._engine.term, "next_index": 0, "success": False, "reset": False}
                | {"sent_at": 0},
            )
            return False
        self._elections.heard_leader()
        return True

    def _append_ack(self, node_id: str, message: Message) -> None:
        if self._replicator.follows(node_id) and self._is_of_our_term(message) and self._engine.role is Role.LEADER:
            self._replicator.on_ack(node_id, message)

    def _snapshot_ack(self, node_id: str, message: Message) -> None:
        if self._replicator.follows(node_id) and self._is_of_our_term(message) and self._engine.role is Role.LEADER:
            self._replicator.on_snapshot_ack(node_id, message)

    def _request_vote(self, node_id: str, message: Message) -> None:
        if not self._is_known(node_id) or not self._elections.may_vote(message):
            return
        self._engine.deliver(self._node(node_id), message)

    def _response_vote(self, node_id: str, message: Message) -> None:
        if self._engine.is_member(node_id) and self._elections.is_first_vote(node_id, message):
            self._engine.deliver(self._node(node_id), message)

    def _pre_vote(self, node_id: str, message: Message) -> None:
        if self._is_known(node_id):
            self._elections.on_pre_vote(node_id, message)

    def _pre_vote_granted(self, node_id: str, message: Message) -> None:
        if self._engine.is_member(node_id):
            self._elections.on_pre_vote_granted(node_id, message)

    def _timeout_now(self, node_id: str, message: Message) -> None:
        if self._engine.is_member(node_id):
            self._engine.deliver(self._node(node_id), message)

    def _not_a_member(self, node_id: str, message: Message) -> None:
        if message["term"] >= self._engine.term:
            self._elections.removed = True

    def _log_lost(self, node_id: str, message: Message) -> None:
        engine = self._engine
        if (
            message["term"] == engine.term
            and node_id == engine.leader_id
            and message["acked_index"] > engine.last_index
        ):
            raise LogLost(engine.last_index, message["acked_index"])

    def _is_known(self, node_id: str) -> bool:
        if self._engine.is_member(node_id):
            return True
        # Only a leader knows for certain, and only while no change is under way.
        if self._engine.role is Role.LEADER and not self._engine.change_is_pending():
            self._links.send(node_id, {"type": "not_a_member", "term": self._engine.term})
        return False

    def _node(self, node_id: str) -> Node:
        return self._engine.others.get(node_id) or Node(node_id, address="")
