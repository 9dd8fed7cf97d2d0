"""Whether key shares are those of this cluster: unseal keys where it is unsealed with them, else recovery keys."""

from engines.common.crypto import equal
from node.core import Core
from node.errors import InvalidShares, Sealed, SealRefused
from node.recovery_key import require_recovery_key, stored_recovery_key
from node.seal.shamir import ShamirSeal
from node.seal_state import SealConfig, SealedKeys

_WRONG = "the key shares are not those of this cluster; all that were given are dropped, give the right ones"


def seal_config(core: Core) -> SealConfig:
    """How many shares there are and how many are needed. Raises Sealed."""
    return _keys(core).config


def unseals_by_itself(core: Core) -> bool:
    """Whether the shares are recovery keys. What is stored decides, not the seal of this node: a migration to it may
    still wait."""
    return seal_config(core).type != ShamirSeal.type


async def require_quorum(core: Core, key: bytes) -> None:
    """Refuse what other shares than those of this cluster make, with one text for every kind of wrong.

    Raises:
        InvalidShares: They are not.
        Sealed: This node seals.
    """
    keys, root_key = _keys(core), core.root_key
    if root_key is None:
        raise Sealed
    try:
        if unseals_by_itself(core):
            require_recovery_key(stored_recovery_key(core.storage.store, core.barrier), key)
            return
        seal = ShamirSeal(core.sources.random)
        seal.use(key)
        if equal(await seal.unwrap(keys.sealed_root_key), root_key):
            return
    except (SealRefused, InvalidShares):
        pass
    raise InvalidShares(_WRONG)


def _keys(core: Core) -> SealedKeys:
    keys = core.sealed_keys()
    if keys is None:
        raise Sealed
    return keys
