"""Deliberate breakages of `cluster/`: each switches off one point of design.md, section 4. The simulator must object.

Each is a context manager that patches production code while it is open. They name private parts on purpose.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import cluster.append_filter as append_filter
import cluster.follower as follower
import cluster.group_commit as group_commit
import cluster.replication as replication
import cluster.wire as wire
from cluster.elections import Elections
from cluster.entry import decode
from cluster.errors import NoLeader
from cluster.follower import Follower
from cluster.group_commit import AppliedEntry
from cluster.journal import Journal
from cluster.peers import PeerChange
from cluster.pysyncobj_seams import Engine, Refusal, Role
from cluster.raft import RaftMember
from cluster.raft_settings import RaftSettings
from cluster.replication import Replicator
from cluster.state_machine import SnapshotChunks, StateMachine
from cluster.transport import Router
from cluster.vote import Vote
from tests.cluster.simulator.disk import MemoryDisk
from tests.cluster.simulator.plan import Plan, plan


@dataclass(frozen=True, slots=True)
class Mutant:
    """One breakage: the point of design.md section 4 it belongs to, and how to make it."""

    name: str
    point: int
    apply: Callable[[], AbstractContextManager[Any]]
    # What its effect needs often, as the settings of every seed have it rarely.
    nodes: int | None = None
    often: Sequence[str] = ()

    def plan(self, seed: int, seconds: float) -> Plan:
        """The plan of a seed, with more of the faults that this breakage shows under."""
        chosen = plan(seed, seconds, self.nodes)
        if not self.often:
            return chosen
        weights = {kind: 4 if kind in self.often else min(weight, 1) for kind, weight in chosen.weights.items()}
        return replace(chosen, weights=weights, sync_s=(0.0, 0.002), writes_per_s=0.5)


def _set(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, value)


# 1 Durability


@contextmanager
def _acknowledges_before_sync() -> Iterator[None]:
    original = Follower.__init__

    def init(self: Follower, engine: Engine, links: Any, synced_index: Any, can_apply: Any) -> None:
        original(self, engine, links, lambda: engine.last_index, can_apply)

    with patch.object(Follower, "__init__", init), patch.object(Journal, "setRaftCommitIndex", _note_commit):
        yield


def _note_commit(self: Journal, index: int) -> None:
    self._commit_index = index


@contextmanager
def _counts_own_unsynced_copy() -> Iterator[None]:
    with (
        patch.object(Replicator, "_usable", lambda self, follower: follower.acked_index),
        patch.object(Journal, "setRaftCommitIndex", _note_commit),
    ):
        yield


def _vote_in_memory(self: Journal, term: int, voted_for: str | None) -> None:
    self._vote = Vote(term, voted_for)


@contextmanager
def _forgets_its_vote() -> Iterator[None]:
    """The term is stored, the vote is not. Pre-vote and the silence after a start, which hide that, are off as well."""
    original = Journal.setCurrentTerm

    def store(self: Journal, term: int, voted_for: str | None) -> None:
        original(self, term, None)

    def stand(self: Elections) -> None:
        self._won = True

    with _forgets_the_promise(), patch.object(Journal, "setCurrentTerm", store), patch.object(Elections, "_ask", stand):
        yield


@contextmanager
def _syncs_nothing() -> Iterator[None]:
    """fdatasync is left out: what is written counts as durable."""
    with patch.object(MemoryDisk, "sync", lambda self, content: None):
        yield


# 2 Truncation


def _all_of_it(log: Any, prev_index: int, prev_term: int, entries: Any, commit_index: int) -> Any:
    """As PySyncObj has it: everything after prev_index goes, whether it matches or not."""
    known = log.term_at(prev_index)
    if known != prev_term:
        return append_filter.Mismatch(log.last_index + 1 if known is None else prev_index)
    verified = prev_index + len(entries)
    return append_filter.Reduced(prev_index, prev_term, entries, verified, min(commit_index, verified))


@contextmanager
def _commit_not_clamped() -> Iterator[None]:
    original = append_filter.reduce_append

    def reduce(log: Any, prev_index: int, prev_term: int, entries: Any, commit_index: int) -> Any:
        reduced = original(log, prev_index, prev_term, entries, commit_index)
        if isinstance(reduced, append_filter.Reduced):
            last = max(log.last_index, reduced.verified_index)
            return replace(reduced, verified_index=last, commit_index=min(commit_index, last))
        return reduced

    with patch.object(follower, "reduce_append", reduce):
        yield


@contextmanager
def _no_log_check() -> Iterator[None]:
    """Entries are taken without asking whether the one before them matches."""
    original = append_filter.reduce_append

    def reduce(log: Any, prev_index: int, prev_term: int, entries: Any, commit_index: int) -> Any:
        return original(log, prev_index, log.term_at(prev_index) or prev_term, entries, commit_index)

    with patch.object(follower, "reduce_append", reduce):
        yield


# 3 Stale acknowledgements


# 4 Wire


def _unchecked(message: dict[str, Any], protocol: Any) -> dict[str, Any]:
    return message


# 5 Apply


def _raises(self: StateMachine, index: int, term: int, body: bytes) -> object:
    return AppliedEntry(index, self._state.apply(index, term, decode(body)))


@contextmanager
def _applies_chance() -> Iterator[None]:
    """What an entry does depends on the node that applies it."""
    original = StateMachine.apply_entry
    calls = itertools.count(1)

    def apply(self: StateMachine, index: int, term: int, body: bytes) -> object:
        if next(calls) % 50 == 0:
            self._state.note_applied(index, term)
            return Refusal.NEVER
        return original(self, index, term, body)

    with patch.object(StateMachine, "apply_entry", apply):
        yield


# 6 Outcomes


@contextmanager
def _says_never() -> Iterator[None]:
    """What was sent and not confirmed is reported as not done."""
    with patch.object(group_commit, "OutcomeUnknown", NoLeader):
        yield


# 7 Lease


def _no_lease(self: RaftMember, since: int | None = None) -> None:
    if not self.is_ready_leader:
        raise NoLeader("not the leader")


@contextmanager
def _lease_from_receipt() -> Iterator[None]:
    original = Replicator.on_ack

    def on_ack(self: Replicator, node_id: str, message: Any) -> None:
        original(self, node_id, {**message, "sent_at": self._now()})

    with patch.object(Replicator, "on_ack", on_ack):
        yield


@contextmanager
def _lease_of_one() -> Iterator[None]:
    """One answer is enough for the lease. Check quorum, which hides that, is off as well."""
    with (
        patch.object(replication, "lease_start_ns", lambda answered, quorum, now: min(now, max([*answered, 0]))),
        patch.object(RaftSettings, "fallback_s", property(lambda self: 60.0)),
    ):
        yield


@contextmanager
def _forgets_the_promise() -> Iterator[None]:
    """A node that starts counts as one that has heard no leader."""
    original = Elections.__init__

    def init(self: Elections, *arguments: Any) -> None:
        original(self, *arguments)
        self.heard_ns = 0

    with patch.object(Elections, "__init__", init):
        yield


@contextmanager
def _keeps_lease_in_hand_over() -> Iterator[None]:
    original = RaftMember.require_lease

    def require(self: RaftMember, since: int | None = None) -> None:
        handed, self._handed_over_in = self._handed_over_in, 0
        try:
            original(self, since)
        finally:
            self._handed_over_in = handed

    with patch.object(RaftMember, "require_lease", require):
        yield


# 8 Snapshots


@contextmanager
def _snapshot_one_too_far() -> Iterator[None]:
    """A snapshot says that it holds one entry more than it does."""
    chunks: Any = SnapshotChunks
    original = chunks.index.fget
    with patch.object(SnapshotChunks, "index", property(lambda self: original(self) + 1)):
        yield


@contextmanager
def _news_of_what_is_compacted() -> Iterator[None]:
    """News of a commit names an entry that is compacted away, with a term of 0."""
    original = Replicator._send

    def send(self: Replicator, node_id: str, follower: Any, prev_index: int, entries: list[Any]) -> bool:
        if entries or prev_index == 0 or self._engine.term_at(prev_index) is not None:
            return original(self, node_id, follower, prev_index, entries)
        message = {"type": "append_entries", "term": self._engine.term, "commit_index": self._engine.commit_index}
        about = {"entries": [], "prev_index": prev_index, "prev_term": 0, "sent_at": self._now()}
        return self._links.send(node_id, message | about)

    with patch.object(Replicator, "_send", send):
        yield


@contextmanager
def _compacts_what_is_not_durable() -> Iterator[None]:
    """The log drops what the state holds in memory only."""
    with patch.object(StateMachine, "durable_index", property(lambda self: self.applied_index)):
        yield


@contextmanager
def _no_reset_of_the_log() -> Iterator[None]:
    """The state knows its applied index wrongly after a restart: entries are applied again."""
    with patch.object(Engine, "resume_at", lambda self, index: None):
        yield


# 9 Membership


@contextmanager
def _changes_at_once() -> Iterator[None]:
    """Several membership changes at a time."""
    original = RaftMember.change

    async def change(self: RaftMember, wanted: Any) -> None:
        self._changing = False
        await original(self, wanted)

    async def admit(self: RaftMember, node_id: str, address: str) -> None:
        self._joining = {**self._joining, node_id: address}
        self._refresh_links()
        self._replicator.learn(node_id)
        await change(self, PeerChange("add", node_id, address))

    with (
        patch.object(Engine, "change_is_pending", lambda self: False),
        patch.object(RaftMember, "change", change),
        patch.object(RaftMember, "admit", admit),
    ):
        yield


@contextmanager
def _changes_before_no_op() -> Iterator[None]:
    """A new leader changes the peers before an entry of its own term is committed."""
    leads = property(lambda self: self._running and self._engine.role is Role.LEADER)
    with ExitStack() as stack:
        stack.enter_context(patch.object(RaftMember, "is_ready_leader", leads))
        stack.enter_context(patch.object(RaftMember, "takes_writes", leads))
        stack.enter_context(patch.object(Engine, "propose_change", _past_the_check(Engine.propose_change)))
        yield


def _past_the_check(original: Callable[..., None]) -> Callable[..., None]:
    def propose(self: Engine, change: Any, done: Any) -> None:
        self._raft._SyncObj__noopIDx = 0
        original(self, change, done)

    return propose


MUTANTS: Sequence[Mutant] = (
    Mutant("acknowledge before fsync", 1, _acknowledges_before_sync),
    Mutant("leader counts its own unsynced entry", 1, _counts_own_unsynced_copy),
    Mutant("vote not stored", 1, _forgets_its_vote, 5, ("crash", "isolate_leader", "delays", "trip")),
    Mutant("term and vote not stored", 1, _set(Journal, "setCurrentTerm", _vote_in_memory)),
    Mutant("no fsync at all", 1, _syncs_nothing),
    Mutant("follower drops what matches", 2, _set(follower, "reduce_append", _all_of_it)),
    Mutant("commit index not clamped to what is verified", 2, _commit_not_clamped),
    Mutant("entries taken without the log check", 2, _no_log_check),
    Mutant("acknowledgements of other terms accepted", 3, _set(Router, "_is_of_our_term", lambda self, message: True)),
    Mutant("messages taken unchecked", 4, _set(wire, "_in_shape", _unchecked)),
    Mutant("apply raises for what an entry says", 5, _set(StateMachine, "apply_entry", _raises)),
    Mutant("apply differs between nodes", 5, _applies_chance),
    Mutant("unknown outcomes reported as never", 6, _says_never),
    Mutant("reads without a lease", 7, _set(RaftMember, "require_lease", _no_lease)),
    Mutant("lease from the time of receipt", 7, _lease_from_receipt),
    Mutant("lease by one answer", 7, _lease_of_one, 5, ("bridge", "one_way", "split", "isolate_leader")),
    Mutant(
        "votes although a leader is near", 7, _set(Elections, "leader_is_near", lambda self: False), 3, ("cut_pair",)
    ),
    Mutant(
        "a restart forgets the promise not to vote",
        7,
        _forgets_the_promise,
        3,
        ("cut_pair", "crash"),
    ),
    Mutant("lease kept while handing over", 7, _keeps_lease_in_hand_over),
    Mutant("snapshot index one too high", 8, _snapshot_one_too_far),
    Mutant("found: news of what is compacted away", 8, _news_of_what_is_compacted),
    Mutant("log compacted before the state is durable", 8, _compacts_what_is_not_durable),
    Mutant("log replayed onto newer state", 8, _no_reset_of_the_log),
    Mutant("several membership changes at once", 9, _changes_at_once),
    Mutant("membership change before the no-op", 9, _changes_before_no_op),
)
