"""Recovery keys: what their shares prove, and to whom they are refused."""

import secrets

import pytest

from cluster.inmem import InmemStore
from cluster.store import Put
from engines.common.errors import InvalidRequest
from node.barrier import Barrier
from node.errors import InvalidShares
from node.keyring import Keyring
from node.recovery_key import combine_recovery_shares, require_recovery_key, stored_recovery_key
from node.seal_state import RECOVERY_KEY_KEY
from node.shamir import split

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


def test_enough_shares_make_the_recovery_key() -> None:
    """Any three of five shares prove it; two, or shares of another key, are refused without a byte in the text."""
    shares = split(KEY, 5, 3, secrets.token_bytes)
    assert combine_recovery_shares(KEY, shares[1:4]) == KEY
    for wrong in (shares[:2], split(bytes(32), 5, 3, secrets.token_bytes)[:3]):
        with pytest.raises(InvalidShares, match="recovery key shares") as refused:
            combine_recovery_shares(KEY, wrong)
        assert KEY.hex() not in str(refused.value)


def test_another_key_is_refused() -> None:
    """One changed byte, and a key that is cut, are not the recovery key."""
    require_recovery_key(KEY, KEY)
    for wrong in (bytes([1]) + KEY[1:], KEY[:-1], b""):
        with pytest.raises(InvalidShares):
            require_recovery_key(KEY, wrong)
