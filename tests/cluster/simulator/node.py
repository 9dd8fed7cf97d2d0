"""One simulated node: a disk, a clock and a place in the network that outlive its lives."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cluster.errors import DataFolderRefused, NoLeader, StorageFailed
from cluster.folder import DataFolder
from cluster.peers import Peer
from cluster.pysyncobj_seams import is_membership
from cluster.raft_store import RaftStore
from cluster.state import State
from cluster.table import Meta
from tests.cluster.simulator.disk import MemoryDisk
from tests.cluster.simulator.files import StateFiles
from tests.cluster.simulator.loop import Life, SimLoop
from tests.cluster.simulator.network import SimLinks
from tests.cluster.simulator.parts import MemoryState, SimJournal, Vault
from tests.cluster.simulator.witness import Violation

if TYPE_CHECKING:
    from tests.cluster.simulator.cluster import SimCluster


class SimClock:
    """A node's clock: the loop's, at a rate and from an offset of its own. Never goes back."""

    def __init__(self, loop: SimLoop, offset_s: float, rate: float) -> None:
        self._loop = loop
        self.offset_s = offset_s
        self.rate = rate

    def now_ns(self) -> int:
        return int((self._loop.now_s * self.rate + self.offset_s) * 1e9)


class SimNode:
    """A node of a SimCluster."""

    def __init__(self, cluster: "SimCluster", node_id: str) -> None:
        self.node_id = node_id
        self.address = f"{node_id}:8201"
        self.peer = Peer(node_id, self.address)
        self.rng = random.Random(f"{cluster.plan.seed} {node_id}")
        self.disk = MemoryDisk(self.rng)
        self.vault = Vault()
        self.files = StateFiles(cluster.files / node_id, f"{cluster.plan.seed} {node_id}") if cluster.files else None
        self.clock = SimClock(cluster.loop, self.rng.uniform(1, 1e6), self.rng.uniform(*cluster.plan.clock_rates))
        self.sync_s = (0.0, 0.0)
        self.life: Life | None = None
        self.store_: RaftStore | None = None
        self.restarts_at: float | None = None
        self.incarnation = 0  # how often it has come back with an empty disk
        self.kept_index = 0  # of the last entry that its disk held when its last life ended
        self._journal: SimJournal | None = None
        self.left = False  # removed from the cluster, by a removal that was confirmed
        self._cluster = cluster

    @property
    def store(self) -> RaftStore:
        assert self.store_ is not None
        return self.store_

    @property
    def running(self) -> bool:
        return self.store_ is not None

    @property
    def member(self) -> Any:
        return self.store_._member if self.store_ is not None else None

    @property
    def leads(self) -> bool:
        return self.store_ is not None and self.store_.is_ready_leader

    def others_running(self) -> list["SimNode"]:
        return [node for node in self._cluster.running() if node is not self]

    def has_lease(self) -> bool:
        """Whether a client that asks now would be served."""
        try:
            self.store.require_lease()
        except NoLeader:
            return False
        return True

    def holds(self, node_id: str, index: int, term: int | None) -> bool:
        """Whether that node, up or down, has this entry on its disk, in its log or beyond it."""
        journal = self._cluster.nodes[node_id]._journal
        if journal is None or journal.durable_index < index:
            return False
        position = index - journal._entries[0][1]
        return position <= 0 or journal._entries[position][2] == term

    # Lives -------------------------------------------------------------------------------------------------------

    def start(self, adopt: list[Peer] | None = None) -> None:
        """Begin a life on what the disk holds. With `adopt`, as a node that joins."""
        if self.running:
            return
        self.restarts_at = None
        self.life = Life(self)
        try:
            self.life.context.run(self._start, adopt)
        except (DataFolderRefused, StorageFailed) as error:
            raise Violation(f"start: {self.node_id} refuses what it wrote itself: {error}") from error

    def _start(self, adopt: list[Peer] | None) -> None:
        cluster = self._cluster
        assert self.life is not None
        folder = DataFolder(self.files.folder if self.files else Path("/simulated") / self.node_id, self.node_id, -1)
        open_state: Callable[..., State] = partial(MemoryState, vault=self.vault)
        if self.files is not None:
            open_state = self.files.open
        store = RaftStore(
            folder,
            cluster.plan.settings,
            self.clock,
            rng=random.Random(self.rng.random()),
            disk=self.disk,
            threaded=False,
            open_state=partial(open_state, disk=self.disk, flush_s=cluster.plan.flush_s),
            open_journal=partial(SimJournal, sync_delay_s=self._sync_delay_s, on_entry=self._entry_added),
        )
        store.on_failed = self._failed
        self.store_ = store
        self._journal = cast(SimJournal, store._journal)
        machine: Any = store._machine
        machine.apply_entry = self._witnessed(machine.apply_entry)
        if adopt is not None:
            store.adopt(adopt)
        drive(store.start(SimLinks(cluster.network, self.life, self.node_id), self.address))

    def crash(self) -> None:
        """End in the middle of whatever goes on, as by the loss of power."""
        if self.life is None or self.life.dead:
            return
        self.life.dead = True
        self._cluster.graves.append((self.life, self.store_))
        if self.store_ is not None:
            journal = self.store_._journal
            assert isinstance(journal, SimJournal)
            journal.die(self.rng, self.disk)
            self.kept_index = journal.durable_index
        if self.files is not None:
            self.files.lose_power()
        self.disk.lose_power()
        self.store_ = None
        self._cluster.network.node_died(self.node_id)

    def empty(self) -> None:
        """Come back with nothing, under the same name."""
        self.disk.wipe()
        self.incarnation += 1
        self.kept_index = 0
        self._journal = None
        self.vault.data, self.vault.meta = {}, Meta()
        if self.files is not None:
            self.files.wipe()
        self.left = False

    def spawn(self, work: Any) -> None:
        """Do this within the node's process: it stops when the process does."""
        assert self.life is not None
        self._cluster.loop.create_task(self._cluster.guarded(work), context=self.life.context)

    def _sync_delay_s(self) -> float:
        low, high = self.sync_s
        return 0.0 if high == 0 else self.rng.uniform(low, high)

    # What the witness hears --------------------------------------------------------------------------------------

    def _entry_added(self, entry: tuple[bytes, int, int], prev_term: int) -> None:
        self._cluster.witness.entry_added(self, entry, prev_term)
        if is_membership(entry[0]) and self.member is not None:
            self._cluster.witness.change_added(self, entry[1])

    def _witnessed(self, apply_entry: Callable[[int, int, bytes], object]) -> Callable[[int, int, bytes], object]:
        def apply(index: int, term: int, body: bytes) -> object:
            result = apply_entry(index, term, body)
            self._cluster.witness.applied_entry(self, index, term, body, result)
            return result

        return apply

    def _failed(self, error: StorageFailed) -> None:
        """The store asks for the end of the process: right after a fault of the disk, wrong in any other case."""
        if not self.disk.gave_error:
            raise Violation(f"stopped: {self.node_id} stopped although its disk works: {error}")
        self._cluster.down(self)


def drive(work: Any) -> None:
    """Run a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")
