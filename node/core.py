"""One node's life: uninitialised, sealed, unsealed; standby or active. It owns the keys, and hands requests their way.

Invariant: `root_key` is not None exactly while the node is unsealed; `storage` takes part in the cluster only then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Final

from cluster.errors import NoLeader, OutcomeUnknown, PeerUnreachable, StorageFailed
from cluster.meters import clock
from cluster.tls import Authority
from engines.common.frame import Engine
from node.advert import ACTIVE_KEY, ECHO_PERIOD_S, ActiveNode, Echo, Echoes
from node.autopilot import Autopilot
from node.barrier import Barrier, open_keyring
from node.ceremonies import Ceremonies
from node.clock_guard import ClockGuard
from node.config.model import Config
from node.duties import do_duties
from node.errors import BadRequest, NoActiveNode, Sealed, WrongKey
from node.forwarding import (
    ECHO,
    FORWARD,
    RESTORE,
    decode_payload,
    decode_request,
    decode_response,
    decode_restore,
    encode_echo,
    encode_request,
    encode_response,
)
from node.join_target import PendingJoin
from node.logs import log_unforeseen
from node.request import WireRequest, parse
from node.response import Response, of_error, refusal
from node.root_key import open_changed
from node.seal import Seal
from node.seal.shamir import UnsealProgress
from node.seal_migration import PendingMigration, SealWork
from node.seal_state import (
    AUTHORITY_KEY,
    CLUSTER_KEY,
    KEYRING_KEY,
    ROOT_KEY_KEY,
    SEAL_CONFIG_KEY,
    ClusterInfo,
    JoinRecord,
    SealConfig,
    SealedKeys,
    decode_authority,
)
from node.seal_upkeep import SealHealth, keep_root_key_sealed
from node.serve import serve
from node.sources import Sources, new_uuid
from node.status import KNOWN
from node.storage import RaftStorage, Storage
from node.telemetry.meters import NodeMeters
from node.telemetry.service import Telemetry
from node.unsealed import Unsealed
from node.upload import STREAMED_PATHS

logger = logging.getLogger(__name__)

# How long a request waits on this node for a leader to appear before it is told that there is none. An election
# takes one to two seconds; a client that is refused at once would only ask again.
LEADER_WAIT_S: Final = 10.0
FORWARD_TIMEOUT_S: Final = 90.0

NO_FORWARDING: Final = "x-vault-no-request-forwarding"
# What a node says of itself alone, and what is too large to pass on: a standby sends the client to the active node.
REDIRECTED: Final = STREAMED_PATHS | {"sys/metrics", "sys/host-info", "sys/in-flight-req", "sys/monitor"}

NOT_LEADER: Final = Response(0)  # to a forwarding node: nothing was done here, ask the new leader


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """How this node is known. `api_address` is what clients are redirected to."""

    hostname: str
    api_address: str
    cluster_address: str
    version: str
    started_at_ms: int


async def _nothing() -> None:
    pass


@dataclass(slots=True)
class Core:
    """The state of one node. `node_engine` gives the engines that belong to the node itself (system, token).

    `after_restore` is called when a restore has sealed the node because its keys are no longer those of the store.
    `old_seal` is the one that a migration comes from, where the configuration keeps it, disabled.
    """

    config: Config
    storage: Storage
    seal: Seal
    sources: Sources
    identity: NodeIdentity
    node_engine: Callable[["Core"], Callable[[str], Engine]]
    on_failed: Callable[[str], None]
    after_restore: Callable[[], Awaitable[None]] = _nothing
    old_seal: Seal | None = None

    barrier: Barrier = field(init=False)
    clock: ClockGuard = field(init=False)
    root_key: bytes | None = field(init=False, default=None, repr=False)
    unsealed: Unsealed | None = field(init=False, default=None)
    progress: UnsealProgress | None = field(init=False, default=None, repr=False)
    pending_join: PendingJoin | None = field(init=False, default=None, repr=False)
    migrating: PendingMigration = field(init=False, default_factory=PendingMigration)
    seal_health: SealHealth = field(init=False, default_factory=SealHealth)
    echoes: Echoes = field(init=False, default_factory=Echoes)
    ceremonies: Ceremonies = field(init=False, default_factory=Ceremonies)
    telemetry: Telemetry = field(init=False)
    active_since_ms: int = field(init=False, default=0)
    seal_lock: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    autopilot: Autopilot | None = field(init=False, default=None)
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _duties: asyncio.Task[None] | None = field(init=False, default=None)
    _serves: bool = field(init=False, default=False)
    _tasks: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _detached: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(self)
        self.telemetry.watch_seal(self.seal)
        self.barrier = Barrier(self.sources.random)
        written_ms = self.storage.raft.last_written_ms if isinstance(self.storage, RaftStorage) else 0
        self.clock = ClockGuard(self.sources, written_ms)
        self.storage.on_change = self._role_changed
        self.storage.on_failed = self._storage_failed
        self.storage.store.watch(self._store_changed, (KEYRING_KEY, SEAL_CONFIG_KEY))

    @property
    def meters(self) -> NodeMeters:
        """What this node counts and times."""
        return self.telemetry.meters

    # -- what this node is -------------------------------------------------------------------------------------------

    @property
    def is_sealed(self) -> bool:
        """Whether the keys are away."""
        return self.root_key is None

    def holds_keys(self) -> bool:
        """As `not is_sealed`, asked anew: other tasks run between two questions."""
        return self.root_key is not None

    @property
    def is_initialized(self) -> bool:
        """Whether the cluster this node belongs to has been initialised."""
        return self.sealed_keys() is not None

    @property
    def is_active(self) -> bool:
        """Whether this node serves requests itself."""
        return not self.is_sealed and self.storage.is_active and not self.barrier.is_sealed

    def sealed_keys(self) -> SealedKeys | None:
        """How the root key is sealed: from the replicated store, or from what joining brought."""
        config = self.storage.store.get(SEAL_CONFIG_KEY)
        root_key = self.storage.store.get(ROOT_KEY_KEY)
        if config is not None and root_key is not None:
            return SealedKeys(config=SealConfig.from_bytes(config.value), sealed_root_key=root_key.value)
        record = self.storage.local_get(JoinRecord.NAME)
        if record is not None:
            return JoinRecord.from_bytes(record).keys
        return None

    def pending_keys(self) -> SealedKeys | None:
        """What a join brought that waits for the root key."""
        return None if self.pending_join is None else self.pending_join.keys

    def cluster_info(self) -> ClusterInfo | None:
        """The cluster's name and id; None until this node has them, unsealed."""
        if self.unsealed is None or self.barrier.is_sealed:
            return None
        seen = self.unsealed.opened.get(CLUSTER_KEY)
        return None if seen is None else ClusterInfo.from_bytes(seen.value)

    def active_node(self) -> ActiveNode | None:
        """Who is active, as far as this node can tell."""
        if self.unsealed is None or self.barrier.is_sealed or self.storage.leader_id is None:
            return None
        seen = self.unsealed.opened.get(ACTIVE_KEY)
        if seen is None:
            return None
        active = ActiveNode.from_bytes(seen.value)
        return active if active.node_id == self.storage.leader_id else None

    def require_unsealed(self) -> Unsealed:
        """What this node works with. Raises Sealed."""
        if self.unsealed is None:
            raise Sealed
        return self.unsealed

    # -- keys --------------------------------------------------------------------------------------------------------

    async def unseal_with(self, root_key: bytes) -> None:
        """Go from sealed to unsealed: open the keyring, take part in the cluster.

        Raises:
            WrongKey: The root key does not open the keyring; nothing has changed.
            ClusterError: The cluster address cannot be used; the node stays sealed.
        """
        began_s = clock()
        keyring = self.storage.store.get(KEYRING_KEY)
        if keyring is not None:
            self.barrier.unsealed(open_keyring(root_key, keyring.value))
        try:
            authority = self._authority(root_key)
            self.root_key = root_key
            self.unsealed = self._new_unsealed()
            await self.storage.start(authority, self.on_call)
        except BaseException:
            self._forget_keys()
            raise
        logger.info("unsealed")
        self.meters.unseal.add(clock() - began_s)
        self.spawn(self.telemetry.usage.run())
        if self.storage.ha_enabled:
            self.spawn(self._echo_while_standby())

    async def seal_now(self) -> None:
        """Drop the keys and leave the cluster. Requests that are being worked on end as they can."""
        async with self.seal_lock:
            was_unsealed = not self.is_sealed
            with self.meters.seal.timing():
                await self._leave()
        if was_unsealed:
            logger.info("sealed")

    async def _leave(self) -> None:
        with self.meters.seal_internal.timing():
            with self.meters.pre_seal.timing():
                self._forget_keys()
            for task in list(self._tasks):
                if task is not asyncio.current_task():
                    task.cancel()
            await self.storage.stop()

    def _authority(self, root_key: bytes) -> Authority:
        record = self.storage.local_get(JoinRecord.NAME)
        if self.barrier.is_sealed:
            if record is None:
                raise Sealed
            return decode_authority(JoinRecord.from_bytes(record).open_authority(root_key))
        stored = self.storage.store.get(AUTHORITY_KEY)
        if stored is None:
            raise LookupError("the cluster's authority is missing from storage")
        return decode_authority(self.barrier.open(AUTHORITY_KEY, stored.value))

    def _forget_keys(self) -> None:
        self.root_key = None
        self.barrier.forget()
        if self.unsealed is not None:
            self.unsealed.close()
        self.unsealed = None
        self.progress = None
        self.migrating.key = None
        self.echoes.clear()
        self.ceremonies.end_all()
        self.autopilot = None

    def _store_changed(self, keys: Collection[str]) -> None:
        """A keyring that replication brought (joining, rotation on the leader) takes effect at once."""
        self.migrating.store_changed(keys, self.storage.store, self.seal)
        if self.root_key is None or (keys and KEYRING_KEY not in keys):
            return
        stored = self.storage.store.get(KEYRING_KEY)
        if stored is None:
            return
        try:
            self.root_key, keyring = open_changed(self.root_key, self.storage.store, self.barrier, stored.value)
        except WrongKey:
            logger.warning("the store now belongs to other unseal keys; this node seals itself")
            self._forget_keys()
            self._role_changed()
            self.spawn_detached(self._seal_for_new_keys())
            return
        self.barrier.unsealed(keyring)
        if not keys:
            self._begin_anew()
        self._role_changed()

    def _begin_anew(self) -> None:
        """Everything may have changed: whatever was derived from the old content ends with the object that held it."""
        if self.unsealed is not None:
            self.unsealed.close()
        self.ceremonies.end_all()  # their shares may not be those of what is there now
        self.unsealed = self._new_unsealed()
        if self._duties is not None:
            self._duties.cancel()
        self.autopilot = None
        self._serves = False  # `_role_changed` takes over again, from what is there now

    def _new_unsealed(self) -> Unsealed:
        return Unsealed(
            config=self.config,
            store=self.storage.store,
            barrier=self.barrier,
            sources=self.sources,
            node_engine=self.node_engine(self),
            meters=self.meters,
        )

    async def _seal_for_new_keys(self) -> None:
        """Leave the cluster until somebody unseals with the keys that the restored store belongs to."""
        async with self.seal_lock:  # whoever brings the new keys waits until the old links are down
            if isinstance(self.storage, RaftStorage):
                await self.storage.settle()
            await self._leave()
        logger.warning("sealed; unseal this node with the keys that the restored snapshot belongs to")
        await self.after_restore()

    # -- requests ----------------------------------------------------------------------------------------------------

    async def handle(self, wire: WireRequest) -> Response:
        """Answer any API request, here or through the leader. Never raises for what a request holds."""
        request_id = new_uuid(self.sources)
        return await guarded(self._answer(wire, request_id), request_id)

    async def _answer(self, wire: WireRequest, request_id: str) -> Response:
        deadline_s = 0.0
        while True:
            node = self.unsealed
            if node is None:
                raise Sealed
            changed = self._changed
            try:
                # `_role_changed` keeps this; the gate after each read, and each commit, ask Raft itself.
                if self._serves:
                    return await serve(node, parse(wire, request_id))
                return await self._forward(wire, request_id)
            except (NoLeader, PeerUnreachable):
                if wire.upload is not None and wire.upload.started:
                    raise
                # Nobody has worked on the request, so it may be tried again once somebody leads.
                now_s = self.sources.monotonic_s()
                deadline_s = deadline_s or now_s + LEADER_WAIT_S
                left_s = deadline_s - now_s
                if left_s <= 0:
                    return self._redirect(wire)
                await self._wait(changed, min(left_s, 0.25))

    async def _forward(self, wire: WireRequest, request_id: str) -> Response:
        request = parse(wire, request_id)  # what is malformed costs the leader nothing
        if not isinstance(self.storage, RaftStorage):
            raise NoLeader("this node is not ready to serve yet")
        if request.path in REDIRECTED or wire.headers.get(NO_FORWARDING):
            active = self.active_node()
            if active is not None and active.node_id != self.storage.node_id:
                return self._redirect(wire)
        if request.path in REDIRECTED:
            raise NoLeader("the active node is not known yet, and such a request is not forwarded")
        # OutcomeUnknown is for the client, of a GET too: it may have taken a use of its token, or made credentials.
        try:
            with self.meters.forward.timing():
                payload = await self.storage.call_leader(encode_request(wire), FORWARD_TIMEOUT_S)
        except (NoLeader, PeerUnreachable, OutcomeUnknown):
            self.meters.forward_errors.value += 1
            raise
        response = decode_response(payload)
        if response.status == NOT_LEADER.status:
            raise NoLeader("the node that led no longer does")
        return response

    def _redirect(self, wire: WireRequest) -> Response:
        """Send the client to the active node itself (API documentation, "High availability"). Raises NoActiveNode."""
        active = self.active_node()
        if active is None or not active.api_address or active.node_id == self.storage.node_id:
            raise NoActiveNode
        query = f"?{wire.query}" if wire.query else ""
        return Response(307, headers={"Location": f"{active.api_address}{wire.path}{query}"})

    async def on_call(self, node_id: str, payload: bytes) -> bytes:
        """Work on what another node of the cluster asks: a forwarded request, a part of a restore, or its echo.

        Raises:
            ValueError: The other node sent what this one cannot read.
        """
        try:
            kind, rest = decode_payload(payload)
            forwarded = decode_request(rest) if kind == FORWARD else None
            question = decode_restore(rest) if kind == RESTORE else None
        except BadRequest as error:
            raise ValueError(str(error)) from None
        if forwarded is not None:
            request_id = new_uuid(self.sources)
            return encode_response(await guarded(self._answer_forwarded(forwarded, request_id), request_id))
        if question is not None and isinstance(self.storage, RaftStorage):
            return await self.storage.on_restore_call(node_id, question)
        if kind == ECHO:
            self.echoes.note(node_id, rest, self.sources.now_ms())
        return encode_response(Response(204))

    async def _answer_forwarded(self, wire: WireRequest, request_id: str) -> Response:
        """What this node cannot do goes back to the sender instead of onwards."""
        node = self.unsealed
        if node is None or not self.is_active:
            return NOT_LEADER
        try:
            return await serve(node, parse(wire, request_id))
        except NoLeader:
            return NOT_LEADER

    def reopen_audit_files(self) -> None:
        """Let the file audit devices begin new files, as after a rotation (SIGHUP)."""
        if self.unsealed is not None:
            self.unsealed.audit.reopen()

    # -- leadership --------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run background work that ends with the unsealed node."""
        return self._start(work, self._tasks)

    def spawn_detached(self, work: Coroutine[None, None, None]) -> None:
        """Run work that must not be cancelled by the sealing it may itself be."""
        self._start(work, self._detached)

    def _start(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            among.discard(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, KNOWN):
                logger.warning("background work ended early: %s", error)
            elif error is not None:
                log_unforeseen("background work failed", error)

        task.add_done_callback(ended)
        return task

    async def next_change(self) -> None:
        """Wait until this node's role may have changed."""
        await self._changed.wait()

    async def wait_active(self, timeout_s: float) -> None:
        """Wait until this node is active. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self.is_active:
                await self._changed.wait()

    def _role_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if isinstance(self.storage, RaftStorage):
            self.echoes.keep_only({peer.node_id for peer in self.storage.peers()})
        if self.is_active and not self._serves:
            self._serves = True
            self.active_since_ms = self.sources.now_ms()
            logger.info("this node is now active")
            self._take_over()
        elif not self.is_active and self._serves:
            self._serves = False
            self.meters.leadership_lost.add((self.sources.now_ms() - self.active_since_ms) / 1000)
            self.echoes.clear()
            self.ceremonies.end_all()
            self.autopilot = None
            if self.unsealed is not None:
                self.unsealed.audit.close()
            if self._duties is not None:
                self._duties.cancel()
            logger.info("this node is no longer active")

    def _take_over(self) -> None:
        node = self.unsealed
        assert node is not None, "only an unsealed node is active"
        self._duties = self.spawn(
            do_duties(node, lambda: self.root_key, self._own_advert(), self._duties, self.clock.now_ms)
        )
        self._duties.add_done_callback(self._duties_ended)
        self._keep_root_key_sealed(self._duties)
        if isinstance(self.storage, RaftStorage):
            autopilot = Autopilot(node.opened, self.storage, self.sources, self._version_of)
            self.autopilot = autopilot
            self.spawn(autopilot.run(lambda: self.autopilot is autopilot))

    def _keep_root_key_sealed(self, duties: asyncio.Task[None]) -> None:
        work = SealWork(
            store=self.storage.store,
            barrier=self.barrier,
            random=self.sources.random,
            seal=self.seal,
            root_key=lambda: self.root_key,
        )
        self.spawn(keep_root_key_sealed(work, self.migrating, lambda: self._duties is duties))

    def _duties_ended(self, task: asyncio.Task[None]) -> None:
        if self._duties is task:
            self._duties = None

    def _version_of(self, node_id: str) -> str:
        """The program's version on a member, as far as it has told."""
        echo = self.echoes.get(node_id)
        return self.identity.version if node_id == self.storage.node_id else echo.version if echo is not None else ""

    def _own_advert(self) -> ActiveNode:
        return ActiveNode(
            node_id=self.storage.node_id,
            api_address=self.identity.api_address,
            cluster_address=self.identity.cluster_address,
            hostname=self.identity.hostname,
            version=self.identity.version,
            since_ms=self.active_since_ms,
        )

    async def _echo_while_standby(self) -> None:
        while not self.is_sealed:
            if isinstance(self.storage, RaftStorage) and not self.is_active:
                try:
                    with self.meters.echo.timing():
                        await self.storage.call_leader(encode_echo(self.identity_echo()), ECHO_PERIOD_S)
                except (NoLeader, PeerUnreachable, OutcomeUnknown):
                    self.meters.echo_errors.value += 1
                    logger.debug("no leader to echo to")
            await asyncio.sleep(ECHO_PERIOD_S)

    def identity_echo(self) -> Echo:
        """What this node tells the active one about itself."""
        return Echo(
            hostname=self.identity.hostname,
            api_address=self.identity.api_address,
            cluster_address=self.identity.cluster_address,
            version=self.identity.version,
        )

    async def _wait(self, changed: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass

    def _storage_failed(self, error: StorageFailed) -> None:
        self.on_failed(str(error))


async def guarded(answer: Awaitable[Response], request_id: str) -> Response:
    """The answer, or the refusal that a raised error becomes."""
    try:
        return await answer
    except KNOWN as error:
        return of_error(error)
    except Exception as error:
        log_unforeseen(f"request {request_id} failed", error)
        return refusal(500, "internal error")
