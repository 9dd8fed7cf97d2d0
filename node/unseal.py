"""`sys/unseal`, and unsealing by itself at start: from key shares or a seal to the root key."""

import asyncio
import logging
from typing import Final

from engines.common.errors import InvalidRequest
from node.core import Core
from node.errors import InvalidShares, JoinRefused, NotInitialized, SealRefused, SealUnavailable, WrongKey
from node.join import finish_join, interrupted_join, stay_until_admitted, target_of
from node.seal.shamir import ShamirSeal, UnsealProgress, share_from_text
from node.seal_state import JoinRecord, SealedKeys

logger = logging.getLogger(__name__)

RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0


def progress_of(core: Core, keys: SealedKeys) -> UnsealProgress:
    """The shares collected so far."""
    if core.progress is None:
        core.progress = UnsealProgress(keys.config.shares, keys.config.threshold, core.sources)
    return core.progress


async def unseal(core: Core, key: str, *, reset: bool) -> None:
    """Take one key share, or drop those taken so far; with the last one needed, unseal.

    Raises:
        NotInitialized: There is nothing to unseal.
        InvalidRequest: No share was given, or the node unseals by itself.
        SealRefused: The cluster uses another kind of seal.
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
        if not isinstance(core.seal, ShamirSeal):
            raise InvalidRequest(
                f"this node unseals by itself with its {core.seal.type} seal; key shares are not taken"
            )
        if not key:
            raise InvalidRequest("'key' must be specified in request body as JSON, or 'reset' set to true")
        _require_same_seal(core, keys)
        whole = progress_of(core, keys).add(share_from_text(key))
        if whole is None:
            return
        core.progress = None
        core.seal.use(whole)
        try:
            await _open(core, keys)
        except (SealRefused, WrongKey):
            raise InvalidShares("unseal failed, invalid key; all key shares were dropped, start again") from None
        finally:
            core.seal.forget()


async def unseal_by_itself(core: Core) -> None:
    """Unseal with an auto-unseal seal, again and again while it cannot be reached. Ends when unsealed or refused.

    Raises:
        JoinRefused: The join that this finishes was refused; it may begin anew elsewhere.
    """
    delay_s = RETRY_S_MIN
    while core.is_sealed:
        async with core.seal_lock:
            keys = core.sealed_keys() or core.pending_keys()
            if keys is None or not core.is_sealed:
                return
            try:
                await _open(core, keys)
                return
            except SealUnavailable as error:
                logger.warning("the %s seal cannot be reached, staying sealed: %s", core.seal.type, error)
            except (SealRefused, WrongKey) as error:
                logger.error("the %s seal does not open this node's root key: %s", core.seal.type, error)
                return
            except JoinRefused as error:
                if core.sealed_keys() is None:
                    raise
                logger.warning("the join that was cut off cannot be finished yet: %s", error)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, RETRY_S_MAX)


async def join_by_itself(core: Core) -> None:
    """With auto-unseal, finish the join that has begun; if that fails, forget it, so that it can begin anew.

    Raises:
        JoinRefused, WrongKey: The leader cannot be reached or says no, or it is another cluster's.
    """
    try:
        await unseal_by_itself(core)
    finally:
        if core.is_sealed:
            core.pending_join = None
    if core.is_sealed:
        raise JoinRefused("the seal of this node does not open the root key of that cluster; see the log")


async def _open(core: Core, keys: SealedKeys) -> None:
    _require_same_seal(core, keys)
    root_key = await core.seal.unwrap(keys.sealed_root_key)
    core.pending_join = core.pending_join or interrupted_join(core)
    if core.pending_join is not None:
        await finish_join(core, root_key)
        return
    await core.unseal_with(root_key)
    record = core.storage.local_get(JoinRecord.NAME)
    if core.barrier.is_sealed and record is not None:
        # It stopped after it was given the cluster's authority and before replication reached it.
        core.spawn(stay_until_admitted(core, target_of(JoinRecord.from_bytes(record))))


def _require_same_seal(core: Core, keys: SealedKeys) -> None:
    if keys.config.type != core.seal.type:
        raise SealRefused(
            f"the cluster was initialised with the seal {keys.config.type!r}, this node is configured with "
            f"{core.seal.type!r}: give it the same seal stanza as the other nodes"
        )
