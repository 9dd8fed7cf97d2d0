"""The change of the root key: one entry, cut off before and after, and what the other members make of it."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

import pytest

from cluster.errors import ClusterError, Conflict, OutcomeUnknown
from cluster.inmem import InmemStore
from cluster.store import Put, Write
from node.barrier import Barrier, open_keyring, seal_keyring
from node.errors import SealRefused, WrongKey
from node.keyring import Keyring
from node.root_key import NewShares, Vessel, change_root_key, open_changed
from node.seal.shamir import ShamirSeal
from node.seal_state import KEYRING_KEY, ROOT_KEY_KEY, SEAL_CONFIG_KEY, SealConfig

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
SHARES = NewShares(key=NEW, shares=5, threshold=3)


async def unwrapped(store: InmemStore, key: bytes) -> bytes:
    """The root key as a node finds it that is unsealed with the shares of this key. Raises SealRefused."""
    seal = ShamirSeal(secrets.token_bytes)
    seal.use(key)
    stored = store.get(ROOT_KEY_KEY)
    assert stored is not None
    return await seal.unwrap(stored.value)


async def vessel(store: InmemStore) -> Vessel:
    """An initialised store."""
    root_key, keyring = secrets.token_bytes(32), Keyring.created(secrets.token_bytes(32), 0)
    barrier = Barrier(secrets.token_bytes)
    barrier.unsealed(keyring)
    seal = ShamirSeal(secrets.token_bytes)
    seal.use(OLD)
    await store.commit(
        [
            Put(SEAL_CONFIG_KEY, SealConfig(type="shamir", shares=1, threshold=1).to_bytes(), 0),
            Put(ROOT_KEY_KEY, await seal.wrap(root_key), 0),
            Put(KEYRING_KEY, seal_keyring(root_key, keyring, secrets.token_bytes), 0),
        ]
    )
    seal.forget()
    return Vessel(store=store, barrier=barrier, root_key=root_key, seal=seal, random=secrets.token_bytes)


async def valid_key(store: InmemStore) -> bytes:
    """Of the two keys that shares make, the one that opens root key and keyring. There is always exactly one."""
    found = []
    keyring = store.get(KEYRING_KEY)
    assert keyring is not None
    for key in (OLD, NEW):
        try:
            open_keyring(await unwrapped(store, key), keyring.value)
            found.append(key)
        except Exception:
            continue
    assert len(found) == 1
    return found[0]


class CutOff(InmemStore):
    """Ends with the process at a commit: before it, or right after it."""

    armed = ""

    async def commit(self, writes: Sequence[Write]) -> int:
        if self.armed == "before":
            raise KeyboardInterrupt
        index = await super().commit(writes)
        if self.armed == "after":
            raise KeyboardInterrupt
        return index


@pytest.mark.parametrize(
    ("moment", "valid"), [("before", OLD), ("after", NEW), ("", NEW)], ids=["before", "after", "never"]
)
async def test_cut_off_at_any_step_leaves_one_key_valid(moment: str, valid: bytes) -> None:
    """There is one commit, so there are two outcomes: everything is old, or everything is new."""
    store = CutOff()
    made = await vessel(store)
    store.armed = moment
    try:
        assert await change_root_key(made, SHARES) is True
        assert moment == ""
    except KeyboardInterrupt:
        assert moment
    assert await valid_key(store) == valid
    config = store.get(SEAL_CONFIG_KEY)
    assert config is not None
    assert SealConfig.from_bytes(config.value).shares == (5 if valid == NEW else 1)


async def test_a_lost_outcome_never_loses_the_shares() -> None:
    """An unknown outcome is found out, or said; it is not raised, because the caller holds the only new shares."""

    class Lost(InmemStore):
        is_lost = False

        async def commit(self, writes: Sequence[Write]) -> int:
            index = await super().commit(writes)
            if self.is_lost:
                raise OutcomeUnknown("lost")
            return index

    store = Lost()
    made = await vessel(store)
    store.is_lost = True
    assert await change_root_key(made, SHARES) is True
    assert await valid_key(store) == NEW


async def test_beside_a_rotation() -> None:
    """A rotation in the same moment is not undone by the change, nor the change by the rotation."""
    store = InmemStore()
    made = await vessel(store)
    commit = store.commit

    async def rotated_first(writes: Sequence[Write]) -> int:
        store.commit = commit  # type: ignore[method-assign]
        seen = store.get(KEYRING_KEY)
        assert seen is not None
        rotated = open_keyring(made.root_key, seen.value).rotated(bytes(32), 5)
        await commit([Put(KEYRING_KEY, seal_keyring(made.root_key, rotated, secrets.token_bytes), seen.index)])
        return await commit(writes)

    store.commit = rotated_first  # type: ignore[method-assign]
    await change_root_key(made, SHARES)
    assert await valid_key(store) == NEW
    seen = store.get(KEYRING_KEY)
    assert seen is not None
    assert open_keyring(await unwrapped(store, NEW), seen.value).active_term == 2


async def test_two_changes_at_once() -> None:
    """The second one is refused whole: its shares open nothing, and the first one's do."""
    store = InmemStore()
    made = await vessel(store)
    commit = store.commit

    async def overtaken(writes: Sequence[Write]) -> int:
        store.commit = commit  # type: ignore[method-assign]
        await change_root_key(made, SHARES)
        return await commit(writes)

    store.commit = overtaken  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await change_root_key(made, replace(SHARES, key=secrets.token_bytes(32)))
    assert await valid_key(store) == NEW


async def test_members_learn_the_new_root_key() -> None:
    """A member that holds the barrier and the old root key opens the new keyring; one that holds neither does not."""
    store = InmemStore()
    made = await vessel(store)
    await change_root_key(made, SHARES)
    stored = store.get(KEYRING_KEY)
    assert stored is not None
    root_key, keyring = open_changed(made.root_key, store, made.barrier, stored.value)
    assert root_key == await unwrapped(store, NEW) != made.root_key and keyring.active_term == 1
    assert open_changed(root_key, store, made.barrier, stored.value)[0] == root_key
    sealed, stranger = Barrier(secrets.token_bytes), Barrier(secrets.token_bytes)
    stranger.unsealed(Keyring.created(secrets.token_bytes(32), 0))
    for barrier in (sealed, stranger):
        with pytest.raises(WrongKey):
            open_changed(made.root_key, store, barrier, stored.value)


async def test_uses_of_the_barrier_key_are_counted_across_a_change() -> None:
    """What the barrier has sealed since the last count goes into the new keyring, or is kept when there is none."""
    store = InmemStore()
    made = await vessel(store)
    for _ in range(7):
        made.barrier.seal("x", b"")
    commit = store.commit

    async def fails(writes: Sequence[Write]) -> int:
        raise ClusterError

    store.commit = fails  # type: ignore[method-assign]
    with pytest.raises(ClusterError):
        await change_root_key(made, SHARES)
    assert made.barrier.uncounted >= 7
    store.commit = commit  # type: ignore[method-assign]
    await change_root_key(made, SHARES)
    stored = store.get(KEYRING_KEY)
    assert stored is not None
    assert open_keyring(await unwrapped(store, NEW), stored.value).active.encryptions >= 7


class Garbage:
    """A seal that gives back other bytes than it was given."""

    type = "awskms"
    is_auto = True

    async def wrap(self, plaintext: bytes) -> bytes:
        return b"blob"

    async def unwrap(self, blob: bytes) -> bytes:
        return bytes(32)


async def test_cve_2018_19786_a_seal_that_gives_back_garbage(caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2018-19786: what such a seal wrapped is never stored in place of what opens, and no key is in the error."""
    store = InmemStore()
    made = await vessel(store)
    with pytest.raises(SealRefused) as refused:
        await change_root_key(replace(made, seal=Garbage()), None)
    assert await valid_key(store) == OLD
    assert made.root_key.hex() not in str(refused.value) + caplog.text
