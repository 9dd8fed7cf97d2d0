"""node/barrier.py: what it seals opens in its own place and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.common.crypto import Aead
from node.barrier import Barrier, open_keyring, seal_keyring
from node.errors import BarrierDamaged, KeyTermUnknown, Sealed, WrongKey
from node.keyring import Keyring, RotationPolicy
from node.sources import FixedSources

KEYRING = Keyring.created(b"k" * 32, 1_000)
ROOT = b"r" * 32


def unsealed(keyring: Keyring = KEYRING) -> Barrier:
    barrier = Barrier(FixedSources(0, 1).random)
    barrier.unsealed(keyring)
    return barrier


@given(st.text(max_size=40).filter(lambda key: key.isascii()), st.binary(max_size=400))
def test_round_trip(key: str, plaintext: bytes) -> None:
    """What was sealed at a path opens at that path."""
    barrier = unsealed()
    assert barrier.open(key, barrier.seal(key, plaintext)) == plaintext


def test_entry_format() -> None:
    """term (4, big endian) | version (1) | nonce (12) | ciphertext and tag; AAD is header and path (design.md 3)."""
    sealed = unsealed(KEYRING.rotated(b"n" * 32, 2_000)).seal("a/b", b"value")
    assert sealed[:5] == b"\x00\x00\x00\x02\x01"
    assert len(sealed) == 5 + 12 + 5 + 16
    assert Aead(b"n" * 32).open(sealed[5:17], sealed[17:], sealed[:5] + b"a/b") == b"value"


def test_a_value_moved_to_another_path_fails_to_open() -> None:
    """The path is associated data, so nobody who writes to the disk can pass one entry off as another."""
    barrier = unsealed()
    with pytest.raises(BarrierDamaged) as error:
        barrier.open("a/c", barrier.seal("a/b", b"canary"))
    assert error.value.key == "a/c"
    assert "canary" not in str(error.value)


def test_every_byte_counts() -> None:
    """A change of any byte, and any cut, is damage: the header is associated data too."""
    barrier = unsealed()
    sealed = barrier.seal("a", b"value")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(BarrierDamaged):
            barrier.open("a", changed)
        with pytest.raises(BarrierDamaged):
            barrier.open("a", sealed[:at])


def test_old_terms_open_and_unknown_ones_say_so() -> None:
    """After a rotation old entries still open; a node with the older keyring learns that it must read the keyring."""
    old, new = unsealed(), unsealed(KEYRING.rotated(b"n" * 32, 2_000))
    assert new.open("a", old.seal("a", b"v")) == b"v"
    with pytest.raises(KeyTermUnknown):
        old.open("a", new.seal("a", b"v"))


def test_forget_ends_it() -> None:
    """A sealed barrier neither seals nor opens, holds no key, and works again with a keyring."""
    barrier = unsealed()
    sealed = barrier.seal("a", b"v")
    barrier.forget()
    assert barrier.is_sealed
    for attempt in (lambda: barrier.seal("a", b"v"), lambda: barrier.open("a", sealed), lambda: barrier.keyring):
        with pytest.raises(Sealed, match="Vault is sealed"):
            attempt()
    assert b"kkkk" not in repr(vars(barrier)).encode()
    barrier.unsealed(KEYRING)
    assert barrier.open("a", sealed) == b"v"


def test_encryptions_are_counted_by_term() -> None:
    """Uses are handed out once, for the term that did them, and decide when a rotation is due."""
    keyring = KEYRING.with_rotation(RotationPolicy(max_operations=3))
    barrier = unsealed(keyring)
    for _ in range(3):
        assert not barrier.is_rotation_due(2_000)
        barrier.seal("a", b"")
    assert barrier.is_rotation_due(2_000)
    barrier.unsealed(keyring.rotated(b"n" * 32, 2_000))
    assert not barrier.is_rotation_due(2_000)
    barrier.seal("a", b"")
    assert barrier.take_counts() == {1: 3, 2: 1}
    assert barrier.take_counts() == {}


def test_keyring_under_the_root_key() -> None:
    """The keyring opens under its root key only, and no entry of the barrier can be passed off as a keyring."""
    blob = seal_keyring(ROOT, KEYRING, FixedSources(0, 1).random)
    assert open_keyring(ROOT, blob) == KEYRING
    assert b"kkkk" not in blob
    with pytest.raises(WrongKey):
        open_keyring(b"x" * 32, blob)
    barrier = unsealed(Keyring.created(ROOT, 0))
    with pytest.raises(WrongKey):
        open_keyring(ROOT, barrier.seal("core/keyring", KEYRING.to_bytes()))
    for damaged in (b"", blob[:20], blob[:-1], b"\x02" + blob[1:], blob[:30] + b"\x00" + blob[31:]):
        with pytest.raises(WrongKey):
            open_keyring(ROOT, damaged)


@pytest.mark.parametrize("garbage", [b"", b"canary", b"canary" * 100, b"canarycanarycanarycanarycanary!!"])
def test_cve_2018_19786_garbage_from_the_seal(garbage: bytes) -> None:
    """A seal that gives back garbage as root key gives WrongKey, and no error on the way shows a byte of it."""
    blob = seal_keyring(ROOT, KEYRING, FixedSources(0, 1).random)
    with pytest.raises(WrongKey) as error:
        open_keyring(garbage, blob)
    chain: list[BaseException | None] = [error.value, error.value.__cause__]
    assert not any("canary" in repr(link) or garbage.hex() in repr(link) for link in chain if garbage and link)
