"""The recovery key of a cluster that unseals by itself: it stands in for the unseal key wherever people must agree.

Its shares authorise a rekey, a new root token or the migration to another seal. It opens nothing: the root key is
sealed by the seal alone, and the recovery key is kept behind the barrier, to be compared with what the shares make.
"""

from cluster.store import Store
from engines.common.crypto import equal
from engines.common.errors import InvalidRequest
from node.barrier import Barrier
from node.errors import InvalidShares
from node.seal_state import RECOVERY_KEY_KEY


def stored_recovery_key(store: Store, barrier: Barrier) -> bytes:
    """The recovery key of this cluster, 32 bytes.

    Raises:
        InvalidRequest: The cluster has none: it is unsealed with key shares.
        Sealed, BarrierDamaged: As `Barrier.open`.
    """
    record = store.get(RECOVERY_KEY_KEY)
    if record is None:
        raise InvalidRequest("this cluster has no recovery key: it is unsealed with key shares")
    return barrier.open(RECOVERY_KEY_KEY, record.value)


def require_recovery_key(stored: bytes, key: bytes) -> None:
    """Refuse any other key, in a time that says nothing about the difference (CVE-2026-63132). Raises InvalidShares."""
    if not equal(stored, key):
        raise InvalidShares("the recovery key shares do not make the recovery key of this cluster")
