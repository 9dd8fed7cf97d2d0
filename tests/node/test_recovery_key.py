"""Recovery keys: what their shares prove, and to whom they are refused."""

import secrets

import pytest

from cluster.inmem import InmemStore
from cluster.store import Put
from engines.common.errors import InvalidRequest
from node.barrier import Barrier
from node.errors import InvalidShares
from node.keyring import Keyring
from node.recovery_key import require_recovery_key, stored_recovery_key
from node.seal_state import RECOVERY_KEY_KEY

KEY = bytes(range(32))


def opened_barrier() -> Barrier:
    barrier = Barrier(secrets.token_bytes)
    barrier.unsealed(Keyring.created(secrets.token_bytes(32), 0))
    return barrier


async def test_the_stored_key_is_what_the_barrier_opens() -> None:
    """The recovery key is read from behind the barrier, and a cluster without one says so."""
    store, barrier = InmemStore(), opened_barrier()
    with pytest.raises(InvalidRequest, match="no recovery key"):
        stored_recovery_key(store, barrier)
    await store.commit([Put(RECOVERY_KEY_KEY, barrier.seal(RECOVERY_KEY_KEY, KEY), 0)])
    assert stored_recovery_key(store, barrier) == KEY


def test_another_key_is_refused() -> None:
    """One changed byte, and a key that is cut, are not the recovery key."""
    require_recovery_key(KEY, KEY)
    for wrong in (bytes([1]) + KEY[1:], KEY[:-1], b""):
        with pytest.raises(InvalidShares):
            require_recovery_key(KEY, wrong)
