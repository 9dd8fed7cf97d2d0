"""One running Raft member: PySyncObj, driven from the event loop, with our log, links and elections around it.

Every received message, proposal and finished sync leads to one coalesced tick at the end of the loop's turn; a timer
ticks for what depends on time alone. No thread, no sleep. Whatever the disk refuses stops the member for good.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from pysyncobj.node import Node

from cluster.append_filter import CommittedConflict
from cluster.disk import Disk
from cluster.elections import Elections
from cluster.errors import (
    MembershipRefused,
    NoLeader,
    OutcomeUnknown,
    PeerChangeUnderWay,
    SnapshotDamaged,
    StorageFailed,
)
from cluster.follower import Follower
from cluster.lost_log import LogLost
from cluster.meters import clock
from cluster.peers import Peer, PeerChange
from cluster.pysyncobj_seams import NO_OP_COMMAND, UNKNOWN_TERM, Engine, Log, Refusal, Role
from cluster.raft_meters import RaftMeters
from cluster.raft_settings import Clock, RaftSettings
from cluster.replication import PeerProgress, Replicator
from cluster.snapshot_stream import Received, SnapshotReceiver, SnapshotSender, SnapshotSource
from cluster.transport import OutgoingTransport, Router

if TYPE_CHECKING:
    from cluster.links import Links

logger = logging.getLogger(__name__)


class RaftLog(Log, Protocol):
    """The journal as the driver uses it: it must be told when to sync, and tells when it has."""

    on_synced: Callable[[int], None]

    @property
    def synced_index(self) -> int: ...
    @property
    def tail_was_cut(self) -> bool: ...
    def flush(self) -> None: ...


class Machine(Protocol):
    """What the log is applied to."""

    @property
    def applied_index(self) -> int: ...
    @property
    def durable_index(self) -> int: ...
    @property
    def restored_index(self) -> int: ...
    def can_apply(self, body: bytes) -> bool: ...
    def apply_entry(self, index: int, term: int, body: bytes) -> object: ...
    def apply_change(self, index: int, term: int, change: PeerChange) -> None: ...
    def note_applied(self, index: int, term: int) -> None: ...
    def open_snapshot(self) -> SnapshotSource: ...
    async def prepare_snapshot(self, file: Path) -> None: ...
    def install_snapshot(self) -> Sequence[Peer]: ...


class RaftMember:
    """Runs from `start` to `stop`, once. All methods belong to the event loop."""

    def __init__(
        self,
        node_id: str,
        peers: Sequence[Peer],
        log: RaftLog,
        machine: Machine,
        links: "Links",
        settings: RaftSettings,
        clock: Clock,
        rng: random.Random,
        snapshots_folder: Path,
        disk: Disk,
        on_log_lost: Callable[[LogLost], StorageFailed],
        meters: RaftMeters,
    ) -> None:
        """`on_log_lost` keeps the node from starting again, and says how it is to stop."""
        self._meters = meters
        self.on_change: Callable[[], None] = lambda: None
        self.on_failed: Callable[[StorageFailed], None] = lambda error: None
        self.before_tick: Callable[[], None] = lambda: None
        self._log = log
        self._on_log_lost = on_log_lost
        self._machine = machine
        self._links = links
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        transport = OutgoingTransport()
        self._engine = Engine(
            node_id, peers, log, transport, settings, clock, rng, self._apply_entry, machine.apply_change
        )
        self._engine.resume_at(machine.applied_index)
        self._elections = Elections(self._engine, links, settings, clock, rng)
        self._follower = Follower(self._engine, links, lambda: log.synced_index, machine.can_apply)
        self._replicator = Replicator(
            self._engine,
            links,
            settings,
            clock,
            lambda: log.synced_index,
            self._open_stream,
            lambda: machine.restored_index,
            meters,
        )
        self._router = Router(self._engine, links, self._elections, self._follower, self._replicator, self._on_chunk)
        transport.attach(self._router)
        transport.on_members_changed = self._refresh_links
        self._receiver = SnapshotReceiver(snapshots_folder, disk)
        self._shown_peers: dict[str, str] = {}
        self._installing: asyncio.Task[None] | None = None
        self._leaving: dict[str, str] = {}
        self._joining: dict[str, str] = {}
        self.leading_term = 0  # as Store.leading_term says: every read asks for it, so each event leaves it right
        self._running = False
        self._tick_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._shown: tuple[object, ...] = ()
        self._role, self._role_in, self._was_ready = Role.FOLLOWER, 0, False
        self._apply_s = 0.0
        self._lease_until_ns = 0
        self._handed_over_in = 0  # the term in which this leader asked another to take over
        self._closing_in = 0  # the term in which it stopped taking writes, to let that other catch up
        self._changing = False
        self._compacted_at = machine.applied_index
        self._applied_bytes = 0

    # Life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self._meters.state[Role.FOLLOWER].value += 1
        self._log.on_synced = lambda index: self._step(self._synced)
        self._links.on_message = lambda node_id, message: self._step(self._receive, node_id, message)
        self._links.on_connected = lambda node_id: self._step(self._connected, node_id)
        self._links.on_disconnected = lambda node_id: self._step(self._engine.connected, node_id, False)
        self._refresh_links()
        if self._engine.quorum == 1:
            self._engine.elect_now()  # nobody else could be the leader
        self._pulse()

    def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self.leading_term = 0
        if self._timer is not None:
            self._timer.cancel()
        self._log.on_synced = lambda index: None
        self._links.on_message = lambda node_id, message: None
        self._links.on_connected = self._links.on_disconnected = lambda node_id: None
        self._links.set_peers({})
        self._replicator.close()
        self._receiver.discard()

    # What is so now ----------------------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        return self._engine.role

    @property
    def leader_id(self) -> str | None:
        return self._engine.leader_id

    @property
    def raft_term(self) -> int:
        return self._engine.term

    @property
    def commit_index(self) -> int:
        return self._engine.commit_index

    @property
    def removed(self) -> bool:
        return self._elections.removed

    @property
    def last_contact_ms(self) -> int:
        if self.role is Role.LEADER:
            return 0
        return (self._clock.now_ns() - self._elections.heard_ns) // 1_000_000

    @property
    def is_ready_leader(self) -> bool:
        """Leader, with its own first entry applied, so that its state holds everything committed before it."""
        return (
            self._running and self._engine.role is Role.LEADER and self._engine.last_applied >= self._engine.noop_index
        )

    @property
    def takes_writes(self) -> bool:
        return self.leading_term != 0 and self._closing_in != self.leading_term

    def require_lease(self, since: int | None = None) -> None:
        """See cluster/lease.py. Raises NoLeader."""
        leading_term = self.leading_term
        self._meters.verify_leader.value += 1
        if (
            leading_term
            and (since is None or since == leading_term)
            and self._handed_over_in != leading_term
            and self._clock.now_ns() < self._lease_until_ns
        ):
            return
        if since is not None and since != self._engine.term:
            # It may have led before, and read what was old by then: only an unbroken leadership covers a read.
            raise NoLeader("this node became the active node while the request was under way; send it again")
        if not self.is_ready_leader or self._handed_over_in == self._engine.term:
            raise NoLeader("this node is not the active node of the cluster")
        self._lease_until_ns = self._replicator.lease_start_ns() + int(self._settings.lease_s * 1e9)
        if self._clock.now_ns() >= self._lease_until_ns:
            raise NoLeader("this node cannot reach a majority of the cluster")

    def is_connected(self, node_id: str) -> bool:
        return self._links.connected(node_id)

    def progress(self) -> dict[str, PeerProgress]:
        return self._replicator.progress() if self.role is Role.LEADER else {}

    # What it is asked to do --------------------------------------------------------------------------------------

    def propose(self, body: bytes, done: Callable[[object], None]) -> None:
        """Append an entry in this tick or the next one; done gets what the machine made of it, or a Refusal."""
        self._engine.propose(body, done)

    async def decide(self, body: bytes, *, alone: bool = False) -> object:
        """Propose an entry and return what the machine made of it.

        Args:
            alone: Take no other writes until it is applied: they were planned on what it will replace.

        Raises:
            NoLeader: It will never apply.
            OutcomeUnknown: Leadership or time was lost; it may yet apply.
        """
        if not self.takes_writes:
            raise NoLeader("this node is not the active node of the cluster; nothing was changed")
        answer: asyncio.Future[object] = self._loop.create_future()

        def done(result: object) -> None:
            if alone:
                self._closing_in = 0
            if not answer.done():
                answer.set_result(result)

        if alone:
            self._closing_in = self._engine.term
        self._engine.propose(body, done)
        self.wake()
        try:
            async with asyncio.timeout(self._settings.commit_timeout_s):
                result = await answer
        except TimeoutError:
            raise OutcomeUnknown("the entry was not confirmed in time; it may still take effect") from None
        if result is Refusal.NEVER:
            raise NoLeader("leadership was lost; nothing was changed")
        if result is Refusal.UNKNOWN:
            raise OutcomeUnknown("leadership changed before the entry was confirmed; it may still take effect")
        return result

    async def change(self, change: PeerChange) -> None:
        """Add or remove one member, and return once the change is committed.

        Raises:
            NoLeader: Not the leader, or not yet fit to serve.
            PeerChangeUnderWay: Its time will come.
            OutcomeUnknown: Leadership or time was lost on the way.
        """
        if not self.takes_writes:
            raise NoLeader("this node is not the active node of the cluster; the peers are as they were")
        if self._changing or self._engine.change_is_pending():
            raise PeerChangeUnderWay
        answer: asyncio.Future[object] = self._loop.create_future()
        self._changing = True
        try:
            self._engine.propose_change(change, lambda result: None if answer.done() else answer.set_result(result))
            self.wake()
            async with asyncio.timeout(self._settings.commit_timeout_s):
                result = await answer
        except TimeoutError:
            raise OutcomeUnknown("the peer change was not confirmed in time; look at the peers again") from None
        finally:
            self._changing = False
        if result is Refusal.NEVER:
            raise MembershipRefused("the peer change was refused; look at the peers again")
        if result is Refusal.UNKNOWN:
            raise OutcomeUnknown("leadership changed during the peer change; look at the peers again")
        if change.kind == "rem":
            self._links.send(change.node_id, {"type": "not_a_member", "term": self._engine.term})

    async def admit(self, node_id: str, address: str) -> None:
        """Bring a node up to the log, and then make it a member: a vote it cannot use yet would cost a majority.

        Raises:
            NoLeader, OutcomeUnknown: As `change`.
            PeerChangeUnderWay: Its time will come.
            MembershipRefused: The node cannot be reached or does not keep up.
        """
        if not self.takes_writes:
            raise NoLeader("this node is not the active node of the cluster; the peers are as they were")
        if self._joining or self._changing:
            raise PeerChangeUnderWay
        raft_term = self._engine.term
        self._joining = {node_id: address}
        self._refresh_links()
        self._replicator.learn(node_id)
        try:
            has_caught_up = await self._until(
                lambda: (
                    self._engine.term != raft_term or self._replicator.acked_index(node_id) >= self._engine.commit_index
                ),
                self._settings.join_timeout_s,
            )
            if not has_caught_up:
                raise MembershipRefused(f"node {node_id} at {address} was not reached or does not keep up")
            await self.change(PeerChange("add", node_id, address))
        finally:
            self._joining = {}
            self._replicator.end_learning(node_id)
            if self._running:
                self._refresh_links()

    async def transfer_leadership(self, node_id: str | None) -> None:
        """Hand over to this follower, or to the one that has most of the log; returns once this node leads no more.

        Raises:
            NoLeader: Not the leader.
            MembershipRefused: There is nobody to hand over to, or nobody took over.
        """
        if not self.takes_writes:
            raise NoLeader("this node is not the active node of the cluster")
        engine = self._engine
        raft_term = engine.term
        candidates = [other for other in engine.others if self._links.connected(other) and node_id in (None, other)]
        if not candidates:
            raise MembershipRefused("there is no connected peer that could take over")
        # Among equals the term decides, so that no two of them hand over to each other for ever.
        target = max(candidates, key=lambda other: (engine.match_index(other), crc32(f"{raft_term} {other}".encode())))
        self._closing_in = raft_term
        caught_up = await self._until(
            lambda: engine.term != raft_term or engine.match_index(target) == engine.last_index,
            self._settings.election_max_s,
        )
        if not caught_up:
            self._closing_in = 0
            raise MembershipRefused(f"node {target} is too far behind to take over")
        if engine.term == raft_term and engine.role is Role.LEADER:
            self._handed_over_in = raft_term  # before the question leaves: see cluster/lease.py
            engine.send_timeout_now(target, lambda result: None)
        if not await self._until(lambda: engine.role is not Role.LEADER, self._settings.election_max_s):
            # The question may still arrive, so this term's lease is gone for good. Another term can have one.
            self._step(self._step_down)
            raise MembershipRefused(f"node {target} did not take over")

    async def _until(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it becomes so in time."""
        deadline = self._loop.time() + timeout_s
        while self._running and not is_so():
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(self._settings.pulse_s / 10)
        return True

    def _step_down(self) -> None:
        self._engine.observe_term(self._engine.term)
        self._engine.postpone_election()

    # Events ------------------------------------------------------------------------------------------------------

    def _step(self, act: Callable[..., None], *arguments: Any) -> None:
        """Run one event to its end: what it does, what it sends, what it makes durable, who has to know."""
        if not self._running:
            return
        try:
            act(*arguments)
            self._router.flush()
            self._log.flush()
        except StorageFailed as error:
            self._fail(error)
        except OSError as error:
            self._fail(StorageFailed(f"the disk refused a snapshot: {error.strerror}"))
        except LogLost as error:
            if self._log.tail_was_cut:
                logger.warning("the end of the log that was cut off at the start is fetched again: %s", error)
            else:
                self._fail(self._on_log_lost(error))
        except CommittedConflict as error:
            self._fail(StorageFailed(f"{error}: the data of this node or of the leader is damaged"))
        except Exception as error:
            logger.exception("Raft stops: its state can no longer be trusted")
            self._fail(StorageFailed(f"an internal error stopped Raft: {type(error).__name__}"))
        if self._running:
            self._tell_changes()

    def _receive(self, node_id: str, message: dict[str, Any]) -> None:
        began_s = clock()
        try:
            self._router.receive(node_id, message)
        except ValueError as error:
            logger.warning("a %s message of node %s was ignored: %s", message["type"], node_id, error)
        self._meters.received(message, clock() - began_s)
        self.wake()

    def _connected(self, node_id: str) -> None:
        self._engine.connected(node_id, True)
        self._replicator.reconnected(node_id)
        self.wake()

    def _synced(self) -> None:
        self._follower.on_synced()
        self._replicator.on_synced()
        self.wake()

    def _pulse(self) -> None:
        self._timer = self._loop.call_later(self._settings.pulse_s, self._pulse)
        self._step(self._beat)

    def _beat(self) -> None:
        self._follower.pulse()
        for at in self.progress().values():
            if at.last_contact_ms is not None:
                self._meters.last_contact.add(at.last_contact_ms / 1000)
        self._replicator.pulse()
        self._tick()

    def wake(self) -> None:
        """Tick at the end of this turn of the event loop."""
        if not self._tick_is_due:
            self._tick_is_due = True
            self._loop.call_soon(self._woken)

    def _woken(self) -> None:
        self._tick_is_due = False
        self._step(self._tick)

    def _tick(self) -> None:
        if self._engine.quorum == 1 and self._log.synced_index < self._engine.last_index:
            # Alone, the next tick would commit what is not yet durable. The sync that `_step` starts comes back here.
            return
        self.before_tick()
        led_by, applied_before = self._engine.leader_id, self._engine.last_applied
        self._elections.before_tick()
        if led_by is not None and self._engine.leader_id is None:
            self._meters.heartbeat_timeouts.value += 1
        self._engine.tick()
        self._elections.after_tick()
        applied = self._engine.last_applied
        if applied > applied_before:
            self._meters.applied(applied - applied_before, self._apply_s)
            self._apply_s = 0.0
        if applied > self._machine.applied_index:
            # PySyncObj's own entries change no key, but the state has to know that it is past them.
            self._machine.note_applied(applied, self._engine.term_at(applied) or 0)
        self._compact()

    def _tell_changes(self) -> None:
        is_ready = self.is_ready_leader
        self.leading_term = self._engine.term if is_ready else 0
        now = (self._engine.role, self._engine.leader_id, self._engine.term, is_ready, self.removed)
        if now != self._shown:
            self._shown = now
            self._count_change()
            self.on_change()

    def _count_change(self) -> None:
        """Role or readiness may have changed: what of it is counted."""
        before, now = self._role, self._engine.role
        if self.is_ready_leader and not self._was_ready:
            self._meters.barrier.value += 1
        self._was_ready = self.is_ready_leader
        if now is not before:
            # Nobody else has begun a term: it gave up by itself.
            gave_up = before is Role.LEADER and self._role_in == self._engine.term != self._handed_over_in
            self._meters.role_changed(before, now, gave_up=gave_up)
            self._role, self._role_in = now, self._engine.term

    def _fail(self, error: StorageFailed) -> None:
        self.stop()
        self.on_failed(error)

    # Parts of events ---------------------------------------------------------------------------------------------

    def _apply_entry(self, index: int, term: int, body: bytes) -> object:
        self._applied_bytes += len(body)
        began_s = clock()
        try:
            return self._machine.apply_entry(index, term, body)
        finally:
            self._apply_s += clock() - began_s

    def _refresh_links(self) -> None:
        peers = {node_id: node.address for node_id, node in self._engine.others.items()}
        for node_id, address in self._shown_peers.items():
            if node_id not in peers:
                # It has yet to be told that it left.
                self._leaving[node_id] = address
                self._loop.call_later(self._settings.election_max_s * 2, self._forget, node_id)
        self._shown_peers = peers
        for node_id in peers:
            # Its link may be older than its membership, and PySyncObj knows only of members' links.
            self._engine.connected(node_id, self._links.connected(node_id))
        self._links.set_peers(self._leaving | self._joining | peers)

    def _forget(self, node_id: str) -> None:
        self._leaving.pop(node_id, None)
        if self._running:
            self._links.set_peers(self._leaving | self._joining | self._shown_peers)

    def _open_stream(self, node_id: str) -> SnapshotSender:
        source = self._machine.open_snapshot()
        snapshot_id = f"{self._engine.term}-{source.index}-{self._rng.getrandbits(64):016x}"
        resend_ns = int(self._settings.election_max_s * 1e9)
        logger.info("node %s is behind the log: it gets a snapshot of index %d", node_id, source.index)
        return SnapshotSender(source, snapshot_id, self._engine.term, node_id, self._links, resend_ns)

    def _on_chunk(self, node: Node, message: dict[str, Any]) -> None:
        engine = self._engine
        engine.deliver(node, {"type": "append_entries", "term": message["term"], "commit_index": 0})
        index = message["index"]
        if index <= engine.commit_index or engine.term_at(index) == message["snapshot_term"]:
            self._follower.installed(node, index)  # Raft, section 7: what follows the snapshot stays
            return

        def answer(offset: int, ok: bool) -> None:
            self._links.send(
                node.id,
                {"type": "snapshot_ack", "term": engine.term, "snapshot_id": message["snapshot_id"]}
                | {"offset": offset, "ok": ok},
            )

        if self._installing is not None:
            return  # the answer comes when it is done
        received = self._receiver.on_chunk(message, answer)
        if received is not None:
            self._installing = self._loop.create_task(self._install(node, received, answer))

    async def _install(self, node: Node, received: Received, answer: Callable[[int, bool], None]) -> None:
        """Unpacking takes long and goes on beside Raft; taking over is one event."""
        began_s = clock()
        try:
            await self._machine.prepare_snapshot(received.file)
            self._step(self._take_over, node, received)
        except SnapshotDamaged as error:
            logger.warning("the snapshot of node %s was refused: %s", node.id, error)
            answer(0, False)
        except StorageFailed as error:
            self._fail(error)
        finally:
            self._meters.got_snapshot.add(clock() - began_s)
            self._installing = None
            self._receiver.discard()

    def _take_over(self, node: Node, received: Received) -> None:
        engine = self._engine
        if received.index <= engine.commit_index or self._log.synced_index < 1:
            return  # an empty log beside a state that is not would be refused at the next start
        peers = self._machine.install_snapshot()
        prev = (NO_OP_COMMAND, received.index - 1, UNKNOWN_TERM)
        engine.install(prev, (NO_OP_COMMAND, received.index, received.term), peers)
        self._compacted_at = received.index
        self._refresh_links()
        self._follower.installed(node, received.index)

    def _compact(self) -> None:
        """Drop what the state holds durably, but for the trailing entries."""
        settings, engine = self._settings, self._engine
        applied = engine.last_applied
        many = applied - self._compacted_at >= max(1, settings.trailing_logs // 8)
        if not many and self._applied_bytes < settings.trailing_bytes // 8:
            return
        self._compacted_at, self._applied_bytes = applied, 0
        first = engine.first_index
        keep_from = applied
        kept_bytes = 0
        while (
            keep_from > first and applied - keep_from < settings.trailing_logs and kept_bytes < settings.trailing_bytes
        ):
            keep_from -= 1
            kept_bytes += len(self._log[keep_from - first][0])
        # The second entry of the log must be one that a restart need not apply again.
        keep_from = min(keep_from, self._machine.durable_index - 1)
        if keep_from > first:
            with self._meters.compact.timing():
                self._log.deleteEntriesTo(keep_from - first)
