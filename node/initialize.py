"""`sys/init`: makes the root key, the keyring and everything a new cluster starts with, in one Raft entry.

Invariant: a cluster is initialised exactly when that entry is committed. Before it nothing is left behind that a second
attempt would trip over, after it the keys that were handed out are the ones that open the storage.
"""

import asyncio
import logging
from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import Final

from cluster.errors import ClusterError, NoLeader
from cluster.inmem import InmemStore
from cluster.store import Put as SealedPut
from cluster.store import Write as SealedWrite
from cluster.tls import new_authority
from engines.common.crypto import KEY_BYTES
from engines.common.errors import InvalidRequest
from engines.common.plan import Put
from node.barrier import Barrier, seal_keyring
from node.certain import LOOK_S, commit_certainly
from node.core import Core
from node.errors import AlreadyInitialized
from node.handout import Handout, handed_out
from node.keyring import Keyring
from node.mounts import AUTH_KEY, MOUNTS_KEY, Mount, encode_mounts, identity_mount, new_mount
from node.pgp import PgpKey
from node.policies import policy_put
from node.policy.builtin import DEFAULT_POLICY_TEXT
from node.seal import Seal
from node.seal.shamir import ShamirSeal
from node.seal_migration import wrapped_and_tried
from node.seal_state import (
    AUTHORITY_KEY,
    CLUSTER_KEY,
    KEYRING_KEY,
    RECOVERY_KEY_KEY,
    ROOT_KEY_KEY,
    SEAL_CONFIG_KEY,
    ClusterInfo,
    SealConfig,
    encode_authority,
)
from node.shamir import check_numbers, split
from node.sources import Sources, new_uuid
from node.storage import RaftStorage
from node.tokens.model import ROOT, TokenSpec, Ttls
from node.tokens.token_store import TokenStore
from node.unsealed import SALT_KEY
from node.view import MountView, OpenedStore

logger = logging.getLogger(__name__)

UNCERTAIN: Final = (
    "the storage did not confirm in time that this node is initialized: keep these keys, and initialize it again; if "
    "that answers with other keys, these are void, and if it answers that it is initialized already, these are the keys"
)
LEAD_TIMEOUT_S: Final = 30.0  # a cluster of one elects itself in two seconds, on a busy machine in a few more


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What `sys/init` was asked. Shares and threshold are of unseal keys, or of recovery keys with auto-unseal.

    `keys` are PGP keys, one for each share, or none; `root_token_key` encrypts the token.
    """

    shares: int
    threshold: int
    keys: tuple[PgpKey, ...] = ()
    root_token_key: PgpKey | None = None
    kv_mount: bool = False
    root_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    """The only time that these exist outside of what they seal."""

    shares: tuple[bytes, ...] = field(repr=False)
    handout: Handout = field(repr=False)
    root_token: str = field(repr=False)
    is_auto: bool
    is_certain: bool = True

    def answer(self) -> dict[str, object]:
        """The body of the documented response."""
        keys = self.handout.answer()
        if self.is_auto:
            keys = {"keys": [], "keys_base64": [], **{f"recovery_{name}": value for name, value in keys.items()}}
        answer: dict[str, object] = {**keys, "root_token": self.root_token}
        if not self.is_certain:
            answer["warnings"] = [UNCERTAIN]
        return answer


async def initialize(core: Core, request: InitRequest) -> InitResult:
    """Initialise the cluster whose first node this is. With auto-unseal the node is unsealed afterwards.

    Raises:
        AlreadyInitialized: Also when this node is about to join another cluster.
        InvalidRequest: Shares, threshold and keys that do not go together.
        SealUnavailable, SealRefused, ClusterError: Nothing was initialised.
    """
    _check(request)
    async with core.seal_lock:
        if core.is_initialized or core.pending_join is not None:
            raise AlreadyInitialized
        return await _initialize(core, request)


def _check(request: InitRequest) -> None:
    if request.threshold > request.shares:
        raise InvalidRequest("the threshold cannot be larger than the number of shares")
    if request.shares > 1 and request.threshold == 1:
        raise InvalidRequest("a threshold of 1 makes sense only with one share")
    check_numbers(request.shares, request.threshold)
    if request.keys and len(request.keys) != request.shares:
        raise InvalidRequest("incorrect number of PGP keys: there must be one for each share")


async def _initialize(core: Core, request: InitRequest) -> InitResult:
    random = core.sources.random
    root_key, share_key = random(KEY_BYTES), random(KEY_BYTES)
    seal = core.seal
    sealed_root_key = await _sealed(seal, root_key, share_key)
    keyring = Keyring.created(random(KEY_BYTES), core.sources.now_ms())
    info = ClusterInfo(name=core.config.cluster_name or f"vault-cluster-{random(4).hex()}", id=new_uuid(core.sources))
    authority = await asyncio.to_thread(new_authority, info.id)
    config = SealConfig(type=seal.type, shares=request.shares, threshold=request.threshold)
    barrier = Barrier(random)
    barrier.unsealed(keyring)
    root_token, puts = _first_records(core, barrier, request)
    result = _result(request, root_token, split(share_key, request.shares, request.threshold, random), seal)
    puts += [
        Put(AUTHORITY_KEY, encode_authority(authority)),
        Put(CLUSTER_KEY, info.to_bytes()),
    ]
    if seal.is_auto:
        puts.append(Put(RECOVERY_KEY_KEY, share_key))
    witness = SealedPut(ROOT_KEY_KEY, sealed_root_key, 0)
    writes: list[SealedWrite] = [
        SealedPut(SEAL_CONFIG_KEY, config.to_bytes(), 0),
        witness,
        SealedPut(KEYRING_KEY, seal_keyring(root_key, keyring, random), 0),
    ]
    writes += [SealedPut(put.key, barrier.seal(put.key, put.value), 0) for put in puts]
    if isinstance(core.storage, RaftStorage):
        core.storage.raft.bootstrap(core.storage.cluster_address)
    await core.storage.start(authority, core.on_call)
    try:
        await _lead(core)
        if core.is_initialized:
            raise AlreadyInitialized  # by an attempt before this one, whose entry was only in the log
        is_certain = await commit_certainly(core.storage.store, writes, witness, LOOK_S)
    finally:
        await core.storage.stop()
    if not is_certain:
        logger.error("it could not be found out whether this node was initialised: %s", UNCERTAIN)
    elif seal.is_auto:
        try:
            await core.unseal_with(root_key)
        except ClusterError as error:
            # The cluster is initialised, and this answer is the only copy of its root token and recovery keys.
            logger.error("initialised, but not unsealed; start this node again: %s", error)
    return replace(result, is_certain=is_certain)


def _result(request: InitRequest, root_token: str, shares: list[bytes], seal: Seal) -> InitResult:
    """What to answer, complete before anything is committed: nothing may fail once it cannot be done again."""
    key = request.root_token_key
    return InitResult(
        shares=tuple(shares),
        handout=handed_out(shares, request.keys),
        root_token=root_token if key is None else b64encode(key.encrypt(root_token.encode())).decode(),
        is_auto=seal.is_auto,
    )


async def _sealed(seal: Seal, root_key: bytes, share_key: bytes) -> bytes:
    """The root key as the seal seals it. A Shamir seal knows the key of the shares for just as long."""
    if not isinstance(seal, ShamirSeal):
        return await wrapped_and_tried(seal, root_key)
    seal.use(share_key)
    try:
        return await seal.wrap(root_key)
    finally:
        seal.forget()


async def _lead(core: Core) -> None:
    try:
        async with asyncio.timeout(LEAD_TIMEOUT_S):
            while not core.storage.is_active:
                await core.next_change()
    except TimeoutError:
        raise NoLeader("this node did not become active in time; nothing was initialised, try again") from None


def _first_records(core: Core, barrier: Barrier, request: InitRequest) -> tuple[str, list[Put]]:
    """The root token, and what every cluster has: the mounts, the default policy, the salt, the token's records."""
    sources = core.sources
    salt = sources.random(KEY_BYTES)
    secrets, auth = _first_mounts(sources, request)
    nothing_yet = MountView(OpenedStore(InmemStore(), barrier, core.meters), "")
    tokens = TokenStore(nothing_yet, sources, salt, barrier, lambda _: Ttls(1, 1))
    spec = TokenSpec(policies=(ROOT,), path="auth/token/root", display_name="root", ttl_s=0, id=request.root_token)
    created = tokens.create_writes(spec)
    puts = [
        Put(SALT_KEY, salt),
        Put(MOUNTS_KEY, encode_mounts(secrets)),
        Put(AUTH_KEY, encode_mounts(auth)),
        policy_put("default", DEFAULT_POLICY_TEXT),
        *(write for write in created.writes if isinstance(write, Put)),
    ]
    return created.token, puts


def _first_mounts(sources: Sources, request: InitRequest) -> tuple[list[Mount], list[Mount]]:
    secrets = [
        new_mount(sources, "sys/", "system", "system endpoints used for control, policy and debugging"),
        new_mount(sources, "cubbyhole/", "cubbyhole", "per-token private secret storage", local=True),
    ]
    secrets.append(identity_mount(sources))
    if request.kv_mount:
        secrets.append(new_mount(sources, "secret/", "kv", "key/value secret storage", options={"version": "2"}))
    return secrets, [new_mount(sources, "auth/token/", "token", "token based credentials")]
