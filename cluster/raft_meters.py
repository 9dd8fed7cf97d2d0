"""The meters of replication and of the replicated store, by their documented names."""

from collections.abc import Sequence

from cluster.meters import Registry, Spread, clock
from cluster.pysyncobj_seams import Role
from cluster.store import Delete, Put, Write


class RaftMeters:
    """Made with the store, whose parts add to them. Gauges are the store's to define."""

    def __init__(self) -> None:
        registry = self.registry = Registry()
        counter, spread = registry.counter, registry.spread

        # Reads and writes of the store, which has one set of meters under two documented names.
        self.get = self._both("get", "Reading an entry.")
        self.list = self._both("list", "Listing the names below a prefix.")
        self.put = self._both("put", "Writing an entry, until it is committed and applied.")
        self.delete = self._both("delete", "Deleting an entry, until that is committed and applied.")
        self.delete_prefix = spread("raft.delete_prefix", "Deleting several entries at once.")
        self.transaction = spread("raft-storage.transaction", "Writing several entries as one set.")
        self.entry_size = spread("raft-storage.entry_size", "Bytes of a log entry.", scale=1.0)

        # The log.
        self.apply = counter("raft.apply", "Log entries proposed here.")
        self.barrier = counter("raft.barrier", "Times that this node, made leader, waited for all that was before it.")
        self.commit_time = spread("raft.commitTime", "From proposing a log entry to having applied it.")
        self.commit_count = 0
        self._candidate_since_s = 0.0
        self.compact = spread("raft.compactLogs", "Dropping log entries that the state holds.")
        self.dispatch = spread("raft.leader.dispatchLog", "Writing log entries to disk, as the leader.")
        self.store_logs = spread("raft.rpc.appendEntries.storeLogs", "Writing log entries to disk, as a follower.")

        # What the log is applied to.
        self.fsm_apply = spread("raft.fsm.apply", "Log entries applied since the last time.", scale=1.0)
        self.fsm_batch = spread("raft.fsm.applyBatch", "Applying a batch of log entries.")
        self.fsm_batch_size = spread("raft.fsm.applyBatchNum", "Log entries in a batch.", scale=1.0)
        self.fsm_enqueue = spread("raft.fsm.enqueue", "Handing a batch of writes to Raft.")
        self.fsm_restore = spread("raft.fsm.restore", "Replacing the state by a snapshot.")
        self.fsm_snapshot = spread("raft.fsm.snapshot", "Beginning a copy of the state.")
        self.fsm_store_config = spread("raft.fsm.store_config", "Storing the peers.")
        self.snapshot_create = spread("raft.snapshot.create", "Gathering the applied entries that are not on disk.")
        self.snapshot_persist = spread("raft.snapshot.persist", "Writing them to the state's file.")
        self.snapshot_take = spread("raft.snapshot.takeSnapshot", "Both together.")
        self.restore = counter("raft.restore", "Restores of a saved snapshot.")
        self.restore_user = spread("raft.restoreUserSnapshot", "Restoring a saved snapshot, until it is applied.")

        # Elections and leadership.
        self.elect_self = spread("raft.candidate.electSelf", "From standing for election to its outcome.")
        self.last_contact = spread("raft.leader.lastContact", "Time since each follower was last heard, on the leader.")
        self.state = {role: counter(f"raft.state.{role.name.lower()}", f"Became {role.name.lower()}.") for role in Role}
        self.heartbeat_timeouts = counter("raft.transition.heartbeat_timeout", "Missed the leader's heartbeat.")
        self.lease_timeouts = counter("raft.transition.leader_lease_timeout", "Stepped down without a majority.")
        self.verify_leader = counter("raft.verify_leader", "Reads that made sure that this node leads.")

        # Between the nodes.
        self.sent_logs = registry.counters("raft.replication.appendEntries.log", "Log entries sent.", "peer_id")
        self.sent_rpc = registry.spreads(
            "raft.replication.appendEntries.rpc", "From sending log entries to the answer.", "peer_id"
        )
        self.sent_heartbeat = registry.spreads(
            "raft.replication.heartbeat", "From sending a heartbeat to the answer.", "peer_id"
        )
        self.sent_snapshot = registry.spreads("raft.replication.installSnapshot", "Sending a snapshot.", "peer_id")
        self.got_append = spread("raft.rpc.appendEntries", "Working on a message of the leader.")
        self.got_logs = spread("raft.rpc.appendEntries.processLogs", "Working on one that brings log entries.")
        self.got_heartbeat = spread("raft.rpc.processHeartbeat", "Working on one that brings none.")
        self.got_snapshot = spread("raft.rpc.installSnapshot", "Taking in a snapshot of the leader.")
        self.got_vote = spread("raft.rpc.requestVote", "Working on a request for this node's vote.")

    def _both(self, what: str, help_: str) -> Spread:
        spread = self.registry.spread(f"raft.{what}", help_)
        self.registry.same(f"raft-storage.{what}", help_, spread)
        return spread

    def applied(self, count: int, took_s: float) -> None:
        """So many log entries were applied in one go."""
        self.commit_count = count
        self.fsm_apply.add(count)
        self.fsm_batch_size.add(count)
        self.fsm_batch.add(took_s)

    def role_changed(self, before: Role, now: Role, *, gave_up: bool) -> None:
        """The node has another role. `gave_up`: it led, and stepped down without having heard of a successor."""
        if now is Role.CANDIDATE or before is Role.FOLLOWER:  # alone, a node is a candidate for less than a turn
            self.state[Role.CANDIDATE].value += 1
            self._candidate_since_s = clock()
        if now is not Role.CANDIDATE:
            self.state[now].value += 1
            if before is not Role.LEADER:
                self.elect_self.add(clock() - self._candidate_since_s)
        self.lease_timeouts.value += gave_up

    def received(self, message: dict[str, object], took_s: float) -> None:
        """A message of a peer was worked on."""
        kind = message["type"]
        if kind == "append_entries":
            self.got_append.add(took_s)
            (self.got_logs if message["entries"] else self.got_heartbeat).add(took_s)
        elif kind in ("request_vote", "pre_vote"):
            self.got_vote.add(took_s)

    def committed(self, writes: Sequence[Write], took_s: float) -> None:
        """A set of writes was committed."""
        if len(writes) > 1:
            self.transaction.add(took_s)
            if all(isinstance(write, Delete) for write in writes):
                self.delete_prefix.add(took_s)
        for write in writes:
            if isinstance(write, Put):
                self.put.add(took_s)
            elif isinstance(write, Delete):
                self.delete.add(took_s)

    def flushed(self, created_s: float, persisted_s: float) -> None:
        """Applied entries were written to the state's file. Any thread."""
        self.snapshot_create.add(created_s)
        self.snapshot_persist.add(persisted_s)
        self.snapshot_take.add(created_s + persisted_s)
