"""What happens to the generation of a root token: it begins, is given shares, makes a token, or is cancelled."""

import logging
from dataclasses import dataclass, field
from typing import Final

from cluster.errors import NoLeader, OutcomeUnknown
from cluster.store import Put as SealedPut
from engines.common.errors import InvalidRequest
from engines.common.plan import Put
from node.ceremonies import Generation
from node.ceremonies.authority import require_quorum, seal_config
from node.ceremonies.ceremony import Quorum, given_share, require_may_end
from node.ceremonies.generation import new_otp
from node.certain import commit_certainly
from node.core import Core
from node.pgp import PgpKey
from node.sources import new_uuid
from node.tokens.logic import ID_CHARS
from node.tokens.model import PREFIX_OF, ROOT, TokenSpec, TokenType

logger = logging.getLogger(__name__)

OTP_CHARS: Final = len(PREFIX_OF[TokenType.SERVICE]) + ID_CHARS  # that of a token, as they are combined bit by bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A root token as the giver of the last share gets it, masked or encrypted."""

    generation: Generation
    encoded_token: str = field(repr=False)


def begin(core: Core, key: PgpKey | None, otp: str, *, may: bool) -> Generation:
    """Begin; without PGP key and OTP, with a new OTP. Raises InvalidRequest as a rekey does, or for a wrong OTP."""
    if otp and key is not None:
        raise InvalidRequest('only one of "otp" and "pgp_key" must be specified')
    if otp and (len(otp) != OTP_CHARS or not otp.isascii()):
        raise InvalidRequest(f"OTP string is wrong length: it must have {OTP_CHARS} characters")
    require_free(core, may=may)
    generation = Generation(
        nonce=new_uuid(core.sources),
        raft_term=core.storage.store.leading_term,
        began_s=core.sources.monotonic_s(),
        is_protected=may,
        quorum=Quorum(seal_config(core).threshold),
        otp=otp if otp or key is not None else new_otp(OTP_CHARS, core.sources.random),
        key=key,
    )
    core.ceremonies.generation = generation
    logger.info("the generation of a root token was begun")
    return generation


def require_free(core: Core, *, may: bool) -> None:
    """Raises InvalidRequest while there is one that does not give way."""
    running = core.ceremonies.generation
    if running is not None and (running.is_protected or not may):
        raise InvalidRequest("root generation already in progress")


async def give(core: Core, key: str, nonce: str) -> Generation | Generated:
    """Take a share. The generation as it stands then, or its token, which is in force.

    Raises:
        InvalidRequest, InvalidShares: As of a rekey.
        NoLeader, Conflict: No token was made.
        OutcomeUnknown: A token that nobody knows may have been made.
    """
    generation = core.ceremonies.root_generation()
    whole = generation.quorum.add(given_share(key, nonce, generation.nonce))
    if whole is None:
        return generation
    await require_quorum(core, whole)
    node = core.require_unsealed()
    created = node.ledger.tokens.create_writes(
        TokenSpec(policies=(ROOT,), path="auth/token/root", display_name="root", ttl_s=0)
    )
    encoded = generation.encoded(created.token)
    puts = [write for write in created.writes if isinstance(write, Put)]
    sealed = [SealedPut(put.key, core.barrier.seal(put.key, put.value), put.seen_index) for put in puts]
    try:
        if not await commit_certainly(core.storage.store, sealed, sealed[0]):
            raise OutcomeUnknown("it could not be found out whether the root token was made; generate another one")
    except NoLeader:
        core.ceremonies.generation = None  # it may only be held where its token can be committed
        raise
    core.ceremonies.generation = None
    logger.warning("a root token was generated")
    return Generated(generation=generation, encoded_token=encoded)


def cancel(core: Core, nonce: str, *, may: bool) -> None:
    """End it; nothing to end is no error. Raises InvalidRequest or PermissionDenied when the sender may not."""
    running = core.ceremonies.generation
    if running is None:
        return
    require_may_end(running, nonce, running.nonce, core.sources.monotonic_s(), may=may)
    core.ceremonies.generation = None
    logger.info("the generation of a root token was cancelled")
