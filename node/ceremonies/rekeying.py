"""What happens to a rekey: it begins, is given shares, is verified, is in force, or is cancelled."""

import logging
from typing import Final

from cluster.errors import Conflict, NoLeader, OutcomeUnknown
from engines.common.crypto import KEY_BYTES, equal, sha256
from engines.common.errors import InvalidRequest
from node.ceremonies import Rekey, Target
from node.ceremonies.authority import require_quorum, seal_config, unseals_by_itself
from node.ceremonies.ceremony import Quorum, given_share, require_may_end
from node.ceremonies.rekey import Answered, Finished, Verification, Wanted, new_shares
from node.core import Core
from node.errors import InvalidShares, Sealed, SealRefused
from node.handout import Handout
from node.root_key import NewShares, Vessel, change_recovery_key, change_root_key
from node.sources import new_uuid

logger = logging.getLogger(__name__)

ANSWERED_S: Final = 600.0  # for as long as somebody still looks at the terminal in which the answer got lost


def require_target(core: Core, target: Target) -> None:
    """Raises InvalidRequest where this seal has no such shares."""
    if target is Target.RECOVERY and not unseals_by_itself(core):
        raise InvalidRequest("recovery rekeying not supported: this cluster is unsealed with key shares")


def begin(core: Core, target: Target, wanted: Wanted, *, may: bool) -> Rekey:
    """Begin a rekey. One that was begun by nobody in particular gives way to one that is begun with a right to.

    Raises:
        InvalidRequest: There is one already, or the seal has no such shares.
    """
    require_target(core, target)
    if target is Target.UNSEAL and unseals_by_itself(core):
        _require_no_shares(wanted)
        if seal_config(core).type != core.seal.type:
            raise InvalidRequest("a migration to another seal waits to be done; replace the root key after it")
    require_free(core, target, may=may)
    rekey = Rekey(
        nonce=new_uuid(core.sources),
        raft_term=core.storage.store.leading_term,
        began_s=core.sources.monotonic_s(),
        is_protected=may,
        quorum=Quorum(seal_config(core).threshold),
        wanted=wanted,
    )
    core.ceremonies.rekeys[target] = rekey
    core.ceremonies.answered.pop(target, None)
    logger.info("a rekey of the %s keys was begun", target)
    return rekey


def require_free(core: Core, target: Target, *, may: bool) -> None:
    """Raises InvalidRequest while there is a rekey that does not give way."""
    running = core.ceremonies.rekeys.get(target)
    if running is not None and (running.is_protected or not may):
        raise InvalidRequest("rekey already in progress")


def _require_no_shares(wanted: Wanted) -> None:
    """The root key of an auto-unseal is sealed by the seal: it can be replaced, and there are no shares to hand out."""
    if (wanted.shares, wanted.threshold) != (1, 1) or wanted.keys or wanted.needs_verification:
        raise InvalidRequest(
            "this cluster unseals by itself and has no unseal keys: to replace its root key, secret_shares and "
            "secret_threshold must be 1, without PGP keys and verification; recovery keys have their own rekey"
        )


async def give(core: Core, target: Target, key: str, nonce: str) -> Rekey | Finished:
    """Take a share of those in force. The rekey as it stands then, or its result.

    Whoever gave the last share and gives it again is told the result again, for a while: an answer may get lost on its
    way, and the shares in it exist nowhere else.

    Raises:
        InvalidRequest, InvalidShares: The share or the nonce is wrong. With the last share, when they do not fit
            together, all that were given are dropped, and the rekey goes on.
        ClusterError, SealUnavailable, SealRefused: Nothing has changed; the old shares are valid.
    """
    answered = core.ceremonies.answered.get(target)
    if answered is not None and answered.is_for(key, nonce, core.sources.monotonic_s()):
        return answered.finished
    rekey = core.ceremonies.rekey(target)
    if rekey.verification is not None:
        raise InvalidRequest("rekey operation already finished; the new keys must be verified now")
    share = given_share(key, nonce, rekey.nonce)
    whole = rekey.quorum.add(share)
    if whole is None:
        return rekey
    await require_quorum(core, whole)
    finished = await _finish(core, target, rekey)
    until_s = core.sources.monotonic_s() + ANSWERED_S
    core.ceremonies.answered[target] = Answered(finished=finished, last_share=sha256(share), until_s=until_s)
    return finished


async def _finish(core: Core, target: Target, rekey: Rekey) -> Finished:
    """What follows once the old shares have agreed."""
    wanted = rekey.wanted
    if target is Target.UNSEAL and unseals_by_itself(core):
        is_certain = await _put_in_force(core, target, None)
        return Finished(nonce=rekey.nonce, wanted=wanted, out=Handout(()), is_certain=is_certain)
    random = core.sources.random
    new, out = new_shares(wanted, random(KEY_BYTES), rekey.nonce, random)
    if wanted.needs_verification:
        rekey.verification = Verification(new=new, nonce=new_uuid(core.sources), quorum=Quorum(new.threshold))
        nonce_now = rekey.verification.nonce
        return Finished(nonce=rekey.nonce, wanted=wanted, out=out, verification_nonce=nonce_now)
    is_certain = await _put_in_force(core, target, new)
    return Finished(nonce=rekey.nonce, wanted=wanted, out=out, is_certain=is_certain)


async def verify(core: Core, target: Target, key: str, nonce: str) -> Verification | None:
    """Take one of the new shares. How the verification stands then, or None once they are in force.

    Raises as `give`; OutcomeUnknown when it cannot be told whether they are in force: the holders keep both.
    """
    verification = verification_of(core.ceremonies.rekey(target))
    whole = verification.quorum.add(given_share(key, nonce, verification.nonce))
    if whole is None:
        return verification
    if not equal(whole, verification.new.key):
        raise InvalidShares("rekey verification failed; incorrect key shares supplied, all of them were dropped")
    if not await _put_in_force(core, target, verification.new):
        raise OutcomeUnknown("it could not be found out whether the new key shares are in force: keep the old ones too")
    return None


def reset_verification(core: Core, target: Target, nonce: str, *, may: bool) -> Verification:
    """Drop the new shares that were given back so far; the verification begins again under a new nonce.

    Raises:
        InvalidRequest, PermissionDenied: There is none, or the sender may not end it.
    """
    rekey = core.ceremonies.rekey(target)
    verification = verification_of(rekey)
    require_may_end(rekey, nonce, verification.nonce, core.sources.monotonic_s(), may=may)
    fresh = Verification(new=verification.new, nonce=new_uuid(core.sources), quorum=Quorum(verification.new.threshold))
    rekey.verification = fresh
    return fresh


def cancel(core: Core, target: Target, nonce: str, *, may: bool) -> None:
    """End a rekey, also one that waits for its verification; the old shares stay valid. Nothing to end is no error.

    Raises:
        InvalidRequest, PermissionDenied: The sender may not end it.
    """
    require_target(core, target)
    rekey = core.ceremonies.rekeys.get(target)
    if rekey is None:
        return
    require_may_end(rekey, nonce, rekey.nonce, core.sources.monotonic_s(), may=may)
    del core.ceremonies.rekeys[target]
    logger.info("the rekey of the %s keys was cancelled", target)


def verification_of(rekey: Rekey) -> Verification:
    """The verification under way. Raises InvalidRequest."""
    if rekey.verification is None:
        raise InvalidRequest("no rekey verification in progress")
    return rekey.verification


async def _put_in_force(core: Core, target: Target, new: NewShares | None) -> bool:
    vessel = _vessel(core)
    try:
        if target is Target.UNSEAL:
            await _require_seal_in_use(core)
            is_certain = await change_root_key(vessel, new)
        else:
            assert new is not None, "a recovery key has shares"
            is_certain = await change_recovery_key(vessel, new)
    except NoLeader:
        core.ceremonies.rekeys.pop(target, None)  # it may only be held where the change can be committed
        raise
    except Conflict:
        core.ceremonies.rekeys.pop(target, None)  # not to be planned again: the shares were for what was there before
        raise InvalidRequest("the seal was changed meanwhile, so the rekey was not done; start again") from None
    core.ceremonies.rekeys.pop(target, None)
    return is_certain


async def _require_seal_in_use(core: Core) -> None:
    """A node that still has the stanza from before a migration must not wrap the new root key under it.

    Raises:
        InvalidRequest: This node's seal is not the one that wrapped what is stored.
        SealUnavailable: It does not answer.
    """
    keys = core.sealed_keys()
    if not core.seal.is_auto or keys is None:
        return
    try:
        await core.seal.unwrap(keys.sealed_root_key)
    except SealRefused:
        raise InvalidRequest(
            "this node's seal is not the one in use: give it the seal stanza of the others, or do this on another node"
        ) from None


def _vessel(core: Core) -> Vessel:
    if core.root_key is None:
        raise Sealed
    return Vessel(
        store=core.storage.store,
        barrier=core.barrier,
        root_key=core.root_key,
        seal=core.seal,
        random=core.sources.random,
    )
