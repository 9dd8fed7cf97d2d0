"""A whole simulated cluster: its nodes, its network, its clients, and one witness of all that happens."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from pathlib import Path
from typing import Any
from zlib import crc32

from cluster.errors import ClusterError, Conflict, EntryTooLarge, NoLeader
from cluster.store import Put
from cluster.wire import RAFT, WireError, pack, unpack
from tests.cluster.simulator.disk import Damage, PowerLoss
from tests.cluster.simulator.loop import Life, SimLoop
from tests.cluster.simulator.network import Message, Network
from tests.cluster.simulator.node import SimNode
from tests.cluster.simulator.plan import Plan
from tests.cluster.simulator.witness import KEYS, Violation, Witness

_FRAME_BYTES_MAX = 8 << 20
# For what belongs to no life.
NO_LIFE = Context()


class SimCluster:
    """Nodes n1, n2, ...; all chance comes from the plan's seed."""

    def __init__(self, plan: Plan, files: Path | None = None) -> None:
        self.plan = plan
        self.files = files  # where the nodes keep their states, if not in memory
        self.loop = SimLoop()
        self.loop.on_error = self._on_error
        self.loop.after_step = self._after_step
        self.rng = random.Random(f"{plan.seed} cluster")
        self.witness = Witness()
        self.network = Network(self.loop, plan.seed)
        self.network.spoil = _spoiled
        self.network.on_arrival = self._on_arrival
        self.nodes: dict[str, SimNode] = {}
        self.graves: list[Any] = []  # kept, so that no destructor of a dead life runs during the run
        self.on_event: Callable[[str], None] = lambda text: None
        self.serial = 0

    # Nodes -------------------------------------------------------------------------------------------------------

    def running(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.running]

    def leader(self) -> SimNode | None:
        """The node that leads in the highest term."""
        leaders = [node for node in self.running() if node.leads]
        return max(leaders, key=lambda node: node.store.term, default=None)

    def new_node(self) -> SimNode:
        node = SimNode(self, f"n{len(self.nodes) + 1}")
        self.nodes[node.node_id] = node
        return node

    async def form(self) -> None:
        """Begin with one node and add the others."""
        first = self.new_node()
        first.start([first.peer])
        await self.until(lambda: first.leads, 30, "a single node leads")
        while len(self.nodes) < self.plan.nodes:
            await self.join(first, self.new_node())
        self.network.lossy = self.plan.lossy
        self.network.garbage_share = self.plan.garbage_share
        for node in self.nodes.values():
            node.sync_s = self.plan.sync_s

    async def join(self, leader: SimNode, node: SimNode) -> None:
        """As a node joins: with the leader's list of peers, its own name in it."""
        node.start([*leader.store.peers(), node.peer])
        await leader.store.add_peer(node.node_id, node.address)

    def down(self, node: SimNode, for_s: float | None = None) -> None:
        """End this node's life now, and begin another in a while."""
        if for_s is None:
            for_s = self.rng.choice((0.01, 0.3, 1.5, 3.0)) * self.plan.settings.election_max_s * self.rng.random()
        self.event("crash", node.node_id, round(for_s, 3))
        node.crash()
        if not node.left:
            at = node.restarts_at = self.loop.now_s + for_s
            self.loop.call_at(at, self._restart, node, at, context=NO_LIFE)

    def _restart(self, node: SimNode, at: float) -> None:
        if node.restarts_at == at and not node.left:
            self.event("start", node.node_id)
            try:
                node.start()
            except PowerLoss:
                self.down(node)

    # Watching ----------------------------------------------------------------------------------------------------

    def event(self, *facts: object) -> None:
        self.witness.note(*facts)
        self.on_event(f"{self.loop.now_s - 1000:10.4f} " + " ".join(str(fact) for fact in facts))

    def _on_arrival(self, source: str, target: str, message: Message) -> None:
        if message["type"] == "response_vote":
            self.witness.voted(self.nodes[source], message["term"], target)
        self.witness.digest = crc32(
            f"{self.loop.now_s:.9f}{source}{target}{message['type']}".encode(), self.witness.digest
        )

    def _after_step(self, life: Life) -> None:
        if life.node.life is life:
            self.witness.look(life.node)

    def _on_error(self, error: BaseException, life: Life | None) -> None:
        if isinstance(error, PowerLoss) and life is not None:
            self.down(life.node)
            return
        if isinstance(error, Damage):
            raise Violation(f"disk: {error}") from error
        raise error

    async def guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Violations within a task end the run."""
        try:
            await work
        except (Violation, Damage) as error:
            self.loop.call_soon(_raise, error, context=NO_LIFE)
        except PowerLoss as error:
            self.loop.call_soon(_raise, error)

    async def until(self, is_so: Callable[[], bool], within_s: float, what: str) -> None:
        deadline = self.loop.now_s + within_s
        while not is_so():
            if self.loop.now_s > deadline:
                raise Violation(f"progress: not within {within_s:g} s after the faults ended: {what}")
            await asyncio.sleep(0.05)

    # Clients -----------------------------------------------------------------------------------------------------

    async def load(self, until_s: float) -> None:
        """Clients that write and read, at nodes that lead and at nodes that do not."""
        rng = random.Random(f"{self.plan.seed} clients")
        while self.loop.now_s < until_s:
            await asyncio.sleep(rng.expovariate(2 * self.plan.writes_per_s))
            running = self.running()
            if not running:
                continue
            leader = self.leader()
            node = leader if leader is not None and rng.random() < 0.8 else rng.choice(running)
            if rng.random() < 0.5:
                node.spawn(self.read(node, rng.choice(KEYS), rng.choice((0.0, 0.0, 0.2))))
                continue
            count = rng.randint(2, 12) if rng.random() < self.plan.burst_share else 1
            for _ in range(count):
                self.write(node, rng)

    def write(self, node: SimNode, rng: random.Random) -> None:
        """Begin a write that nobody else writes; half of them name the index at which they saw the key."""
        self.serial += 1
        key = rng.choice(KEYS)
        value = b"%d:" % self.serial + b"x" * rng.choice((0, 0, 40, 400))
        stored = node.store.get(key)
        seen = None if rng.random() < 0.5 else stored.index if stored is not None else 0
        node.spawn(self._write(node, Put(key, value, seen)))

    async def _write(self, node: SimNode, put: Put) -> None:
        attempt = self.witness.begin(put.key, put.value)
        try:
            index = await node.store.commit([put])
        except Conflict:
            self.witness.answered(attempt, "rejected")
        except (NoLeader, EntryTooLarge):
            self.witness.answered(attempt, "never")
        except ClusterError:
            self.witness.answered(attempt, "unknown")
        else:
            self.witness.answered(attempt, "acknowledged", index)

    async def read(self, node: SimNode, key: str, between_s: float) -> None:
        """A read as a request does it: local, then the gate. Between the two the node may be busy, or paused."""
        before = self.witness.newest.get(key, 0)
        since = node.store.leading_term
        stored = node.store.get(key)
        if between_s:
            await asyncio.sleep(between_s)
        try:
            node.store.require_lease(since)
        except NoLeader:
            return
        self.witness.read(node, key, stored.index if stored is not None else 0, before)


def _raise(error: BaseException) -> None:
    raise error


def _spoiled(message: Message, rng: random.Random) -> Message | None:
    """A frame that no sound node sends, as the receiver's decoder lets it through; None if it is refused."""
    spoiled: Message = dict(message)
    field = rng.choice(sorted(spoiled))
    spoiled[field] = rng.choice((-1, b"\x80\x04.", "x", None, True, 1.5, [b"x"], 2**63))
    try:
        return unpack(pack(spoiled, _FRAME_BYTES_MAX)[4:], RAFT)
    except (WireError, OverflowError, ValueError):
        return None
