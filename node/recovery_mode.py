"""`server -recovery`: a node alone with its data, for mending entries that keep it from serving.

Invariant: until a quorum of key shares agrees nothing is opened and nothing of the data folder changes. What they get
is one recovery token, which lives in this process and nowhere else. With it the node becomes a cluster of one, because
what it changes no other member has: those begin anew with empty folders. None of a node's duties are done, so no lease
ends and nothing is audited.
"""

import asyncio
import logging
from typing import Final

from cluster.errors import NoLeader
from engines.common.crypto import equal, sha256
from engines.common.errors import InvalidRequest, PermissionDenied
from node.barrier import Barrier
from node.ceremonies.ceremony import Quorum, given_share, require_may_end
from node.ceremonies.generation import Generation, new_otp
from node.core import Core
from node.errors import ConfigError, InvalidShares, NotInitialized, Sealed, SealRefused
from node.pgp import PgpKey
from node.recovery_key import require_recovery_key, stored_recovery_key
from node.root_key import open_changed
from node.seal.shamir import ShamirSeal
from node.seal_state import AUTHORITY_KEY, KEYRING_KEY, SealedKeys, decode_authority
from node.sources import new_uuid
from node.storage import RaftStorage
from node.tokens.model import TokenType
from node.tokens.token_store import random_token
from node.view import OpenedStore

logger = logging.getLogger(__name__)

LEAD_TIMEOUT_S: Final = 30.0  # alone a node elects itself in two seconds


class RecoveryNode:
    """The state of recovery mode. `core` stays sealed: its storage, seal and configuration are what is used of it."""

    def __init__(self, core: Core) -> None:
        """Raises ConfigError where there is no data of its own."""
        if not isinstance(core.storage, RaftStorage):
            raise ConfigError('recovery mode needs storage "raft"')
        self.core: Final = core
        self.storage: Final = core.storage
        self.lock: Final = asyncio.Lock()
        self.generation: Generation | None = None
        self.opened: OpenedStore | None = None
        self._token_digest = b""
        self._barrier = Barrier(core.sources.random)

    @property
    def keys(self) -> SealedKeys:
        """How the root key is sealed. Raises NotInitialized."""
        keys = self.core.sealed_keys()
        if keys is None:
            raise NotInitialized
        return keys

    def require_token(self, token: str) -> OpenedStore:
        """The opened storage, for the recovery token. Raises Sealed without one, PermissionDenied for others."""
        if self.opened is None:
            raise Sealed
        if not equal(sha256(token.encode("utf-8", "surrogatepass")), self._token_digest):
            raise PermissionDenied
        return self.opened

    def begin(self, key: PgpKey | None, otp_chars: int) -> Generation:
        """Begin to generate the recovery token. Raises InvalidRequest when there is one, or it has begun."""
        if self.opened is not None:
            raise InvalidRequest("a recovery token was generated already; start this node again for another one")
        if self.generation is not None:
            raise InvalidRequest("recovery token generation already in progress")
        sources = self.core.sources
        self.generation = Generation(
            nonce=new_uuid(sources),
            raft_term=0,
            began_s=sources.monotonic_s(),
            is_protected=False,
            quorum=Quorum(self.keys.config.threshold),
            otp="" if key is not None else new_otp(otp_chars, sources.random),
            key=key,
        )
        return self.generation

    def cancel(self, nonce: str) -> None:
        """End it; nothing to end is no error. Raises InvalidRequest as of any ceremony."""
        running = self.generation
        if running is not None:
            require_may_end(running, nonce, running.nonce, self.core.sources.monotonic_s(), may=False)
            self.generation = None

    async def give(self, key: str, nonce: str) -> tuple[Generation, str]:
        """Take a share. The generation, and the encoded token once there were enough, else "".

        Raises:
            InvalidRequest, InvalidShares: As of any ceremony.
            SealUnavailable, ClusterError: The node cannot be opened; it stays as it was.
        """
        generation = self.generation
        if generation is None:
            raise InvalidRequest("no recovery token generation in progress")
        whole = generation.quorum.add(given_share(key, nonce, generation.nonce))
        if whole is None:
            return generation, ""
        await self._open(await self._root_key(whole), whole)
        token = random_token(self.core.sources, TokenType.RECOVERY)
        self._token_digest = sha256(token.encode())
        self.opened = OpenedStore(self.storage.store, self._barrier, self.core.meters)
        self.generation = None
        logger.warning("a recovery token was generated; the storage is open to it until this process ends")
        return generation, generation.encoded(token)

    def close(self) -> None:
        """Drop the keys."""
        self._barrier.forget()

    async def _root_key(self, whole: bytes) -> bytes:
        keys = self.keys
        if keys.config.type != self.core.seal.type:
            raise SealRefused(f"the cluster uses the seal {keys.config.type!r}: give this node the same seal stanza")
        if self.core.seal.is_auto:
            return await self.core.seal.unwrap(keys.sealed_root_key)
        seal = ShamirSeal(self.core.sources.random)
        try:
            seal.use(whole)
            return await seal.unwrap(keys.sealed_root_key)
        except (SealRefused, InvalidShares):
            raise InvalidShares("the key shares are not those of this cluster; all of them were dropped") from None

    async def _open(self, root_key: bytes, whole: bytes) -> None:
        """Check the shares, and only then become a cluster of one."""
        store = self.storage.store
        keyring, stored = store.get(KEYRING_KEY), store.get(AUTHORITY_KEY)
        if keyring is None or stored is None:
            raise NotInitialized
        try:
            root_key, opened = open_changed(root_key, store, self._barrier, keyring.value)
            self._barrier.unsealed(opened)
            if self.core.seal.is_auto:
                require_recovery_key(stored_recovery_key(store, self._barrier), whole)
            authority = decode_authority(self._barrier.open(AUTHORITY_KEY, stored.value))
            self.storage.raft.stand_alone(self.storage.cluster_address)
            unwatch = store.watch(lambda keys: self._follow(root_key))
            try:
                await self.storage.start(authority, self.core.on_call)
                await self._lead()
            finally:
                unwatch()
        except BaseException:
            await self.storage.stop()
            self._barrier.forget()
            raise

    def _follow(self, root_key: bytes) -> None:
        """The log may end with a rotation or a rekey that the state did not show yet."""
        keyring = self.storage.store.get(KEYRING_KEY)
        if keyring is not None:
            self._barrier.unsealed(open_changed(root_key, self.storage.store, self._barrier, keyring.value)[1])

    async def _lead(self) -> None:
        try:
            async with asyncio.timeout(LEAD_TIMEOUT_S):
                while not self.storage.is_active:
                    await self.core.next_change()
        except TimeoutError:
            raise NoLeader("this node did not come to lead itself in time; try again") from None
