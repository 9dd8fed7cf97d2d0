"""Who may stand for election and who may be voted for, around PySyncObj's own votes.

Two rules are added. Before a node starts an election it asks whether it would win (pre-vote, Ongaro's thesis, 9.6), so
a node that comes back from a partition disturbs nobody. And a node that heard from a leader within the shortest
election time-out does not vote (4.2.3): the leader's lease rests on this, see cluster/lease.py. Only a leader that
hands over lifts the second rule, by the `transfer` flag of its successor's request.
"""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster.pysyncobj_seams import Engine, Role
from cluster.raft_settings import Clock, RaftSettings

if TYPE_CHECKING:
    from cluster.links import Links


class Elections:
    def __init__(
        self, engine: Engine, links: "Links", settings: RaftSettings, clock: Clock, rng: random.Random
    ) -> None:
        self._engine = engine
        self._links = links
        self._settings = settings
        self._clock = clock
        self._rng = rng
        # A node that just started may have promised its vote's silence to a leader before: it counts as having heard.
        self.heard_ns = clock.now_ns()
        # Not a member any more, by word of the leader: it stops asking for votes.
        self.removed = False
        # The election of this tick was asked for by the old leader.
        self.by_transfer = False
        self._asked_term = 0  # the term of the pre-vote round, 0: none
        self._granted: dict[str, int] = {}
        self._won = False
        self._counted: set[tuple[int, str]] = set()

    def heard_leader(self) -> None:
        self.heard_ns = self._clock.now_ns()
        self.removed = False
        self._end_round()

    def leader_is_near(self) -> bool:
        """Whether a leader may hold a lease that this node's vote would break."""
        silence_s = (self._clock.now_ns() - self.heard_ns) / 1e9
        return self._engine.role is Role.LEADER or silence_s < self._settings.election_min_s

    def before_tick(self) -> None:
        """Let the coming tick start an election only if it would be won, or if the leader asked for it."""
        self.by_transfer = False
        if not self._engine.election_due:
            return
        alone = self._engine.quorum == 1
        if self.removed:
            self._engine.postpone_election()
        elif self._engine.transfer_in_progress:
            self.by_transfer = True
        elif not alone and not self._won:
            self._ask()

    def after_tick(self) -> None:
        if self._won and self._engine.role is Role.CANDIDATE:
            # A split vote need not cost a whole time-out: the pre-vote already keeps a second try harmless.
            self._engine.postpone_election(self._settings.election_min_s * self._rng.uniform(0.2, 1.0))
        if self._won and self._engine.role is not Role.FOLLOWER:
            self._end_round()

    def _ask(self) -> None:
        engine = self._engine
        engine.forget_leader()
        engine.postpone_election(self._settings.heartbeat_s * self._rng.uniform(0.5, 1.5))
        self._asked_term = engine.term + 1
        self._granted = {}
        request = {
            "type": "pre_vote",
            "term": self._asked_term,
            "last_log_index": engine.last_index,
            "last_log_term": engine.last_term,
        }
        for node_id in engine.others:
            self._links.send(node_id, request)

    def _end_round(self) -> None:
        self._asked_term = 0
        self._won = False

    def on_pre_vote(self, node_id: str, message: Mapping[str, Any]) -> None:
        engine = self._engine
        theirs = (message["last_log_term"], message["last_log_index"])
        if self.leader_is_near() or theirs < (engine.last_term, engine.last_index):
            return
        if self._asked_term and node_id < engine.node_id:
            self._end_round()  # of two who ask at once, one gives way
        engine.yield_election(self._settings.heartbeat_s * self._rng.uniform(1.0, 2.0))
        # A node that is terms behind learns here which term to ask for.
        self._links.send(node_id, {"type": "pre_vote_granted", "term": max(message["term"], engine.term + 1)})

    def on_pre_vote_granted(self, node_id: str, message: Mapping[str, Any]) -> None:
        engine = self._engine
        if not self._asked_term or message["term"] < self._asked_term or engine.term + 1 != self._asked_term:
            return
        self._granted[node_id] = message["term"]
        if self._won or 1 + len(self._granted) < engine.quorum or engine.role is Role.LEADER:
            return
        before = max(self._granted.values()) - 1
        if before > engine.term:
            engine.observe_term(before)
        self._won = True
        engine.elect_now()

    def may_vote(self, message: Mapping[str, Any]) -> bool:
        return bool(message["transfer"]) or not self.leader_is_near()

    def is_first_vote(self, node_id: str, message: Mapping[str, Any]) -> bool:
        """PySyncObj counts votes, not voters: a repeated message would count twice."""
        vote = (int(message["term"]), node_id)
        if vote in self._counted:
            return False
        self._counted = {counted for counted in self._counted if counted[0] >= vote[0]} | {vote}
        return True
