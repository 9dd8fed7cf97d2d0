"""`sys/unseal`, and unsealing by itself at start: from key shares or a seal to the root key."""

import asyncio
import logging
from typing import Final

from engines.common.errors import InvalidRequest
from node.barrier import Barrier, open_keyring
from node.core import Core
from node.errors import (
    InvalidShares,
    JoinRefused,
    NotInitialized,
    SealDenied,
    SealRefused,
    SealUnavailable,
    WrongKey,
)
from node.join import ask_keys, finish_join, interrupted_join, stay_until_admitted, target_of
from node.join_target import configured_targets
from node.recovery_key import require_recovery_key, stored_recovery_key
from node.seal import Seal
from node.seal.shamir import ShamirSeal, UnsealProgress, share_from_text
from node.seal_migration import source_of_migration
from node.seal_state import KEYRING_KEY, JoinRecord, SealedKeys
from node.seal_upkeep import RETRY_S_MAX, RETRY_S_MIN

logger = logging.getLogger(__name__)

OTHERS_TIMEOUT_S: Final = 5.0  # for one other node to answer: they are asked in the way of people who unseal


def progress_of(core: Core, keys: SealedKeys) -> UnsealProgress:
    """The shares collected so far."""
    if core.progress is None:
        core.progress = UnsealProgress(keys.config.shares, keys.config.threshold, core.sources)
    return core.progress


async def unseal(core: Core, key: str, *, reset: bool, migrate: bool = False) -> None:
    """Take one key share, or drop those taken so far; with the last one needed, unseal.

    The shares are of the unseal key, or of the recovery key where a seal unseals: those only allow it, after
    `sys/seal` or for a migration. With `migrate` the node changes over to its new seal as soon as it is active.

    Raises:
        NotInitialized: There is nothing to unseal.
        InvalidRequest: No share was given, or `migrate` does not say what the configuration does.
        SealRefused: The cluster uses a seal that this node is not configured with.
        SealUnavailable, SealDenied: The seal cannot be used now.
        InvalidShares: The share, or the key that the shares make, is wrong. All shares are dropped then.
    """
    async with core.seal_lock:
        keys = core.sealed_keys() or core.pending_keys()
        if keys is None:
            raise NotInitialized
        if not core.is_sealed:
            return
        if reset:
            core.progress = None
            return
        if not key:
            raise InvalidRequest("'key' must be specified in request body as JSON, or 'reset' set to true")
        share = share_from_text(key)  # before a seal is asked: anybody may call this
        source = await _source(core, keys)
        if source is not None and not migrate:
            raise InvalidRequest("'migrate' parameter must be set true in JSON body when in seal migration mode")
        if source is None and migrate:
            raise InvalidRequest("there is no seal to migrate from: the cluster uses the seal of this node already")
        whole = progress_of(core, keys).add(share)
        if whole is None:
            return
        core.progress = None
        try:
            root_key = await _root_key(core, keys, source or core.seal, whole)
            core.migrating.key = whole if source is not None else None
            await _open(core, root_key)
        except (SealRefused, WrongKey, InvalidShares):
            raise InvalidShares("unseal failed, invalid key; all key shares were dropped, start again") from None
        finally:
            if core.is_sealed:
                core.migrating.key = None


async def unseal_by_itself(core: Core) -> None:
    """Unseal with an auto-unseal seal, again and again while it cannot be used. Ends when unsealed or refused.

    Ends as well when a migration waits for key shares, and where key shares are what unseals.

    Raises:
        JoinRefused: The join that this finishes was refused; it may begin anew elsewhere.
    """
    delay_s = RETRY_S_MIN
    while core.is_sealed:
        try:
            await _by_itself(core)
            return
        except SealUnavailable as error:
            logger.warning("the %s seal cannot be used, staying sealed and trying again: %s", core.seal.type, error)
        except JoinRefused as error:
            if core.sealed_keys() is None:
                raise
            logger.warning("the join that was cut off cannot be finished yet: %s", error)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, RETRY_S_MAX)


async def join_by_itself(core: Core) -> None:
    """With auto-unseal, finish the join that has begun; if that fails, forget it, so that it can begin anew.

    Raises:
        JoinRefused, WrongKey: The leader cannot be reached or says no, or it is another cluster's; or the seal of this
            node cannot be used.
    """
    try:
        await _by_itself(core)
    except SealUnavailable as error:
        raise JoinRefused(f"the seal of this node cannot be used: {error}") from None
    finally:
        if core.is_sealed:
            core.pending_join = None
    if core.is_sealed:
        raise JoinRefused("the seal of this node does not open the root key of that cluster; see the log")


async def _by_itself(core: Core) -> None:
    """One attempt. A refusal is logged, for nobody waits for it. Raises SealUnavailable, SealDenied, JoinRefused."""
    async with core.seal_lock:
        keys = core.sealed_keys() or core.pending_keys()
        if keys is None or not core.is_sealed:
            return
        try:
            root_key = await _root_key_by_itself(core, keys)
            if root_key is not None:
                core.seal_health.good()
                await _open(core, root_key)
        except SealUnavailable:
            core.seal_health.failed(core.sources.now_ms())
            raise
        except (SealRefused, WrongKey) as error:
            logger.error("the %s seal does not open this node's root key: %s", core.seal.type, error)


async def _root_key_by_itself(core: Core, keys: SealedKeys) -> bytes | None:
    """The root key; None where people have to bring key shares."""
    try:
        source = await _source(core, keys)
        if source is None:
            return await core.seal.unwrap(keys.sealed_root_key) if core.seal.is_auto else None
    except (SealRefused, SealDenied):
        newer = await _root_key_of_others(core, keys)
        if newer is None:
            raise
        return newer
    newer = await _root_key_of_others(core, keys)
    if newer is None:
        logger.warning(
            "entering seal migration mode, from %s to %s; this node does not unseal by itself: "
            "give it key shares with 'operator unseal -migrate'",
            source.type,
            core.seal.type,
        )
    else:
        core.migrating.source = None
    return newer


async def _root_key_of_others(core: Core, keys: SealedKeys) -> bytes | None:
    """The root key from a newer copy than this node's, where the cluster has changed its seal without this node.

    Whoever answers is not known to be honest: what it says must be opened by this node's seal, and open its keyring.
    """
    keyring = core.storage.store.get(KEYRING_KEY)
    if keyring is None or not core.seal.is_auto:
        return None
    for target in configured_targets(core.config):
        try:
            async with asyncio.timeout(OTHERS_TIMEOUT_S):
                newer = await ask_keys(target, core.storage.node_id)
            if newer.config.type == core.seal.type and newer.sealed_root_key != keys.sealed_root_key:
                root_key = await core.seal.unwrap(newer.sealed_root_key)
                open_keyring(root_key, keyring.value)
                logger.info("the root key is sealed anew since this node was last up; %s has it", target.api_address)
                return root_key
        except (JoinRefused, TimeoutError, SealRefused, SealUnavailable, WrongKey) as error:
            logger.debug("%s has no newer copy of the root key: %s", target.api_address, error)
    return None


async def _source(core: Core, keys: SealedKeys) -> Seal | None:
    core.migrating.source = await source_of_migration(keys, core.seal, core.old_seal, core.sources.random)
    return core.migrating.source


async def _root_key(core: Core, keys: SealedKeys, seal: Seal, whole: bytes) -> bytes:
    """The root key, by the seal that seals it, if this key may have it."""
    if not seal.is_auto:
        # One of its own: whatever happens here, no key stays behind in the node's seal.
        shamir = core.telemetry.watch_seal(ShamirSeal(core.sources.random))
        shamir.use(whole)
        return await shamir.unwrap(keys.sealed_root_key)
    root_key = await seal.unwrap(keys.sealed_root_key)
    keyring = core.storage.store.get(KEYRING_KEY)
    if keyring is None:
        raise InvalidRequest("this node has no copy of the cluster's keys yet, and unseals by itself to get it")
    barrier = Barrier(core.sources.random)
    barrier.unsealed(open_keyring(root_key, keyring.value))
    require_recovery_key(stored_recovery_key(core.storage.store, barrier), whole)
    return root_key


async def _open(core: Core, root_key: bytes) -> None:
    core.pending_join = core.pending_join or interrupted_join(core)
    if core.pending_join is not None:
        await finish_join(core, root_key)
        return
    await core.unseal_with(root_key)
    record = core.storage.local_get(JoinRecord.NAME)
    if core.barrier.is_sealed and record is not None:
        # It stopped after it was given the cluster's authority and before replication reached it.
        core.spawn(stay_until_admitted(core, target_of(JoinRecord.from_bytes(record))))
