"""Whole clusters in one process, on virtual time: a seed decides delays and time-outs, a test decides the faults.

The event loop never waits: where it would sleep, its clock jumps. State, journal and Raft are the real ones, on files
that live in a folder of the test; only the network and the time are made up.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from copy import deepcopy
from pathlib import Path
from typing import Any

from cluster.disk import Disk
from cluster.errors import StorageFailed
from cluster.folder import DataFolder, open_folder
from cluster.peers import Peer
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from cluster.store import Stored

Message = dict[str, Any]


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing is ready."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("nothing will ever happen again")
        if not ready and timeout is not None and timeout > 0:
            self._loop.now_s += timeout
        return ready


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario on a loop of its own."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario)
    finally:
        loop.close()


class SimClock:
    """One node's clock: the loop's, from where this node stands."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset_s: float, rate: float = 1.0) -> None:
        self._loop = loop
        self._offset_s = offset_s
        self._rate = rate

    def now_ns(self) -> int:
        return int((self._loop.time() * self._rate + self._offset_s) * 1e9)


class Network:
    """Delivers messages between nodes, in order on each connection, as long as nothing is cut."""

    def __init__(self, rng: random.Random) -> None:
        self.links: dict[str, SimLinks] = {}
        self.cut: set[frozenset[str]] = set()
        self.drop: Callable[[str, str, Message], bool] = lambda source, target, message: False
        self.duplicate_share = 0.0
        self.delay_s = (0.0005, 0.002)
        self.paused: dict[str, list[Callable[[], None]]] = {}
        self.sent: list[tuple[str, str, Message]] = []
        self._rng = rng
        self._last_at: dict[tuple[str, str], float] = {}

    def is_up(self, source: str, target: str) -> bool:
        return target in self.links and self.links[target].running and frozenset((source, target)) not in self.cut

    def send(self, source: str, target: str, message: Message) -> bool:
        if not self.is_up(source, target):
            return False
        self.sent.append((source, target, message))
        if self.drop(source, target, message):
            return True
        loop = asyncio.get_running_loop()
        for _ in range(1 + (self._rng.random() < self.duplicate_share)):
            at = loop.time() + self._rng.uniform(*self.delay_s)
            at = self._last_at[source, target] = max(at, self._last_at.get((source, target), 0.0) + 1e-6)
            loop.call_at(at, self._arrive, source, target, deepcopy(message), self.links[target])
        return True

    def _arrive(self, source: str, target: str, message: Message, receiver: "SimLinks") -> None:
        if frozenset((source, target)) in self.cut or self.links.get(target) is not receiver or not receiver.running:
            return
        if target in self.paused:
            self.paused[target].append(lambda: receiver.on_message(source, message))
        else:
            receiver.on_message(source, message)

    def partition(self, *groups: set[str]) -> None:
        """Only nodes of one group reach each other; a node in no group is alone."""
        self.set_cut(
            {
                frozenset((a, b))
                for a in self.links
                for b in self.links
                if a != b and not any(a in group and b in group for group in groups)
            }
        )

    def heal(self) -> None:
        self.set_cut(set())

    def set_cut(self, cut: set[frozenset[str]]) -> None:
        self.cut = cut
        self.refresh()

    def refresh(self) -> None:
        for links in self.links.values():
            links.refresh()


class SimLinks:
    """cluster.links.Links over a Network."""

    def __init__(self, network: Network, node_id: str) -> None:
        self.on_message: Callable[[str, Message], None] = lambda node_id, message: None
        self.on_connected: Callable[[str], None] = lambda node_id: None
        self.on_disconnected: Callable[[str], None] = lambda node_id: None
        self.running = True
        self._network = network
        self._node_id = node_id
        self._peers: set[str] = set()
        self._up: set[str] = set()
        network.links[node_id] = self

    def set_peers(self, peers: Any) -> None:
        self._peers = set(peers) - {self._node_id}
        asyncio.get_running_loop().call_soon(self._network.refresh)

    def send(self, node_id: str, message: Message) -> bool:
        return node_id in self._up and self._network.send(self._node_id, node_id, message)

    def connected(self, node_id: str) -> bool:
        return node_id in self._up

    def refresh(self) -> None:
        up = {peer for peer in self._peers if self.running and self._network.is_up(self._node_id, peer)}
        gone, new, self._up = self._up - up, up - self._up, up
        for peer in sorted(gone):
            self.on_disconnected(peer)
        for peer in sorted(new):
            self.on_connected(peer)


class Node:
    """One node: a folder that survives it, and a store that does not."""

    def __init__(self, cluster: "Cluster", node_id: str, rate: float) -> None:
        self.node_id = node_id
        self.failures: list[StorageFailed] = []
        self.clock = SimClock(asyncio.get_running_loop(), cluster.rng.uniform(1, 1e6), rate)
        self.disk: Disk | None = None
        # How long the journal's syncs take. What is not synced is lost in a crash.
        self.sync_delay_s: Callable[[], float] = lambda: 0.0
        self.disk_is_stuck = False
        self._sync_runs = False
        self._cluster = cluster
        self.folder: DataFolder | None = None
        self.store_: RaftStore | None = None

    @property
    def store(self) -> RaftStore:
        assert self.store_ is not None
        return self.store_

    @property
    def member(self) -> Any:
        return self.store._member

    @property
    def engine(self) -> Any:
        return self.member._engine

    def propose(self, body: bytes) -> None:
        """Append an entry past the group commit."""
        self.member.propose(body, lambda result: None)
        self.member.wake()

    def stored(self, key: str) -> Stored:
        """What is at the key, which must be there."""
        found = self.store.get(key)
        assert found is not None, f"{self.node_id} has nothing at {key}"
        return found

    def open(self) -> None:
        self.folder = open_folder(self._cluster.path / self.node_id, self.node_id)
        self.store_ = RaftStore(
            self.folder,
            self._cluster.settings,
            self.clock,
            rng=random.Random(self._cluster.rng.random()),
            disk=self.disk,
            threaded=False,
        )
        self.store.on_failed = self.failures.append
        journal = self.store._journal
        self.flush_journal = journal.flush
        journal.flush = self._flush  # type: ignore[method-assign]

    def _flush(self) -> None:
        delay_s = self.sync_delay_s()
        if delay_s == 0:
            self.flush_journal()
        elif not self._sync_runs:
            self._sync_runs = True
            asyncio.get_running_loop().call_later(delay_s, self._end_sync, self.store)

    def _end_sync(self, store: RaftStore) -> None:
        self._sync_runs = False
        if store is self.store_ and not self.disk_is_stuck:
            self.flush_journal()

    async def start(self) -> None:
        if self.store_ is None:
            self.open()
        await self.store.start(SimLinks(self._cluster.network, self.node_id), f"{self.node_id}:8201")

    def crash(self) -> None:
        """End as by SIGKILL: nothing is flushed, nobody is told."""
        assert self.folder is not None
        links = self._cluster.network.links.get(self.node_id)
        if self.member is not None:
            self.member.stop()
            self.store._group.stop()
        if links is not None:
            links.running = False
        self.store._state.close(flush=False)
        self.store._journal._segments.close()
        self.folder.close()
        self.store_ = None
        self._sync_runs = False
        self._cluster.network.refresh()


class Cluster:
    """Nodes n1, n2, ... of one cluster. `await cluster.form(3)` makes them a cluster that has a leader."""

    def __init__(self, path: Path, seed: int = 1, **settings: Any) -> None:
        self.path = path
        self.rng = random.Random(seed)
        self.settings = RaftSettings(**settings)
        self.network = Network(random.Random(self.rng.random()))
        self.nodes: dict[str, Node] = {}

    def node(self, node_id: str, rate: float = 1.0) -> Node:
        if node_id not in self.nodes:
            self.nodes[node_id] = Node(self, node_id, rate)
        return self.nodes[node_id]

    async def form(self, count: int) -> Node:
        first = self.node("n1")
        first.open()
        first.store.bootstrap("n1:8201")
        await first.start()
        await self.until(lambda: first.store.is_ready_leader)
        for number in range(2, count + 1):
            await self.join(f"n{number}")
        return first

    async def join(self, node_id: str) -> Node:
        node = self.node(node_id)
        node.open()
        leader = await self.leader()
        node.store.adopt([*leader.store.peers(), Peer(node_id, f"{node_id}:8201")])
        await node.start()
        await leader.store.add_peer(node_id, f"{node_id}:8201")
        await self.until(lambda: node.store.applied_index >= leader.store.applied_index)
        return node

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.store_ is not None and node.store.is_ready_leader]

    async def leader(self, among: set[str] | None = None, within_s: float = 10.0) -> Node:
        """The one that leads with a lease, as soon as there is one."""
        found: list[Node] = []

        def there_is() -> bool:
            found[:] = [node for node in self.leaders() if among is None or node.node_id in among]
            found[:] = [node for node in found if has_lease(node)]
            return bool(found)

        await self.until(there_is, within_s)
        return found[0]

    async def until(self, is_so: Callable[[], bool], within_s: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not is_so():
            assert loop.time() < deadline, "it did not become so in time"
            await asyncio.sleep(0.01)

    async def same_everywhere(self, nodes: list[Node] | None = None) -> None:
        """Wait until all running nodes have applied the same, and hold the same."""
        running = nodes or [node for node in self.nodes.values() if node.store_ is not None]
        leader = await self.leader()
        await self.until(
            lambda: all(node.store.applied_index == leader.store.applied_index for node in running), within_s=60
        )
        contents = [dict(node.store.scan("")) for node in running]
        assert all(content == contents[0] for content in contents)

    def close(self) -> None:
        for node in self.nodes.values():
            if node.store_ is not None:
                node.crash()


def has_lease(node: Node) -> bool:
    from cluster.errors import NoLeader

    try:
        node.store.require_lease()
    except NoLeader:
        return False
    return True


def scenario(body: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn `async def test(cluster)` into a test on virtual time, in a temporary folder."""

    def test(tmp_path: Path) -> None:
        async def play() -> None:
            cluster = Cluster(tmp_path)
            try:
                await body(cluster)
                assert not any(node.failures for node in cluster.nodes.values())
            finally:
                cluster.close()
                await asyncio.sleep(0)

        run(play())

    test.__doc__ = body.__doc__
    test.__name__ = getattr(body, "__name__", "test")
    return test
