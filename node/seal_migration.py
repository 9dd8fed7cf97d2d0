"""From one seal to another: what waits for it, and the one entry that does it (docs/operations/seals.md).

Invariant: the root key stays what it is, and is sealed by exactly one seal: by the old one until an entry is committed,
by the new one after it. The entry holds the new seal configuration, the root key as the new seal wrapped it (and opened
it again), and the recovery key, so a node that stops anywhere is unsealed by one of the two.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from cluster.store import Check, Delete, Put, Store, Stored, Write
from engines.common.crypto import equal
from node.barrier import Barrier, Random, open_keyring
from node.errors import SealDenied, Sealed, SealRefused, SealUnavailable
from node.recovery_key import require_recovery_key, stored_recovery_key
from node.seal import Seal
from node.seal.envelope import key_id_of
from node.seal.shamir import ShamirSeal
from node.seal_state import KEYRING_KEY, RECOVERY_KEY_KEY, ROOT_KEY_KEY, SEAL_CONFIG_KEY, SealConfig, SealedKeys

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PendingMigration:
    """What a node knows of a migration that has not been done: from which seal, and the key that allows it.

    Invariant: `key`, the unseal or recovery key that shares have made, is there only while `source` is and the node is
    unsealed. The node that is active, or becomes it, does the migration.
    """

    source: Seal | None = None
    key: bytes | None = field(default=None, repr=False)

    def store_changed(self, keys: Collection[str], store: Store, seal: Seal) -> None:
        """See whether the migration to `seal` is done, here or by another node. `keys` is empty for a new snapshot.

        Where shares were changed meanwhile it is not done, and `key` is found wrong when it is to be used.
        """
        if self.source is None or (keys and SEAL_CONFIG_KEY not in keys):
            return
        seen = store.get(SEAL_CONFIG_KEY)
        if seen is None:
            return
        stored = SealConfig.from_bytes(seen.value).type
        # Of two seals of one type, a snapshot does not tell which it is; migrating once more does no harm.
        if stored != self.source.type or (keys and stored == seal.type):
            logger.info("the cluster uses the seal %s now, no migration waits here any more", stored)
            self.source = self.key = None


async def source_of_migration(keys: SealedKeys, seal: Seal, old_seal: Seal | None, random: Random) -> Seal | None:
    """The seal that still seals the root key of a node that is configured with another one; None without a migration.

    Raises:
        SealRefused: It is sealed by neither of the seals that are configured here.
        SealUnavailable, SealDenied: Which of two seals of one type it is cannot be found out now.
    """
    stored = keys.config.type
    if stored != seal.type:
        if old_seal is not None and old_seal.type == stored:
            return old_seal
        if stored == ShamirSeal.type:
            return ShamirSeal(random)
        raise SealRefused(
            f"the cluster uses the seal {stored!r}, this node is configured with {seal.type!r}: give it the same seal "
            f"stanza as the other nodes; to migrate, also keep the stanza {stored!r} and set disabled = true in it"
        )
    if old_seal is None or old_seal.type != stored or not seal.is_auto:
        return None
    try:
        await seal.unwrap(keys.sealed_root_key)
        return None
    except (SealRefused, SealDenied) as refused:
        try:
            await old_seal.unwrap(keys.sealed_root_key)
        except (SealRefused, SealUnavailable):
            raise refused from None
        return old_seal


@dataclass(frozen=True, slots=True, kw_only=True)
class SealWork:
    """What the active node changes the sealed root key with. `seal` is the one it is configured with.

    `root_key` gives the one in force, which a rekey replaces at any moment; None once the node seals.
    """

    store: Store
    barrier: Barrier
    random: Random
    seal: Seal
    root_key: Callable[[], bytes | None] = field(repr=False)

    def seen(self) -> "SeenSeal":
        """How the root key in force is sealed. Raises Sealed, and WrongKey where the store has another root key."""
        config, root = self.store.get(SEAL_CONFIG_KEY), self.store.get(ROOT_KEY_KEY)
        keyring, root_key = self.store.get(KEYRING_KEY), self.root_key()
        assert config is not None and root is not None and keyring is not None, "they are written at init"
        if root_key is None:
            raise Sealed
        # What is written in the place of the sealed root key must open the keyring, or nothing ever will.
        open_keyring(root_key, keyring.value)
        return SeenSeal(config=config, sealed_root_key=root, root_key=root_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSeal:
    """The records of one moment. Both are named by their index where they are replaced, so a rekey is not undone."""

    config: Stored
    sealed_root_key: Stored
    root_key: bytes = field(repr=False)

    @property
    def type(self) -> str:
        """Of the seal that is in use."""
        return SealConfig.from_bytes(self.config.value).type


async def migrate(work: SealWork, pending: PendingMigration) -> None:
    """Seal the root key by `work.seal` instead of by the source of the pending migration. Safe to repeat.

    The key that was allowed to unseal goes on as the recovery key, and the other way around, with the same shares.

    Raises:
        SealUnavailable, SealDenied: One of the seals cannot be used now; nothing has changed.
        SealRefused, InvalidShares, InvalidRequest: It cannot be done with this key; nothing has changed.
        Sealed, WrongKey: As SealWork.seen.
        ClusterError: As Store.commit.
    """
    source, key = pending.source, pending.key
    if source is None or key is None:
        return
    seen = work.seen()
    if seen.type != source.type:
        raise SealRefused(f"the cluster uses the seal {seen.type!r} meanwhile")
    await _require_key(work, source, key, seen)
    new = work.seal if work.seal.is_auto else _shamir(work, key)
    config = replace(SealConfig.from_bytes(seen.config.value), type=new.type)
    writes: list[Write] = [
        Put(SEAL_CONFIG_KEY, config.to_bytes(), seen.config.index),
        Put(ROOT_KEY_KEY, await wrapped_and_tried(new, seen.root_key), seen.sealed_root_key.index),
    ]
    recovery = work.store.get(RECOVERY_KEY_KEY)
    if new.is_auto and not source.is_auto:
        sealed = work.barrier.seal(RECOVERY_KEY_KEY, key)
        writes.append(Put(RECOVERY_KEY_KEY, sealed, 0 if recovery is None else recovery.index))
    elif not new.is_auto and recovery is not None:
        writes.append(Delete(RECOVERY_KEY_KEY, recovery.index))
    await work.store.commit(writes)
    logger.info("the seal was migrated from %s to %s", source.type, new.type)


async def rewrap(work: SealWork) -> None:
    """Seal the root key by the newest key of an auto-unseal seal, if that is another one than it is sealed by.

    Never away from a key that this node's seal cannot use: where nodes differ in their stanzas, the one that became
    active must not undo what another has migrated.

    Raises:
        SealUnavailable, SealDenied: The seal cannot be used now; nothing has changed.
        SealRefused: It does not open what is stored, or not what it wrapped; nothing has changed.
        Sealed, WrongKey: As SealWork.seen.
        ClusterError: As Store.commit.
    """
    seen, seal = work.seen(), work.seal
    if not seal.is_auto or seen.type != seal.type:
        return
    blob = await wrapped_and_tried(seal, seen.root_key)
    before, now = key_id_of(seen.sealed_root_key.value), key_id_of(blob)
    if before == now:
        return
    await seal.unwrap(seen.sealed_root_key.value)
    await work.store.commit(
        [Check(SEAL_CONFIG_KEY, seen.config.index), Put(ROOT_KEY_KEY, blob, seen.sealed_root_key.index)]
    )
    logger.info("the %s seal wraps the root key with its key %s now, before %s", seal.type, _shown(now), _shown(before))


async def wrapped_and_tried(seal: Seal, root_key: bytes) -> bytes:
    """The root key as the seal wraps it, after it has opened that again: nothing else may be stored in its place."""
    blob = await seal.wrap(root_key)
    if not equal(await seal.unwrap(blob), root_key):
        raise SealRefused(f"the {seal.type} seal does not give back what it has wrapped")
    return blob


async def _require_key(work: SealWork, source: Seal, key: bytes, seen: SeenSeal) -> None:
    """The shares may have been changed since the key was put together."""
    if source.is_auto:
        require_recovery_key(stored_recovery_key(work.store, work.barrier), key)
    elif not equal(await _shamir(work, key).unwrap(seen.sealed_root_key.value), seen.root_key):
        raise SealRefused("the key shares do not open the root key any more")


def _shamir(work: SealWork, key: bytes) -> ShamirSeal:
    seal = ShamirSeal(work.random)
    seal.use(key)
    return seal


def _shown(key_id: bytes) -> str:
    text = key_id.decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else key_id.hex()
