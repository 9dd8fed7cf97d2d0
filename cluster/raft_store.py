"""The replicated store of one node: the state, the log, and, while the node is unsealed, the Raft member on them."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import lost_log, recovery
from cluster.disk import Disk, RealDisk
from cluster.entry import encode
from cluster.errors import DataFolderRefused, MembershipRefused, NoLeader, SnapshotRefused, StorageFailed
from cluster.folder import DataFolder
from cluster.group_commit import NOT_LEADER, AppliedEntry, GroupCommit
from cluster.journal import Journal
from cluster.journal_files import REMEDY
from cluster.meters import clock
from cluster.peers import Peer, PeerChange, encode_peers
from cluster.pysyncobj_seams import NO_OP_COMMAND, UNKNOWN_TERM, Role, body_of, change_of, is_membership
from cluster.raft import RaftMember
from cluster.raft_meters import RaftMeters
from cluster.raft_settings import BootClock, Clock, RaftSettings
from cluster.replication import PeerProgress
from cluster.restore import StagedRestores, encode_restore, restored_name
from cluster.snapshot import SnapshotReader
from cluster.state import State
from cluster.state_machine import StateMachine
from cluster.store import Stored, Write

if TYPE_CHECKING:
    from cluster.links import Links

# Inside the class `list` is a method.
_Peers = list[Peer]
_Names = list[str]

__all__ = ["Peer", "PeerProgress", "RaftSettings", "RaftStore", "Role"]


class RaftStore:
    """Implements cluster.store.Store. Lives on the event loop on which it was made; local reads work from then on.

    `on_role_change` is called whenever role, leader, term, readiness or membership of this node changed. `on_failed`
    is called once: the process must stop.
    """

    def __init__(
        self,
        folder: DataFolder,
        settings: RaftSettings,
        clock: Clock | None = None,
        *,
        rng: random.Random | None = None,
        disk: Disk | None = None,
        threaded: bool = True,
        open_state: Callable[..., State] = State,
        open_journal: Callable[..., Journal] = Journal,
    ) -> None:
        """Open state and log.

        Args:
            rng: Spreads the election time-outs.
            threaded: False does all disk work on the calling thread (the simulation).
            open_state, open_journal: What makes them; the simulation has its own.

        Raises:
            DataFolderRefused: What is there is damaged.
        """
        self.node_id = folder.node_id
        self.meters = RaftMeters()
        self.last_written_ms = folder.last_written_ms()  # as DataFolder has it, before this process writes
        self.on_role_change: Callable[[], None] = lambda: None
        self.on_failed: Callable[[StorageFailed], None] = lambda error: None
        self._folder = folder
        self._settings = settings
        self._clock = clock or BootClock()
        self._rng = rng or random.SystemRandom()
        loop = asyncio.get_running_loop()

        def call_soon(act: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(act)

        self._disk = disk or RealDisk()
        lost_log.require_none(folder.raft, self._disk)
        self._state = open_state(folder.state, call_soon, threaded=threaded)
        self._journal = open_journal(folder.raft, self._disk, call_soon, threaded=threaded)
        self._state.on_failed = self._journal.on_failed = self._failed
        self._state.on_flushed = self.meters.flushed
        self._journal.on_written = self._written
        self._threaded = threaded
        self._staged = StagedRestores(folder.state)
        self._group = GroupCommit(settings, self._propose, self._wake)
        self._machine = StateMachine(self._state, self._staged, self.meters, self._group.own_sets, threaded=threaded)
        self._member: RaftMember | None = None
        self._checks: asyncio.Task[None] | None = None
        self._failure: StorageFailed | None = None
        self._define_gauges()
        try:
            self._reconcile()
            recovery.recover(folder.raft, self.node_id, self._state, self._journal)
            self._recover_restores()
        except BaseException:
            self.close()
            raise

    # Life --------------------------------------------------------------------------------------------------------

    @property
    def is_bootstrapped(self) -> bool:
        """Whether there is a peer list: this node began a cluster or has joined one."""
        return bool(self._newest_peers())

    def bootstrap(self, address: str) -> None:
        """Begin a new cluster of this node alone, durably; also where an earlier attempt was cut off.

        Raises:
            MembershipRefused: The node has data already.
        """
        own = [Peer(self.node_id, address)]
        if [peer.node_id for peer in self._newest_peers()] == [self.node_id] and not self._state.list("", limit=1):
            self._state.set_peers(encode_peers(own))
            self._state.flush_now()
        else:
            self.adopt(own)

    def stand_alone(self, address: str) -> None:
        """Make this node the only member, durably, before `start`: as raft/peers.json does (cluster/recovery.py)."""
        if [peer.node_id for peer in self._newest_peers()] != [self.node_id]:
            recovery.put_alone(self._folder.raft, self.node_id, address)
            recovery.recover(self._folder.raft, self.node_id, self._state, self._journal)

    def adopt(self, peers: Sequence[Peer]) -> None:
        """Take the peer list that the leader gave this joining node, durably.

        Raises:
            MembershipRefused: The node has data already, or is not in the list.
        """
        if self.is_bootstrapped or self._state.applied_index > 0:
            raise MembershipRefused("this node already holds the data of a cluster")
        if all(peer.node_id != self.node_id for peer in peers):
            raise MembershipRefused("the peer list does not name this node")
        self._state.set_peers(encode_peers(peers))
        # Entry 1 is the same in every log: PySyncObj begins each with it.
        self._state.note_applied(1, 0)
        self._state.flush_now()

    async def start(self, links: "Links", address: str) -> None:
        """Run Raft from here on, over links that are started. Raises NoLeader if there is no peer list yet."""
        if self._member is not None:
            return
        peers = [peer for peer in self._newest_peers() if peer.node_id != self.node_id]
        if not self.is_bootstrapped:
            raise NoLeader("this node belongs to no cluster yet")
        member = RaftMember(
            self.node_id,
            [*peers, Peer(self.node_id, address)],
            self._journal,
            self._machine,
            links,
            self._settings,
            self._clock,
            self._rng,
            self._folder.snapshots,
            self._disk,
            partial(lost_log.note, self._folder.raft, self._disk),
            self.meters,
        )
        member.on_change = self._changed
        member.on_failed = self._failed
        member.before_tick = self._group.collect
        self._member = member
        member.start()
        if self._threaded:
            self._checks = asyncio.create_task(self._keep_checking())

    async def stop(self) -> None:
        """Run Raft no more (sealed, or shutting down). Reads of local state still work; `start` may follow."""
        if self._checks is not None:
            self._checks.cancel()
            self._checks = None
        if self._member is not None:
            self._member.stop()
            self._group.stop()
            self._member = None
            self.on_role_change()
        if self._failure is None:
            await self._state.flush()

    def close(self) -> None:
        """Give back the files, after `stop`. The folder stays the caller's."""
        self._journal._destroy()
        self._state.close()

    # Who is who --------------------------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        return self._member.role if self._member else Role.FOLLOWER

    @property
    def leader_id(self) -> str | None:
        """The node that leads as far as this one knows; None during an election."""
        return self._member.leader_id if self._member else None

    @property
    def term(self) -> int:
        return self._member.raft_term if self._member else self._journal.getCurrentTerm()

    @property
    def commit_index(self) -> int:
        return self._member.commit_index if self._member else self._state.applied_index

    @property
    def last_contact_ms(self) -> int:
        """How long ago a leader was heard; 0 on the leader."""
        return self._member.last_contact_ms if self._member else 0

    @property
    def is_ready_leader(self) -> bool:
        """Leader whose own no-op is applied: only then may it serve."""
        return self._member is not None and self._member.is_ready_leader

    @property
    def removed(self) -> bool:
        """Whether the leader says that this node is no member any more."""
        return self._member is not None and self._member.removed

    @property
    def last_index(self) -> int:
        """Index of the newest entry of this node's log, committed or not."""
        return self._journal[-1][1] if len(self._journal) else 0

    def term_at(self, index: int) -> int | None:
        """The term of the entry at index; None when the log does not hold it."""
        position = index - self._journal[0][1] if len(self._journal) else -1
        return self._journal[position][2] if 0 <= position < len(self._journal) else None

    def peers(self) -> _Peers:
        """The members by the newest peer list known here, by node id."""
        return sorted(self._newest_peers(), key=lambda peer: peer.node_id)

    def peer_progress(self) -> dict[str, PeerProgress]:
        """On the leader, how far each other member is."""
        return self._member.progress() if self._member else {}

    async def add_peer(self, node_id: str, address: str) -> None:
        """Add a voting member; one that is there already with this address is left as it is.

        The node must be running meanwhile, or start soon, on the peer list with itself in it: it gets the log first
        and its vote, in an entry that this call waits for, once it has caught up.

        Raises:
            NoLeader, OutcomeUnknown: As `commit`.
            MembershipRefused: Another change is under way, the node id is taken, or the node does not answer.
        """
        known = {peer.node_id: peer.address for peer in self.peers()}
        if known.get(node_id) == address and self._leading().takes_writes:
            return
        if node_id in known:
            raise MembershipRefused(f"node {node_id} is a peer at {known[node_id]}; remove it first")
        await self._leading().admit(node_id, address)

    async def remove_peer(self, node_id: str) -> None:
        """Remove a member. Asked to remove itself, the leader hands over, and its successor has to be asked.

        Raises:
            NoLeader, OutcomeUnknown: As `commit`. NoLeader also after the leader has handed over.
            MembershipRefused: Another change is under way, the node is unknown, or nobody can take over.
        """
        known = {peer.node_id: peer.address for peer in self.peers()}
        if node_id not in known:
            raise MembershipRefused(f"node {node_id} is not a peer")
        if node_id == self.node_id:
            await self.transfer_leadership()
            # Nothing was removed: whoever asked asks again, and the new active node does it.
            raise NoLeader("this node was the active one and has handed over; ask the new active node")
        await self._leading().change(PeerChange("rem", node_id, known[node_id]))

    async def transfer_leadership(self, node_id: str | None = None) -> None:
        """Hand over to this node, or to the one that is furthest. Raises NoLeader, MembershipRefused."""
        await self._leading().transfer_leadership(node_id)

    # Store -------------------------------------------------------------------------------------------------------

    @property
    def applied_index(self) -> int:
        return self._state.applied_index

    def get(self, key: str) -> Stored | None:
        began_s = clock()
        stored = self._state.get(key)
        self.meters.get.add(clock() - began_s)
        return stored

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> _Names:
        with self.meters.list.timing():
            return self._state.list(prefix, after=after, limit=limit)

    def scan(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        return self._state.scan(prefix)

    def watch(self, callback: Callable[[Collection[str]], None], below: Sequence[str] = ()) -> Callable[[], None]:
        return self._state.watch(callback, below)

    async def commit(self, writes: Sequence[Write]) -> int:
        """As Store.commit."""
        if self._member is None or not self._member.takes_writes:
            raise NoLeader(NOT_LEADER)
        began_s = clock()
        index = await self._group.commit(writes)
        self.meters.committed(writes, clock() - began_s)
        return index

    @property
    def leading_term(self) -> int:
        """As Store.leading_term."""
        return self._member.leading_term if self._member else 0

    def require_lease(self, since: int | None = None) -> None:
        """As Store.require_lease."""
        self._leading().require_lease(since)

    # This node alone ---------------------------------------------------------------------------------------------

    def local_get(self, name: str) -> bytes | None:
        return self._state.local_get(name)

    def local_put(self, name: str, value: bytes) -> None:
        self._state.local_put(name, value)

    def local_delete(self, name: str) -> None:
        self._state.local_delete(name)

    # Snapshots ---------------------------------------------------------------------------------------------------

    @property
    def snapshots_folder(self) -> Path:
        """Where snapshots are kept while they are worked on. A restart empties it."""
        return self._folder.snapshots

    async def export(self) -> SnapshotReader:
        """One consistent copy of the state, in chunks; the caller closes it. Raises StorageFailed."""
        await self._state.flush()
        return self._state.export()

    async def reserve_index(self) -> int:
        """The index of an entry that writes nothing. Raises NoLeader, OutcomeUnknown.

        It is what the rows of a restore say that they were written at: no reader has seen any key at it before, so
        no write that was planned on the old state passes for one that knows the new.
        """
        applied = await self._leading().decide(encode([[]]))
        assert isinstance(applied, AppliedEntry)
        return applied.index

    async def stage_restore(self, name: str, stream: Path) -> None:
        """Unpack a stream beside the state, verified and durable, so that an entry may name it.

        Raises:
            SnapshotDamaged: The stream is not the one that the name says.
            SnapshotRefused: The disk has no room for it or failed. Nothing was changed.
        """
        self._staged.discard(keep=self._names_in_log())
        if self._threaded:
            await asyncio.to_thread(self._staged.stage, name, stream)
        else:
            self._staged.stage(name, stream)

    async def restore(self, name: str) -> None:
        """Replace the state of the whole cluster by what is staged under this name here and on a majority.

        Raises:
            NoLeader: It will never happen.
            OutcomeUnknown: It may yet happen.
        """
        member = self._leading()
        if not self._staged.holds(name):
            raise SnapshotRefused("the snapshot is no longer staged on this node; restore it again")
        self._group.refuse_gathered()
        self.meters.restore.value += 1
        with self.meters.restore_user.timing():
            await member.decide(encode_restore(name), alone=True)

    # Inside ------------------------------------------------------------------------------------------------------

    def _leading(self) -> RaftMember:
        if self._member is None:
            raise NoLeader(NOT_LEADER)
        return self._member

    def _propose(self, body: bytes, done: Callable[[object], None]) -> None:
        began_s = clock()

        def decided(result: object) -> None:
            self.meters.commit_time.add(clock() - began_s)
            done(result)

        self.meters.apply.value += 1
        self.meters.entry_size.add(len(body))
        self._leading().propose(body, decided)
        self.meters.fsm_enqueue.add(clock() - began_s)

    def _written(self, took_s: float) -> None:
        """The journal has written entries; on its own thread, perhaps."""
        (self.meters.dispatch if self.role is Role.LEADER else self.meters.store_logs).add(took_s)

    def _define_gauges(self) -> None:
        gauge, gauges = self.meters.registry.gauge, self.meters.registry.gauges
        gauge("raft.commitNumLogs", "Log entries applied together the last time.", lambda: self.meters.commit_count)
        gauge(
            "raft.leader.dispatchNumLogs",
            "Records written to disk together the last time.",
            lambda: self._journal.written_records,
        )
        gauge("raft.peers", "Members of the cluster.", lambda: len(self._newest_peers()))
        gauge("raft_storage.stats.applied_index", "Index of the last applied log entry.", lambda: self.applied_index)
        gauge("raft_storage.stats.commit_index", "Index of the last committed log entry.", lambda: self.commit_index)
        gauge(
            "raft_storage.stats.fsm_pending",
            "Committed log entries that are not applied yet.",
            lambda: max(0, self.commit_index - self.applied_index),
        )
        gauges(
            "raft_storage.follower.applied_index_delta",
            "Log entries that a follower does not have yet.",
            ("peer_id",),
            lambda: {(peer,): self.last_index - at.match_index for peer, at in self.peer_progress().items()},
        )
        gauges(
            "raft_storage.follower.last_heartbeat_ms",
            "Milliseconds since a follower was last heard.",
            ("peer_id",),
            lambda: {
                (peer,): at.last_contact_ms
                for peer, at in self.peer_progress().items()
                if at.last_contact_ms is not None
            },
        )
        gauges(
            "raft_storage.follower.connection_status",
            "Whether a follower is connected.",
            ("peer_id",),
            lambda: {(peer,): float(self._is_connected(peer)) for peer in self.peer_progress()},
        )

    def _is_connected(self, node_id: str) -> bool:
        return self._member is not None and self._member.is_connected(node_id)

    def _wake(self) -> None:
        if self._member is not None:
            self._member.wake()

    def _newest_peers(self) -> _Peers:
        """Raft uses the newest peer list in the log, committed or not."""
        peers = self._machine.peers()
        for command, _, _ in self._journal[self._position_behind(self._state.applied_index) :]:
            if is_membership(command):
                peers = change_of(command).applied_to(peers)
        return peers

    def _position_behind(self, index: int) -> int:
        return max(0, index + 1 - self._journal[0][1]) if len(self._journal) else 0

    def _reconcile(self) -> None:
        """Let the log hold the last applied entry: a crash may have kept the state and lost the log's unsynced end.

        Nothing acknowledged is lost: what this node acknowledged was synced, and what it applied is on a majority.
        """
        index, raft_term = self._state.applied.index, self._state.applied.raft_term
        self._require_one_age()
        if index < 1:
            return
        if index > 1 and not len(self._journal):
            raise DataFolderRefused(
                f"the journal in {self._folder.raft} is missing, although the state is at entry {index}. {REMEDY}"
            )
        position = index - self._journal[0][1] if len(self._journal) else -1
        if 0 <= position < len(self._journal) and self._journal[position][2] == raft_term:
            return
        if index == 1:
            return  # a node that adopted its peers and has never run
        self._journal.reset_to((NO_OP_COMMAND, index - 1, UNKNOWN_TERM), (NO_OP_COMMAND, index, raft_term))

    def _require_one_age(self) -> None:
        """Refuse a folder that was put together from parts of different ages: each alone looks like a sound one.

        Raises:
            DataFolderRefused: The state lacks what the log begins behind, or the vote is older than state or log.
        """
        index, raft_term = self._state.applied.index, self._state.applied.raft_term
        first, last_term = (self._journal[0][1], self._journal[-1][2]) if len(self._journal) else (1, 0)
        if first > max(index, 1) or (index < 1 and last_term > 0 and self._state.peers() is None):
            raise DataFolderRefused(
                f"the state in {self._folder.state} was removed or is an old copy: it ends at entry {index}, and the "
                f"journal begins at {first}. {REMEDY}"
            )
        if max(raft_term, last_term) > self._journal.getCurrentTerm():
            raise DataFolderRefused(
                f"the vote in {self._folder.raft} is an old copy: it is of an earlier Raft term than the data. {REMEDY}"
            )

    def _recover_restores(self) -> None:
        """After a restart: what the log says of restores."""
        self._staged.discard_old(keep=self._names_in_log())
        applied = [index for _, index in self._restores_in_log() if index <= self._state.applied_index]
        self._machine.restored_index = max(applied, default=0)

    def _restores_in_log(self) -> Iterator[tuple[str, int]]:
        for command, index, _ in self._journal[:]:
            name = restored_name(body_of(command) or b"")
            if name is not None:
                yield name, index

    def _names_in_log(self) -> set[str]:
        return {name for name, index in self._restores_in_log() if index > self._state.applied_index}

    async def _keep_checking(self) -> None:
        """The start has read the state's file to its end; what rots later must be found too."""
        while self._failure is None:
            await asyncio.sleep(self._settings.check_every_s)
            await self._state.check()

    def _changed(self) -> None:
        if self.role is not Role.LEADER:
            self._group.lost_leadership()
        self.on_role_change()

    def _failed(self, error: StorageFailed) -> None:
        if self._failure is not None:
            return
        self._failure = error
        if self._member is not None:
            self._member.stop()
            self._group.stop()
        self.on_failed(error)
