"""Changing the root key, and how the other members learn of it.

Invariant: the root key, the keyring it seals and the shares that lead to it change in one Raft entry. Before that
entry the old shares are the valid ones, after it the new ones, and at no moment none. The entry also tells the new root
key to the members that are unsealed, sealed by the barrier, so that none of them has to be unsealed again. This is
taken back after a few minutes, because an old barrier key must not lead to the root key for ever.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Final

from cluster.errors import ClusterError, Conflict
from cluster.store import Delete, Put, Store, Write
from engines.common.crypto import KEY_BYTES
from node.barrier import Barrier, Random, open_keyring, seal_keyring
from node.certain import commit_certainly
from node.errors import BarrierDamaged, WrongKey
from node.keyring import Keyring
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
    SealConfig,
)

logger = logging.getLogger(__name__)

TOLD_KEY: Final = "core/root-key-told"
UNSEAL_BACKUP_KEY: Final = "core/unseal-keys-backup"
RECOVERY_BACKUP_KEY: Final = "core/recovery-keys-backup"
# What all else is protected by. sys/raw neither shows nor changes it, not in recovery mode either: who may read secrets
# there must not carry away what opens every backup, or makes a root token without the other key holders.
OUT_OF_REACH: Final = frozenset(
    (AUTHORITY_KEY, CLUSTER_KEY, KEYRING_KEY, RECOVERY_KEY_KEY, ROOT_KEY_KEY, SEAL_CONFIG_KEY, TOLD_KEY)
)
CHANGE_ATTEMPTS_MAX: Final = 8  # against a keyring that is rotated or counted in the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShares:
    """The shares that are to be valid: how many, and the key they make. `backup` is kept with them, None for none."""

    key: bytes = field(repr=False)
    shares: int
    threshold: int
    backup: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """What a change works on: the store, the barrier over it, the root key in force and the seal that wraps it."""

    store: Store
    barrier: Barrier
    root_key: bytes = field(repr=False)
    seal: Seal
    random: Random


async def change_root_key(vessel: Vessel, new: NewShares | None) -> bool:
    """A new root key, under new unseal key shares; None where the seal is one that has no shares.

    Returns:
        Whether it is in force. False: it may be, and that cannot be told now.

    Raises:
        ClusterError, SealUnavailable, SealRefused: It is not, and what was valid before still is.
    """
    root_key = vessel.random(KEY_BYTES)
    wrapped = Put(ROOT_KEY_KEY, await _wrapped(vessel, root_key, new), _index(vessel.store, ROOT_KEY_KEY))
    config = None if new is None else _config(vessel.store, new)
    told = Put(TOLD_KEY, vessel.barrier.seal(TOLD_KEY, root_key), _index(vessel.store, TOLD_KEY))
    counts = vessel.barrier.take_counts()
    try:
        for attempt in range(1, CHANGE_ATTEMPTS_MAX + 1):
            seen = vessel.store.get(KEYRING_KEY)
            assert seen is not None, "the keyring is written at init"
            keyring = open_keyring(vessel.root_key, seen.value).counted(counts)
            writes: list[Write] = [wrapped, told]
            writes.append(Put(KEYRING_KEY, seal_keyring(root_key, keyring, vessel.random), seen.index))
            writes += [config] if config is not None else []
            writes += _backup_writes(vessel, UNSEAL_BACKUP_KEY, new)
            try:
                is_certain = await commit_certainly(vessel.store, writes, wrapped)
            except Conflict as conflict:
                if conflict.key != KEYRING_KEY or attempt == CHANGE_ATTEMPTS_MAX:
                    raise
                continue
            logger.warning("the root key was replaced%s", "" if is_certain else ", as far as is known now")
            return is_certain
    except BaseException:
        vessel.barrier.give_back(counts)
        raise
    raise AssertionError("the loop returns or raises")


async def change_recovery_key(vessel: Vessel, new: NewShares) -> bool:
    """New recovery key shares. Returns and raises as `change_root_key`."""
    sealed = vessel.barrier.seal(RECOVERY_KEY_KEY, new.key)
    witness = Put(RECOVERY_KEY_KEY, sealed, _index(vessel.store, RECOVERY_KEY_KEY))
    writes = [witness, _config(vessel.store, new), *_backup_writes(vessel, RECOVERY_BACKUP_KEY, new)]
    is_certain = await commit_certainly(vessel.store, writes, witness)
    logger.warning("the recovery key was replaced%s", "" if is_certain else ", as far as is known now")
    return is_certain


def open_changed(root_key: bytes, store: Store, barrier: Barrier, sealed_keyring: bytes) -> tuple[bytes, Keyring]:
    """The keyring and the root key that opens it: the one in use, or the one that a change has told the members.

    Raises:
        WrongKey: Neither does. This node needs the shares of today.
    """
    try:
        return root_key, open_keyring(root_key, sealed_keyring)
    except WrongKey:
        told = None if barrier.is_sealed else store.get(TOLD_KEY)
        if told is None:
            raise
        try:
            new_root_key = barrier.open(TOLD_KEY, told.value)
        except BarrierDamaged:
            raise WrongKey("the new root key was told under a barrier key that is not here") from None
        return new_root_key, open_keyring(new_root_key, sealed_keyring)


async def untell(store: Store) -> None:
    """Take back what the members were told; by now they have applied it."""
    told = store.get(TOLD_KEY)
    if told is None:
        return
    try:
        await store.commit([Delete(TOLD_KEY, told.index)])
    except ClusterError as error:
        logger.info("what members were told of a new root key is taken back at the next turn: %s", error)


async def _wrapped(vessel: Vessel, root_key: bytes, new: NewShares | None) -> bytes:
    seal = vessel.seal
    if new is not None:
        seal = ShamirSeal(vessel.random)
        seal.use(new.key)
    return await wrapped_and_tried(seal, root_key)


def _config(store: Store, new: NewShares) -> Put:
    seen = store.get(SEAL_CONFIG_KEY)
    assert seen is not None, "the seal configuration is written at init"
    config = replace(SealConfig.from_bytes(seen.value), shares=new.shares, threshold=new.threshold)
    return Put(SEAL_CONFIG_KEY, config.to_bytes(), seen.index)


def _backup_writes(vessel: Vessel, key: str, new: NewShares | None) -> list[Write]:
    """A backup is of the shares in force, or there is none."""
    index = _index(vessel.store, key)
    if new is not None and new.backup is not None:
        return [Put(key, vessel.barrier.seal(key, new.backup), index)]
    return [Delete(key, index)] if index else []


def _index(store: Store, key: str) -> int:
    seen = store.get(key)
    return 0 if seen is None else seen.index
