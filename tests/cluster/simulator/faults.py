"""What is done to a simulated cluster while it runs, one fault after another, each chosen by the seed."""

import asyncio
import itertools
import random
from typing import Any

from cluster.errors import ClusterError
from tests.cluster.simulator.cluster import NO_LIFE, SimCluster
from tests.cluster.simulator.node import SimNode

_NODES_MAX = 9  # that a run ever has, gone ones included


class Faults:
    """Does one fault after another to one cluster."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.rng = random.Random(f"{cluster.plan.seed} faults")
        self.election_s = cluster.plan.settings.election_max_s
        self._kinds = [kind for kind, weight in cluster.plan.weights.items() for _ in range(weight)]

    async def run(self, until_s: float) -> None:
        while True:
            await asyncio.sleep(self.election_s * self.rng.choice((0.1, 0.5, 1.0, 2.0, 3.0)) * self.rng.random())
            if self.cluster.loop.now_s >= until_s:
                return
            kind = self.rng.choice(self._kinds)
            self.cluster.event("fault", kind)
            getattr(self, f"_{kind}")()

    def end(self) -> None:
        """Nothing is wrong any more; nodes that are down begin to start."""
        cluster = self.cluster
        cluster.network.set_cut(set(), reset=False)
        cluster.network.lossy = False
        cluster.network.garbage_share = 0.0
        cluster.network.delay_s = (0.0005, 0.002)
        cluster.network.slow_nodes = {}
        for node in cluster.nodes.values():
            node.sync_s = (0.0, 0.002)
            if not node.disk.gave_error:
                node.disk.repair()
            if node.life is not None and node.life.paused:
                cluster.loop.resume(node.life)
            if not node.running and not node.left and node.life is not None:
                node.start()

    def _some(self) -> SimNode | None:
        running = self.cluster.running()
        return self.rng.choice(running) if running else None

    def _members(self) -> list[str]:
        return [node.node_id for node in self.cluster.nodes.values() if not node.left]

    def _cut(self, cut: set[tuple[str, str]]) -> None:
        self.cluster.network.set_cut(cut, reset=self.rng.random() < self.cluster.plan.reset_share)

    # Network -----------------------------------------------------------------------------------------------------

    def _split(self) -> None:
        names = self._members()
        group = set(self.rng.sample(names, self.rng.randint(1, max(1, len(names) - 1))))
        self._cut({(a, b) for a, b in itertools.permutations(names, 2) if (a in group) != (b in group)})

    def _isolate_leader(self) -> None:
        leader = self.cluster.leader()
        if leader is not None:
            others = [name for name in self._members() if name != leader.node_id]
            self._cut({pair for other in others for pair in ((leader.node_id, other), (other, leader.node_id))})

    def _one_way(self) -> None:
        """Somebody, often the leader, is not heard, or does not hear, by some or by all."""
        node = self.cluster.leader() if self.rng.random() < 0.6 else self._some()
        if node is None:
            return
        others = [name for name in self._members() if name != node.node_id]
        others = self.rng.sample(others, self.rng.randint(min(1, len(others)), len(others)))
        deaf = self.rng.random() < 0.5
        self._cut({(other, node.node_id) if deaf else (node.node_id, other) for other in others})

    def _cut_pair(self) -> None:
        """The leader and one other lose each other, and nobody else anything."""
        leader = self.cluster.leader()
        if leader is not None:
            other = self.rng.choice(self._members())
            self._cut({(leader.node_id, other), (other, leader.node_id)})

    def _bridge(self) -> None:
        """Two groups that only one node reaches both of; or a ring, in which each reaches its neighbours only."""
        names = self._members()
        self.rng.shuffle(names)
        if self.rng.random() < 0.5:
            left = set(names[1 : 1 + len(names) // 2])
            right = set(names[1:]) - left
            self._cut({pair for a in left for b in right for pair in ((a, b), (b, a))})
            return
        near = {frozenset((names[at], names[at - 1])) for at in range(len(names))}
        self._cut({(a, b) for a, b in itertools.permutations(names, 2) if frozenset((a, b)) not in near})

    def _heal(self) -> None:
        self._cut(set())

    def _delays(self) -> None:
        network = self.cluster.network
        network.delay_s = self.rng.choice(((0.0005, 0.002), (0.005, 0.05), (0.001, 0.3), (0.1, 0.8)))
        network.loss_share = self.rng.choice((0.0, 0.02, 0.2))
        network.repeat_share = self.rng.choice((0.0, 0.1, 0.4))
        network.straggler_s = self.rng.choice((0.1, 2.0, 20.0))

    def _slow_node(self) -> None:
        node = self._some()
        if node is not None:
            self.cluster.network.slow_nodes = {node.node_id: self.rng.choice((0.1, 0.5, 1.5))}

    # Processes and machines --------------------------------------------------------------------------------------

    def _crash(self) -> None:
        running = self.cluster.running()
        for node in self.rng.sample(running, min(len(running), self.rng.choice((1, 1, 2)))):
            self.cluster.down(node)

    def _crash_leader(self) -> None:
        leader = self.cluster.leader()
        if leader is not None:
            self.cluster.down(leader)

    def _power_cut(self) -> None:
        """All at once."""
        for node in self.cluster.running():
            self.cluster.down(node)

    def _trip(self) -> None:
        """The power goes in the middle of one of the next operations of the disk."""
        node = self._some()
        if node is not None:
            node.disk.power_off_in = self.rng.randint(0, 15)

    def _pause(self, node: SimNode | None = None) -> None:
        node = node or self._some()
        if node is None or node.life is None or node.life.paused:
            return
        node.life.paused = True
        pause_s = self.election_s * self.rng.choice((0.2, 0.6, 1.2, 4.0)) * self.rng.random()
        self.cluster.loop.call_later(pause_s, self._resume, node.life)

    def _resume(self, life: Any) -> None:
        if life.paused and not life.dead:
            self.cluster.loop.resume(life)

    def _pause_leader(self) -> None:
        self._pause(self.cluster.leader())

    def _jump(self) -> None:
        """A clock leaps ahead, by less than the lease's margin."""
        node = self._some()
        if node is not None:
            node.clock.offset_s += self.cluster.plan.settings.election_min_s * self.rng.uniform(0.0, 0.03)

    # Disks -------------------------------------------------------------------------------------------------------

    def _slow_disk(self) -> None:
        node = self._some()
        if node is not None:
            node.sync_s = self.rng.choice((self.cluster.plan.sync_s, (0.0, 0.0), (0.001, 0.05), (0.3, 1.5)))

    def _break_disk(self) -> None:
        node = self._some()
        if node is not None:
            if self.rng.random() < 0.5:
                node.disk.is_full = True
            else:
                node.disk.fails_sync = True

    # Members -----------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        leader = self.cluster.leader()
        if leader is not None:
            leader.spawn(_tolerant(leader.store.transfer_leadership()))

    def _remove(self) -> None:
        leader = self.cluster.leader()
        if leader is None:
            return
        peers = [peer.node_id for peer in leader.store.peers()]
        if len(peers) > 2:
            leader.spawn(self._remove_node(leader, self.cluster.nodes[self.rng.choice(peers)]))

    async def _remove_node(self, leader: SimNode, node: SimNode) -> None:
        try:
            await leader.store.remove_peer(node.node_id)
        except ClusterError:
            return
        node.left = True
        self.cluster.event("left", node.node_id)
        # It runs on for a while, and must not disturb.
        self.cluster.loop.call_later(self.election_s * 8 * self.rng.random(), self._end_of, node, context=NO_LIFE)

    def _end_of(self, node: SimNode) -> None:
        if node.left:
            node.crash()

    def _add(self) -> None:
        leader = self.cluster.leader()
        if leader is None or len(leader.store.peers()) >= 5:
            return
        gone = [node for node in self.cluster.nodes.values() if node.left and not node.running]
        if gone and self.cluster.plan.rejoin_as_same:
            node = self.rng.choice(gone)
            node.empty()
        elif len(self.cluster.nodes) < _NODES_MAX:
            node = self.cluster.new_node()
        else:
            return
        node.sync_s = self.cluster.plan.sync_s
        self.cluster.event("join", node.node_id)
        node.start([*leader.store.peers(), node.peer])
        leader.spawn(_tolerant(leader.store.add_peer(node.node_id, node.address)))

    # Entries -----------------------------------------------------------------------------------------------------

    def _nonsense(self) -> None:
        """An entry of our version that says nothing which can be done: every node must pass it over."""
        leader = self.cluster.leader()
        if leader is not None:
            body = b"\x01" + self.rng.choice((b"", b"\xc1", b"\x91\x91\x93\x00\xa1k\xc0", b"\x93\x01\x02\x03"))
            member = leader.member
            leader.spawn(_proposing(member, body))


async def _proposing(member: Any, body: bytes) -> None:
    member.propose(body, lambda result: None)
    member.wake()


async def _tolerant(work: Any) -> None:
    try:
        await work
    except ClusterError:
        return
