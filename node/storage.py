"""The node's side of its storage: the store itself, who leads, and how to reach the leader.

Two kinds: `raft` (a cluster, also of one node) and `inmem` (dev mode, tests). The rest of the node asks only this.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from cluster.errors import (
    NoLeader,
    OutcomeUnknown,
    PeerChangeUnderWay,
    PeerUnreachable,
    SnapshotRefused,
    StorageFailed,
)
from cluster.inmem import InmemStore
from cluster.links import TlsLinks
from cluster.peers import Peer
from cluster.raft_store import RaftStore
from cluster.restore_transfer import RestoreReceiver, send_restore
from cluster.store import Store
from cluster.tls import Authority, TlsMaterial, client_context, issue, peer_node_id
from node.forwarding import encode_restore

logger = logging.getLogger(__name__)

# How long a joining node has to open its cluster port before the leader gives up on it.
ADMISSION_S: Final = 60.0
# How long a removal waits for the change of peers before it: a node that has just joined gets its vote in a second.
PEER_CHANGE_S: Final = 10.0

# After a restore that ends with new keys, how long this node goes on telling the others of it before it seals itself:
# two elections, should the leader be lost just then, and the heartbeat that brings the commit.
SETTLE_S: Final = 5.0

OnCall = Callable[[str, bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftIndexes:
    """What `sys/leader` shows of Raft."""

    committed: int
    applied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AutopilotPeriods:
    """How often autopilot looks, and how often it removes who is dead, in seconds."""

    update_s: float = 2.0
    reconcile_s: float = 10.0


class Storage(Protocol):
    """A store with its leadership. `on_change` is called on the loop whenever `is_active` or `leader_id` may differ."""

    kind: str
    ha_enabled: bool
    node_id: str
    store: Store
    on_change: Callable[[], None]
    on_failed: Callable[[StorageFailed], None]

    @property
    def is_active(self) -> bool:
        """Whether this node leads and has applied all that its predecessors committed."""

    @property
    def leader_id(self) -> str | None:
        """The node that leads, as far as this one knows."""

    async def start(self, authority: Authority, on_call: OnCall) -> None:
        """Take part in the cluster. Raises ClusterError when the cluster address cannot be used."""

    async def stop(self) -> None:
        """Leave it, for now: the node is sealing or stopping. Local reads go on."""

    def close(self) -> None:
        """Let go of the files."""

    def local_get(self, name: str) -> bytes | None:
        """A record of this node alone, never replicated."""

    def local_put(self, name: str, value: bytes) -> None:
        """Keep a record of this node alone, durable on return."""

    def local_delete(self, name: str) -> None:
        """Drop a record of this node alone."""

    def indexes(self) -> RaftIndexes | None:
        """Where Raft stands, or None without Raft."""


def _nothing() -> None:
    pass


def _raise(error: StorageFailed) -> None:
    raise error


class InmemStorage:
    """Memory only: always active while started, gone with the process."""

    kind = "inmem"
    ha_enabled = False

    def __init__(self) -> None:
        self.node_id = ""
        self.store: Store = InmemStore()
        self.on_change: Callable[[], None] = _nothing
        self.on_failed: Callable[[StorageFailed], None] = _raise
        self._started = False
        self._local: dict[str, bytes] = {}

    @property
    def is_active(self) -> bool:
        return self._started

    @property
    def leader_id(self) -> str | None:
        return "" if self._started else None

    async def start(self, authority: Authority, on_call: OnCall) -> None:
        self._started = True
        self.on_change()

    async def stop(self) -> None:
        self._started = False
        self.on_change()

    def close(self) -> None:
        self._started = False

    def local_get(self, name: str) -> bytes | None:
        return self._local.get(name)

    def local_put(self, name: str, value: bytes) -> None:
        self._local[name] = value

    def local_delete(self, name: str) -> None:
        self._local.pop(name, None)

    def indexes(self) -> RaftIndexes | None:
        return None


class RaftStorage:
    """A member of a Raft cluster."""

    kind = "raft"
    ha_enabled = True

    def __init__(
        self,
        raft: RaftStore,
        *,
        bind_host: str,
        bind_port: int,
        cluster_address: str,
        autopilot_periods: AutopilotPeriods = AutopilotPeriods(),
    ) -> None:
        self.raft = raft
        self.autopilot_periods = autopilot_periods
        self.store: Store = raft
        self.node_id = raft.node_id
        self.on_change: Callable[[], None] = _nothing
        self.on_failed: Callable[[StorageFailed], None] = _raise
        self.cluster_address = cluster_address
        self._bind = (bind_host, bind_port)
        self._links: TlsLinks | None = None
        self._material: TlsMaterial | None = None
        self._receiver = RestoreReceiver(raft.snapshots_folder, raft.stage_restore)
        raft.on_role_change = lambda: self.on_change()
        raft.on_failed = lambda error: self.on_failed(error)

    @property
    def is_active(self) -> bool:
        return self._links is not None and self.raft.is_ready_leader

    @property
    def leader_id(self) -> str | None:
        return self.raft.leader_id if self._links is not None else None

    @property
    def is_started(self) -> bool:
        """Whether Raft runs on this node."""
        return self._links is not None

    async def start(self, authority: Authority, on_call: OnCall) -> None:
        material = await asyncio.to_thread(issue, authority, self.node_id)
        links = TlsLinks(self.node_id, material)
        links.on_call = on_call
        await links.start(*self._bind)
        try:
            await self.raft.start(links, self.cluster_address)
        except BaseException:
            await links.stop()
            raise
        self._links, self._material = links, material
        self.on_change()

    async def stop(self) -> None:
        links, self._links = self._links, None
        if links is not None:
            await self.raft.stop()
            await links.stop()
            self.on_change()

    def close(self) -> None:
        self.raft.close()

    def local_get(self, name: str) -> bytes | None:
        return self.raft.local_get(name)

    def local_put(self, name: str, value: bytes) -> None:
        self.raft.local_put(name, value)

    def local_delete(self, name: str) -> None:
        self.raft.local_delete(name)

    def indexes(self) -> RaftIndexes | None:
        return RaftIndexes(committed=self.raft.commit_index, applied=self.raft.applied_index)

    def peers(self) -> list[Peer]:
        """The members of the cluster, as the newest entry of this node's log has them."""
        return self.raft.peers()

    async def call_leader(self, payload: bytes, timeout_s: float) -> bytes:
        """Ask the leader over the cluster port.

        Raises:
            NoLeader, PeerUnreachable: Nobody saw the request; asking again is safe.
            OutcomeUnknown: It was sent and no answer came.
        """
        leader = self.leader_id
        if self._links is None or leader is None or leader == self.node_id:
            raise NoLeader("there is no leader to forward to yet; try again")
        return await self._links.call(leader, payload, timeout_s)

    async def restore(self, name: str, stream: Path) -> None:
        """Replace the whole cluster's state by this stream, once a majority has it on disk.

        Raises:
            SnapshotDamaged, SnapshotRefused: It cannot be taken here, or not by a majority. Nothing was changed.
            NoLeader: Leadership was lost first. Nothing was changed.
            OutcomeUnknown: It may yet take effect.
        """
        await self.raft.stage_restore(name, stream)
        others = [peer.node_id for peer in self.peers() if peer.node_id != self.node_id]
        outcomes = await asyncio.gather(*(self._stage_on(node, name, stream) for node in others))
        refused = [said for said in outcomes if said]
        for said in refused:
            logger.warning("a node is not ready for the restore, and gets it later: %s", said)
        if 1 + len(others) - len(refused) <= (1 + len(others)) // 2:
            raise SnapshotRefused(f"a majority of the nodes could not take the snapshot: {'; '.join(refused)}")
        await self.raft.restore(name)

    async def _stage_on(self, node_id: str, name: str, stream: Path) -> str:
        """Why this node does not have it; "" if it does."""
        links = self._links
        if links is None:
            raise NoLeader("this node stopped taking part in the cluster; nothing was changed")
        try:

            async def call(peer: str, question: bytes, timeout_s: float) -> bytes:
                return await links.call(peer, encode_restore(question), timeout_s)

            await send_restore(call, node_id, name, stream)
        except (SnapshotRefused, PeerUnreachable, OutcomeUnknown) as error:
            return str(error)
        return ""

    async def on_restore_call(self, node_id: str, question: list[object]) -> bytes:
        """Work on what the leader asks before a restore."""
        if node_id != self.leader_id:
            raise NoLeader("only the leader may prepare a restore")
        return await self._receiver.on_call(question)

    async def settle(self) -> None:
        """Stay for SETTLE_S, so that the other nodes apply what this one has applied."""
        await asyncio.sleep(SETTLE_S)

    async def admit(self, node_id: str, address: str) -> None:
        """Add a node once its cluster port answers with this cluster's certificate.

        A member that is configured and does not answer counts against the quorum: a cluster of one would stop at once.

        Raises:
            PeerUnreachable: It did not answer within ADMISSION_S.
            MembershipRefused, NoLeader, OutcomeUnknown: As RaftStore.add_peer.
        """
        deadline = asyncio.get_running_loop().time() + ADMISSION_S
        while not await self._answers(node_id, address):
            if asyncio.get_running_loop().time() > deadline:
                raise PeerUnreachable(f"the joining node {node_id!r} does not answer at {address}")
            await asyncio.sleep(0.2)
        await _in_turn(lambda: self.raft.add_peer(node_id, address), ADMISSION_S)

    async def remove_peer(self, node_id: str) -> None:
        """Remove a member, once the change of peers that is under way is done. Raises as RaftStore.remove_peer."""
        await _in_turn(lambda: self.raft.remove_peer(node_id), PEER_CHANGE_S)

    async def _answers(self, node_id: str, address: str) -> bool:
        if self._material is None:
            raise NoLeader("this node stopped taking part in the cluster")
        host, port = split_address(address)
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(host, port, ssl=client_context(self._material))
        except (OSError, ValueError):  # ValueError: a host name that is none
            return False
        try:
            return peer_node_id(writer.get_extra_info("ssl_object")) == node_id
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _in_turn(change: Callable[[], Awaitable[None]], timeout_s: float) -> None:
    """Make a change of peers when no other is under way. Raises what it raises; PeerChangeUnderWay after timeout_s."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            return await change()
        except PeerChangeUnderWay:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.1)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port", "[v6]:port" or a URL (its scheme is ignored). Raises ValueError."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not parts.hostname or parts.port is None:
        raise ValueError(f"{address!r} is not host:port")
    return parts.hostname, parts.port
