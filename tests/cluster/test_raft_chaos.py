"""Seeded chaos on virtual time: after each run Raft's properties hold. A failing seed replays exactly."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import ClusterError, NoLeader
from cluster.pysyncobj_seams import Role
from cluster.store import Put
from tests.cluster.simulation import Cluster, Message, Node, run


def losing(rng: random.Random, share: float) -> Callable[[str, str, Message], bool]:
    """A network that loses this share of its messages."""
    return lambda source, target, message: rng.random() < share


class Witness:
    """Watches every node and objects as soon as a property of Raft is broken."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.leader_of: dict[int, str] = {}
        self.applied: dict[int, tuple[int, bytes]] = {}
        self.acknowledged: dict[str, bytes] = {}
        self.newest = 0  # the highest value of the register that was acknowledged
        self.reads = 0

    def watch(self, node: Node) -> None:
        machine = node.store._machine
        apply_entry = machine.apply_entry

        def witnessed(index: int, term: int, body: bytes) -> Any:
            known = self.applied.setdefault(index, (term, body))
            assert known == (term, body), f"state machine safety: entry {index} differs"
            return apply_entry(index, term, body)

        machine.apply_entry = witnessed  # type: ignore[method-assign]

    def look(self) -> None:
        for node in self.cluster.nodes.values():
            if node.store_ is None or node.member is None or node.store.role is not Role.LEADER:
                continue
            known = self.leader_of.setdefault(node.store.term, node.node_id)
            assert known == node.node_id, f"election safety: two leaders in term {node.store.term}"

    async def keep_looking(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.005)

    async def write(self, rng: random.Random, writer: int) -> None:
        count = 0
        while True:
            leaders = [node for node in self.cluster.nodes.values() if node.store_ and node.store.is_ready_leader]
            await asyncio.sleep(rng.uniform(0.0, 0.05))
            if not leaders:
                continue
            count += 1
            key, value = f"w/{writer}/{count}", b"%d" % count
            try:
                await rng.choice(leaders).store.commit([Put(key, value * rng.randint(1, 50))])
            except (ClusterError, AssertionError):
                continue
            self.acknowledged[key] = value

    async def advance(self, rng: random.Random) -> None:
        """One writer counts a register up; whoever reads it under a lease must see what was acknowledged before."""
        count = 0
        while True:
            await asyncio.sleep(rng.uniform(0.0, 0.03))
            for node in list(self.cluster.nodes.values()):
                if node.store_ is None or not node.store.is_ready_leader:
                    continue
                count += 1
                try:
                    await node.store.commit([Put("register", b"%d" % count)])
                except ClusterError:
                    continue
                self.newest = max(self.newest, count)

    async def read(self, rng: random.Random) -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.0, 0.02))
            for node in self.cluster.nodes.values():
                if node.store_ is None:
                    continue
                stored = node.store.get("register")
                try:
                    node.store.require_lease()
                except NoLeader:
                    continue
                self.reads += 1
                assert int(stored.value if stored else b"0") >= self.newest, "a stale read"


async def disturb(cluster: Cluster, witness: Witness, rng: random.Random) -> None:
    names = list(cluster.nodes)
    for _ in range(25):
        await asyncio.sleep(rng.uniform(0.1, 2.5))
        match rng.randrange(9):
            case 0 | 1:
                group = set(rng.sample(names, rng.randint(1, len(names) - 1)))
                cluster.network.partition(group, set(names) - group)
            case 2 | 3:
                cluster.network.heal()
            case 4 | 5:
                for node in rng.sample(list(cluster.nodes.values()), rng.choice((1, 1, 2, len(names)))):
                    if node.store_ is not None:
                        node.crash()
            case 6:
                for node in cluster.nodes.values():
                    if node.store_ is None:
                        node.open()
                        witness.watch(node)
                        await node.start()
            case 7:
                cluster.network.delay_s = rng.choice(((0.0005, 0.002), (0.001, 0.3), (0.01, 1.0)))
                cluster.network.duplicate_share = rng.choice((0.0, 0.2))
                lost = rng.choice((0.0, 0.0, 0.1))
                cluster.network.drop = losing(rng, lost)
            case 8:
                for node in cluster.leaders()[:1]:
                    handover = asyncio.ensure_future(node.store.transfer_leadership())
                    handover.add_done_callback(lambda done: done.cancelled() or done.exception())


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 12))])
def test_chaos(tmp_path: Path, seed: int) -> None:
    """Partitions, crashes that lose unsynced bytes, delays, drops, duplicates, hand-overs: nothing is lost.

    Election safety, state-machine safety and reads under a lease are checked all the while.
    """

    async def play() -> None:
        cluster = Cluster(tmp_path, seed, trailing_logs=50, performance_multiplier=1 + seed % 5)
        rng = random.Random(seed)
        await cluster.form(3 + 2 * (seed % 2))
        witness = Witness(cluster)
        for node in cluster.nodes.values():
            witness.watch(node)
            node.sync_delay_s = lambda: rng.choice((0.0, 0.0, 0.001, 0.02))
        tasks = [
            asyncio.ensure_future(work)
            for work in (
                witness.keep_looking(),
                witness.advance(rng),
                witness.read(rng),
                *(witness.write(rng, writer) for writer in range(4)),
            )
        ]
        try:
            await disturb(cluster, witness, rng)
            cluster.network.heal()
            cluster.network.drop = lambda source, target, message: False
            cluster.network.delay_s = (0.0005, 0.002)
            for node in cluster.nodes.values():
                if node.store_ is None:
                    node.open()
                    witness.watch(node)
                    await node.start()
            await cluster.leader(within_s=20)
            await asyncio.sleep(2)
            for task in tasks:
                assert not task.done(), task.exception()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(1)
            await cluster.same_everywhere()
            for node in cluster.nodes.values():
                assert not node.failures
                for key, value in witness.acknowledged.items():
                    stored = node.store.get(key)
                    assert stored is not None and stored.value.startswith(value), f"{key} is lost on {node.node_id}"
            assert witness.reads > 0 and witness.acknowledged
        finally:
            for task in tasks:
                task.cancel()
            cluster.close()
            await asyncio.sleep(0)

    run(play())
