"""PySyncObj behind one door: every private name of it that we use is in this file, and in no other.

PySyncObj holds Raft's state machine: terms, votes, the log, the commit index, membership and the order of applying.
What it would do with sockets, threads, clocks, pickles and dump files is replaced here. docs/decisions/0001 says why
for each. A test pins the version and asserts that every name in USED_NAMES exists.

Nothing here may keep a reference to what a command holds, or unpickle anything.
"""

import logging
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Final, Protocol

import pysyncobj.syncobj as upstream
from pysyncobj.config import FAIL_REASON, SERIALIZER_STATE
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from cluster.errors import StorageFailed
from cluster.peers import Peer, PeerChange, decode_change, encode_change
from cluster.raft_settings import Clock, RaftSettings

VERSION: Final = "0.3.17"
# What this file reaches into. "_SyncObj__x" is the attribute or method __x of the class SyncObj.
USED_NAMES: Final = (
    "_SyncObj__raftState",
    "_SyncObj__raftLeader",
    "_SyncObj__raftCurrentTerm",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftElectionDeadline",
    "_SyncObj__raftMatchIndex",
    "_SyncObj__noopIDx",
    "_SyncObj__otherNodes",
    "_SyncObj__transferInProgress",
    "_SyncObj__serializer",
    "_SyncObj__setCurrentTerm",
    "_SyncObj__setState",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__updateClusterConfiguration",
    "_SyncObj__doApplyCommand",
    "_SyncObj__onMessageReceived",
    "_SyncObj__onNodeConnected",
    "_SyncObj__onNodeDisconnected",
    "_applyCommand",
)
REPLACED_MODULE_NAMES: Final = ("createJournal", "createPoller", "monotonicTime", "random", "pickle")

_REGULAR: Final = bytes((upstream._COMMAND_TYPE.REGULAR,))
_MEMBERSHIP: Final = bytes((upstream._COMMAND_TYPE.MEMBERSHIP,))
NO_OP_COMMAND: Final = bytes((upstream._COMMAND_TYPE.NO_OP,))

# PySyncObj wants two entries in a log. After a snapshot the one before the last is made up: only entry 1 of a new
# cluster is really of this term, so nobody takes the made-up one for a proof.
UNKNOWN_TERM: Final = 0

Entry = tuple[bytes, int, int]
"""(command, index, term), as PySyncObj and the journal hold it."""

# PySyncObj cuts an entry of this size into pickled pieces. No list of entries in memory ever reaches it.
_NEVER_BYTES: Final = sys.maxsize


class Role(Enum):
    FOLLOWER = upstream._RAFT_STATE.FOLLOWER
    CANDIDATE = upstream._RAFT_STATE.CANDIDATE
    LEADER = upstream._RAFT_STATE.LEADER


# Asked for many times in each turn: a look-up costs a tenth of Role(...).
_ROLES: Final = {role.value: role for role in Role}


class Refusal(Enum):
    """Why PySyncObj did not apply a command."""

    NEVER = "never"  # not appended, or overwritten: it has not happened and never will
    UNKNOWN = "unknown"  # it may still happen


_NEVER: Final = (
    FAIL_REASON.QUEUE_FULL,
    FAIL_REASON.MISSING_LEADER,
    FAIL_REASON.DISCARDED,
    FAIL_REASON.NOT_LEADER,
    FAIL_REASON.REQUEST_DENIED,
)


class Log(Protocol):
    """The journal as PySyncObj and we use it: a list of entries that survives, with Raft's term and vote."""

    def add(self, command: bytes, idx: int, term: int) -> None: ...
    def deleteEntriesTo(self, entryTo: int) -> None: ...  # noqa: N802, N803
    def __getitem__(self, item: Any) -> Any: ...
    def __len__(self) -> int: ...
    def setRaftCommitIndex(self, raftCommitIndex: int) -> None: ...  # noqa: N802, N803
    def getRaftCommitIndex(self) -> int: ...  # noqa: N802
    def reset_to(self, prev_entry: Entry, last_entry: Entry) -> None: ...


class ApplyEntry(Protocol):
    def __call__(self, index: int, term: int, body: bytes) -> object: ...


class ApplyChange(Protocol):
    def __call__(self, index: int, term: int, change: PeerChange) -> None: ...


class _Surroundings:
    """The engine that is being called now: PySyncObj asks its module for clock, randomness and journal, not itself.

    A stack, because a link within one process (tests) delivers inside another engine's call.
    """

    def __init__(self) -> None:
        self.stack: list[Engine] = []

    def monotonic(self) -> float:
        return self.stack[-1].clock.now_ns() / 1e9 if self.stack else time.monotonic()

    def random(self) -> float:
        return self.stack[-1].rng.random()

    def journal(self, _file: object = None) -> Log:
        return self.stack[-1].log


class _NullPoller:
    """PySyncObj polls sockets at the end of each tick; it has none."""

    def poll(self, _timeout: float) -> None:
        return


class _ChangesOnly:
    """In place of pickle: speaks only our own format, and only of membership changes."""

    @staticmethod
    def dumps(value: Sequence[Any], _protocol: object = None) -> bytes:
        kind, node_id, node = value
        return encode_change(PeerChange(kind, node_id, node.address))

    @staticmethod
    def loads(data: bytes) -> list[Any]:
        change = decode_change(data)
        return [change.kind, change.node_id, Node(change.node_id, address=change.address)]


class _NoDumps:
    """In place of PySyncObj's dump file: state is in LMDB, and followers get it by cluster/snapshot_stream.py."""

    def checkSerializing(self) -> tuple[int, None]:  # noqa: N802
        return SERIALIZER_STATE.NOT_SERIALIZING, None

    def getTransmissionData(self, _node: Node) -> tuple[bytes, bool, bool]:  # noqa: N802
        # "First and last piece": PySyncObj then leaves the follower to the transport, which sees the message.
        return b"", True, True

    def cancelTransmisstion(self, _node: Node) -> None:  # noqa: N802
        return


_surroundings = _Surroundings()
upstream.monotonicTime = _surroundings.monotonic
upstream.random = _surroundings
upstream.createJournal = _surroundings.journal
upstream.createPoller = lambda _kind: _NullPoller()
upstream.pickle = _ChangesOnly
upstream.PIPE_NOTIFIER_ENABLED = False
# It logs each lost election as if an operator had to act on it; what matters is logged by us.
logging.getLogger("pysyncobj").setLevel(logging.CRITICAL)


def is_membership(command: bytes) -> bool:
    return command[:1] == _MEMBERSHIP


def change_of(command: bytes) -> PeerChange:
    """The change in a membership command. Raises ValueError when there is none."""
    return decode_change(command[1:])


def body_of(command: bytes) -> bytes | None:
    """What was proposed, if the command is one of ours."""
    return command[1:] if command[:1] == _REGULAR else None


def require_command(command: bytes) -> None:
    """Refuse what could not be applied later, while it can still be refused. Raises ValueError."""
    if is_membership(command):
        change_of(command)
    elif command[:1] not in (_REGULAR, NO_OP_COMMAND):
        raise ValueError("an entry of an unknown kind")


class _Raft(upstream.SyncObj):  # type: ignore[misc]
    """PySyncObj with one method replaced: applying. The rest is used as it is."""

    def __init__(self, engine: "Engine", conf: upstream.SyncObjConf, transport: Transport) -> None:
        self.engine = engine
        super().__init__(engine.self_node, engine.initial_nodes, conf, transport=transport)
        self._SyncObj__serializer = _NoDumps()

    def _SyncObj__doApplyCommand(self, command: bytes) -> object:  # noqa: N802
        return self.engine.apply(self._SyncObj__raftLastApplied + 1, command)


class Engine:
    """One Raft member, driven from outside: it acts only inside the calls of this class, and never blocks or waits."""

    def __init__(
        self,
        node_id: str,
        peers: Sequence[Peer],
        log: Log,
        transport: Transport,
        settings: RaftSettings,
        clock: Clock,
        rng: random.Random,
        apply_entry: ApplyEntry,
        apply_change: ApplyChange,
    ) -> None:
        self.node_id = node_id
        self.log = log
        self.clock = clock
        self.rng = rng
        self._settings = settings
        self._apply_entry = apply_entry
        self._apply_change = apply_change
        nodes = {peer.node_id: Node(peer.node_id, address=peer.address) for peer in peers}
        self.self_node: Node = nodes.pop(node_id, None) or Node(node_id, address="")
        self.initial_nodes = list(nodes.values())
        with self:
            self._raft: Any = _Raft(self, _conf(settings), transport)

    def __enter__(self) -> None:
        _surroundings.stack.append(self)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        _surroundings.stack.pop()

    # What is so now.

    @property
    def role(self) -> Role:
        return _ROLES[self._raft._SyncObj__raftState]

    @property
    def leader_id(self) -> str | None:
        leader = self._raft._SyncObj__raftLeader
        return None if leader is None else leader.id

    @property
    def term(self) -> int:
        return int(self._raft._SyncObj__raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self._raft._SyncObj__raftCommitIndex)

    @property
    def last_applied(self) -> int:
        return int(self._raft._SyncObj__raftLastApplied)

    @property
    def first_index(self) -> int:
        return int(self.log[0][1])

    @property
    def last_index(self) -> int:
        return int(self.log[-1][1])

    @property
    def last_term(self) -> int:
        return int(self.log[-1][2])

    @property
    def noop_index(self) -> int:
        """Where this leader's own first entry is. Only what is applied up to there makes it fit to serve."""
        return int(self._raft._SyncObj__noopIDx or 0)

    @property
    def others(self) -> Mapping[str, Node]:
        """The other members by node id, by the newest configuration in the log, committed or not."""
        return {node.id: node for node in self._raft._SyncObj__otherNodes}

    def is_member(self, node_id: str) -> bool:
        return Node(node_id) in self._raft._SyncObj__otherNodes

    @property
    def quorum(self) -> int:
        """How many members, this one included, are a majority."""
        return (len(self._raft._SyncObj__otherNodes) + 1) // 2 + 1

    @property
    def transfer_in_progress(self) -> bool:
        """Whether the leader asked this node to take over and its election has not begun yet."""
        return bool(self._raft._SyncObj__transferInProgress)

    @property
    def election_due(self) -> bool:
        return self.role is not Role.LEADER and self._raft._SyncObj__raftElectionDeadline < self.clock.now_ns() / 1e9

    def match_index(self, node_id: str) -> int:
        return int(self._raft._SyncObj__raftMatchIndex.get(Node(node_id), 0))

    def term_at(self, index: int) -> int | None:
        """The term of the entry at index; None when the log does not hold it, or only a made-up one."""
        position = index - self.first_index
        if not 0 <= position < len(self.log):
            return None
        term = int(self.log[position][2])
        return None if term == UNKNOWN_TERM and index > 1 else term

    def change_is_pending(self) -> bool:
        """Whether the log holds a membership change that is not applied. PySyncObj means to check it and does not."""
        entries: list[Entry] = self.log[max(0, self.last_applied + 1 - self.first_index) :]
        return any(is_membership(command) for command, _, _ in entries)

    # What makes it act.

    def tick(self) -> None:
        """Commit, apply, step down, start an election, append what was proposed: whatever is due.

        Raises:
            StorageFailed: From applying or from the journal. The node must stop.
        """
        with self:
            self._raft.doTick(0.0)

    def deliver(self, node: Node, message: dict[str, Any]) -> None:
        """Hand over a message in PySyncObj's own words. What peers send is checked and reduced before it gets here."""
        with self:
            self._raft._SyncObj__onMessageReceived(node, message)

    def connected(self, node_id: str, is_connected: bool) -> None:
        """Tell PySyncObj of a member's link. Only with one does it send, or stand for election."""
        with self:
            if is_connected and self.is_member(node_id):
                self._raft._SyncObj__onNodeConnected(self.others[node_id])
            else:
                self._raft._SyncObj__onNodeDisconnected(Node(node_id))

    def propose(self, body: bytes, done: Callable[[object], None]) -> None:
        """Append a command of ours at the next tick; done gets what apply returned, or a Refusal."""
        with self:
            self._raft._applyCommand(_REGULAR + body, _answering(done))

    def propose_change(self, change: PeerChange, done: Callable[[object], None]) -> None:
        with self:
            self._raft._applyCommand(_MEMBERSHIP + encode_change(change), _answering(done))

    def send_timeout_now(self, node_id: str, done: Callable[[object], None]) -> None:
        """Ask a follower that has the whole log to take over."""
        with self:
            self._raft.transferLeadership(Node(node_id), _answering(done))

    def observe_term(self, term: int) -> None:
        """Be a follower in this term of another node (Raft, section 5.1). PySyncObj does so for votes only."""
        with self:
            if term > self.term:
                self._raft._SyncObj__setCurrentTerm(term, None)
            self._raft._SyncObj__setState(upstream._RAFT_STATE.FOLLOWER)
            self._raft._SyncObj__raftLeader = None

    def forget_leader(self) -> None:
        self._raft._SyncObj__raftLeader = None

    def elect_now(self) -> None:
        """Let the next tick start an election."""
        self._raft._SyncObj__raftElectionDeadline = 0.0

    def postpone_election(self, delay_s: float | None = None) -> None:
        """No election before delay_s seconds from now; without it, before a random election time-out."""
        with self:
            if delay_s is None:
                delay_s = self._raft._SyncObj__generateRaftTimeout()
            self._raft._SyncObj__raftElectionDeadline = upstream.monotonicTime() + delay_s

    def yield_election(self, delay_s: float) -> None:
        """As postpone_election, but a later deadline stays."""
        with self:
            now = upstream.monotonicTime()
            self._raft._SyncObj__raftElectionDeadline = max(self._raft._SyncObj__raftElectionDeadline, now + delay_s)

    def resume_at(self, index: int) -> None:
        """Continue after index, which the state already holds: applied, hence committed."""
        self._raft._SyncObj__raftLastApplied = max(self.last_applied, index)
        self._raft._SyncObj__raftCommitIndex = max(self.commit_index, index)

    def commit_to(self, index: int) -> None:
        """Count entries up to index as committed: a leader said so, and they are verified and durable here."""
        if index > self.commit_index:
            self._raft._SyncObj__raftCommitIndex = index
            self.log.setRaftCommitIndex(index)

    def install(self, prev: Entry, last: Entry, peers: Sequence[Peer]) -> None:
        """Replace the log by these two entries of a snapshot that the state has taken in, and the members by peers."""
        with self:
            self.log.reset_to(prev, last)
            self._raft._SyncObj__raftLastApplied = last[1]
            self._raft._SyncObj__raftCommitIndex = last[1]
            self.log.setRaftCommitIndex(last[1])
            self._raft._SyncObj__updateClusterConfiguration(
                [Node(peer.node_id, address=peer.address) for peer in peers if peer.node_id != self.node_id]
            )

    def apply(self, index: int, command: bytes) -> object:
        """Called by PySyncObj for each committed entry, in order. Membership took effect when it was appended."""
        entry_term = self.term_at(index)
        assert entry_term is not None
        if command[:1] == _REGULAR:
            return self._apply_entry(index, entry_term, command[1:])
        if is_membership(command):
            self._apply_change(index, entry_term, change_of(command))
        elif command[:1] != NO_OP_COMMAND:
            # Refused when it arrived, so the disk made it. Skipping it would make this node differ from the others.
            raise StorageFailed(f"the log entry {index} is of an unknown kind")
        return None


def _answering(done: Callable[[object], None]) -> Callable[[object, int], None]:
    def callback(result: object, reason: int) -> None:
        if reason == FAIL_REASON.SUCCESS:
            done(result)
        else:
            done(Refusal.NEVER if reason in _NEVER else Refusal.UNKNOWN)

    return callback


def not_leader_answer(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a leader would answer to PySyncObj's own forwarding, which is not used."""
    return {
        "type": "apply_command_response",
        "request_id": message.get("request_id"),
        "error": FAIL_REASON.NOT_LEADER,
    }


def _conf(settings: RaftSettings) -> upstream.SyncObjConf:
    return upstream.SyncObjConf(
        autoTick=False,
        appendEntriesUseBatch=False,
        commandsWaitLeader=False,
        dynamicMembershipChange=True,
        appendEntriesPeriod=settings.heartbeat_s,
        raftMinTimeout=settings.election_min_s,
        raftMaxTimeout=settings.election_max_s,
        connectionTimeout=settings.election_max_s,
        leaderFallbackTimeout=settings.fallback_s,
        appendEntriesBatchSizeBytes=_NEVER_BYTES,
        logCompactionMinEntries=sys.maxsize,
        logCompactionMinTime=sys.maxsize,
    )
