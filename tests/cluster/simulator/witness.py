"""What must hold after each step of a simulated cluster, whatever was done to it. It objects by raising Violation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from cluster.entry import decode
from cluster.group_commit import AppliedEntry
from cluster.outcome import Applied
from cluster.pysyncobj_seams import Role, change_of, is_membership
from cluster.store import Put

if TYPE_CHECKING:
    from tests.cluster.simulator.node import SimNode

_FOLLOWER = Role.FOLLOWER.value
_LEADER = Role.LEADER.value
KEYS = tuple(f"k{number}" for number in range(8))


class Violation(BaseException):
    """A property of the cluster was broken; the text begins with its name. No Exception: nothing may catch it."""


@dataclass(slots=True)
class Attempt:
    """One write that a client began."""

    key: str
    outcome: str = "pending"  # acknowledged, never, rejected, unknown
    index: int = 0  # where it was applied first


@dataclass(slots=True)
class _Seen:
    """What was last seen of one life of a node."""

    raft_term: int = 0
    role: int = 0
    commit: int = 0
    applied: int = 0
    change: int = 0  # index of the membership change that it has appended in this step, as the leader


@dataclass(slots=True)
class Witness:
    """Knows what every node has done since the beginning, across crashes."""

    leaders: dict[int, str] = field(default_factory=dict)
    entries: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    committed_in: dict[int, int] = field(default_factory=dict)  # the term in which an entry was first committed
    committed_max: int = 0
    applied: dict[int, tuple[int, int]] = field(default_factory=dict)
    contents: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    model: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    model_index: int = 0
    attempts: dict[bytes, Attempt] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)  # the highest index acknowledged for a key
    newest_of_all: int = 0
    votes: dict[tuple[str, int, int], str] = field(default_factory=dict)
    acknowledged: int = 0
    reads: int = 0
    digest: int = 0
    seen: dict[Any, _Seen] = field(default_factory=dict)

    def note(self, *facts: object) -> None:
        """Make these facts part of the digest by which two runs of a seed are compared."""
        self.digest = crc32(repr(facts).encode(), self.digest)

    # After each step ---------------------------------------------------------------------------------------------

    def look(self, node: "SimNode") -> None:
        """Look at what changed in this node. Cheap when nothing did: it runs after every step."""
        member = node.member
        if member is None:
            return
        raft = member._engine._raft
        seen = self.seen.get(node.life)
        if seen is None:
            seen = self.seen[node.life] = _Seen(applied=node.store._state.applied_index)
            self._look_at_start(node)
        term, role = raft._SyncObj__raftCurrentTerm, raft._SyncObj__raftState
        if role != _FOLLOWER and (seen.role != role or seen.raft_term != term):
            self.voted(node, term, node.node_id)
        if role == _LEADER and (seen.role != _LEADER or seen.raft_term != term):
            self._new_leader(node, term)
        if term < seen.raft_term:
            raise Violation(f"term: {node.node_id} went back from {seen.raft_term} to {term}")
        seen.raft_term, seen.role = term, role
        commit = raft._SyncObj__raftCommitIndex
        if commit != seen.commit:
            self._commit_moved(node, seen.commit, commit, seen.change)
            seen.commit = commit
        seen.change = 0
        applied = node.store._state._applied.index
        if applied != seen.applied:
            self._applied_moved(node, seen.applied, applied)
            seen.applied = applied
        if role == _LEADER and applied < self.newest_of_all and node.has_lease():
            raise Violation(
                f"stale read: {node.node_id} has applied {applied} and would answer reads, "
                f"although {self.newest_of_all} was acknowledged"
            )

    def voted(self, node: "SimNode", term: int, candidate: str) -> None:
        """One vote in a term, across restarts."""
        known = self.votes.setdefault((node.node_id, node.incarnation, term), candidate)
        if known != candidate:
            raise Violation(f"one vote: {node.node_id} voted for {known} and for {candidate} in term {term}")

    def _look_at_start(self, node: "SimNode") -> None:
        """What a node finds on its disk is part of the one history as well."""
        entries = node.store._journal._entries
        for position in range(2, len(entries)):
            self.entry_added(node, entries[position], entries[position - 1][2])
        state_index = node.store._state.applied_index
        self._same_content(node, state_index)
        if max(state_index, entries[-1][1]) < min(node.kept_index, self.committed_max):
            raise Violation(f"durability: {node.node_id} had entry {node.kept_index} on its disk, and starts without")

    def entry_added(self, node: "SimNode", entry: tuple[bytes, int, int], prev_term: int) -> None:
        """Log matching: an entry of this index and term is the same everywhere, and so is the one before it."""
        command, index, term = entry
        known = self.entries.setdefault((index, term), (crc32(command), prev_term))
        if known != (crc32(command), prev_term):
            raise Violation(f"log matching: entry {index} of term {term} on {node.node_id} differs")

    def _new_leader(self, node: "SimNode", term: int) -> None:
        self.note("leader", node.node_id, term)
        known = self.leaders.setdefault(term, node.node_id)
        if known != node.node_id:
            raise Violation(f"election safety: {known} and {node.node_id} both lead in term {term}")
        for other in node.others_running():
            if other.store.term < term and other.has_lease():
                raise Violation(f"lease: {other.node_id} holds one, and {node.node_id} leads term {term} already")
        entries = node.store._journal._entries
        first, last = entries[0][1], entries[-1][1]
        for index in range(self.committed_max, 0, -1):
            committed_term = self.committed.get(index)
            if committed_term is None or self.committed_in[index] >= term:
                continue  # by a leader after this one
            held = entries[index - first][2] if first < index <= last else None
            if index > last or (held is not None and held != committed_term):
                raise Violation(f"leader completeness: {node.node_id} leads term {term} without entry {index}")
            if index <= first:
                break

    def change_added(self, node: "SimNode", index: int) -> None:
        """A leader appends a membership change: the one before is committed, and so is an entry of its own term."""
        engine = node.member._engine
        if engine.role is not Role.LEADER:
            return
        if (seen := self.seen.get(node.life)) is not None:
            seen.change = index
        if engine.commit_index < engine.noop_index:
            raise Violation(f"membership: {node.node_id} changes the peers before its no-op is committed")
        entries = node.store._journal._entries
        behind = entries[max(0, engine.commit_index + 1 - entries[0][1]) :]
        if any(is_membership(entry[0]) for entry in behind if entry[1] < index):
            raise Violation(f"membership: {node.node_id} changes the peers while a change is not committed")

    def _commit_moved(self, node: "SimNode", before: int, now: int, change: int) -> None:
        if now < before:
            raise Violation(f"commit index: {node.node_id} went back from {before} to {now}")
        entries = node.store._journal._entries
        first = entries[0][1]
        for index in range(max(before, first) + 1, now + 1):
            if index - first >= len(entries):
                raise Violation(f"commit index: {node.node_id} committed entry {index}, which it does not have")
            term = entries[index - first][2]
            self.committed_in.setdefault(index, node.member._engine.term)
            if self.committed.setdefault(index, term) != term:
                raise Violation(f"state machine safety: entry {index} was committed with two terms")
        self.committed_max = max(self.committed_max, now)
        if node.member._engine.role is Role.LEADER:
            self._on_a_majority(node, now, self.committed.get(now), change)

    def _on_a_majority(self, leader: "SimNode", index: int, term: int | None, change: int) -> None:
        """What a leader counts as committed is on the disks of a majority, whatever anybody acknowledged.

        Of the members before `change`: in one step a leader first commits, and then appends a change of members.
        """
        holders = {leader.node_id, *leader.member._engine.others}
        if change > index:
            entries = leader.store._journal._entries
            made = change_of(entries[change - entries[0][1]][0])
            holders = holders | {made.node_id} if made.kind == "rem" else holders - {made.node_id}
        count = sum(leader.holds(holder, index, term) for holder in holders)
        if count <= len(holders) // 2:
            raise Violation(
                f"durability: {leader.node_id} committed entry {index}, which is on {count} disks of {len(holders)}"
            )

    def _applied_moved(self, node: "SimNode", before: int, now: int) -> None:
        if now < before:
            raise Violation(f"applied index: {node.node_id} went back from {before} to {now}")
        self._same_content(node, now)

    def _same_content(self, node: "SimNode", index: int) -> None:
        content = tuple(_contents(node))
        if self.contents.setdefault(index, content) != content:
            raise Violation(f"state machine safety: {node.node_id} holds another state at index {index}")

    # Applying ----------------------------------------------------------------------------------------------------

    def applied_entry(self, node: "SimNode", index: int, term: int, body: bytes, result: object) -> None:
        """An entry of ours was applied on this node, with this result."""
        known = self.applied.get(index)
        if known is not None:
            if known != (term, crc32(body)):
                raise Violation(f"state machine safety: {node.node_id} applied another entry {index}")
            return
        self.applied[index] = (term, crc32(body))
        self.note("applied", index, term, crc32(body))
        if index <= self.model_index:
            raise Violation(f"state machine safety: {node.node_id} applied entry {index} that others passed over")
        self.model_index = index
        if isinstance(result, AppliedEntry):
            self._apply_to_model(index, puts_of(body), result)

    def _apply_to_model(self, index: int, sets: Sequence[Sequence[Put]], result: AppliedEntry) -> None:
        for writes, outcome in zip(sets, result.outcomes, strict=True):
            holds = all(
                write.seen_index is None or self.model.get(write.key, (b"", 0))[1] == write.seen_index
                for write in writes
            )
            if holds != isinstance(outcome, Applied):
                raise Violation(f"check-and-set: entry {index} was {'refused' if holds else 'taken'} wrongly")
            if not holds:
                continue
            for write in writes:
                self.model[write.key] = (write.value, index)
                self._took_effect(write.value, index)

    def _took_effect(self, value: bytes, index: int) -> None:
        attempt = self.attempts.get(value)
        if attempt is None:
            raise Violation(f"once or never: entry {index} holds a value that nobody wrote")
        if attempt.index:
            raise Violation(f"once or never: a value took effect at {attempt.index} and again at {index}")
        if attempt.outcome in ("never", "rejected"):
            raise Violation(f"outcome: a write reported as {attempt.outcome} took effect at index {index}")
        attempt.index = index

    # Clients -----------------------------------------------------------------------------------------------------

    def begin(self, key: str, value: bytes) -> Attempt:
        attempt = self.attempts[value] = Attempt(key)
        return attempt

    def answered(self, attempt: Attempt, outcome: str, index: int = 0) -> None:
        """A client was told what became of its write."""
        attempt.outcome = outcome
        self.note(outcome, index)
        if outcome == "acknowledged":
            self.acknowledged += 1
            if attempt.index != index:
                raise Violation(f"acknowledged write: said to be at {index}, took effect at {attempt.index}")
            self.newest[attempt.key] = max(self.newest.get(attempt.key, 0), index)
            self.newest_of_all = max(self.newest_of_all, index)
        elif outcome in ("never", "rejected") and attempt.index:
            raise Violation(f"outcome: a write reported as {outcome} took effect at index {attempt.index}")

    def read(self, node: "SimNode", key: str, index: int, acknowledged_before: int) -> None:
        """A read passed the lease. `index` wrote what it saw."""
        self.reads += 1
        if index < acknowledged_before:
            raise Violation(
                f"stale read: {node.node_id} showed {key} of index {index}, "
                f"{acknowledged_before} was acknowledged before the read began"
            )

    # At the end --------------------------------------------------------------------------------------------------

    def compare(self, nodes: Sequence["SimNode"]) -> None:
        """Every node holds what the model holds: nothing acknowledged is lost, nothing else is there."""
        wanted = {key: (value, index) for key, (value, index) in self.model.items()}
        for node in nodes:
            found = {key: (stored.value, stored.index) for key, stored in node.store.scan("")}
            if found != wanted:
                raise Violation(f"acknowledged write: {node.node_id} ends with another state than was written")


def _contents(node: "SimNode") -> Iterator[tuple[int, int] | None]:
    get = node.store._state.get
    for key in KEYS:
        stored = get(key)
        yield (stored.index, crc32(stored.value)) if stored is not None else None


def puts_of(body: bytes) -> list[list[Put]]:
    """The sets of an entry; clients of the simulator only put."""
    return [[write for write in writes if isinstance(write, Put)] for writes in decode(body)]
