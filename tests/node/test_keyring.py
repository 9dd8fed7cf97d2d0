"""node/keyring.py: rotation, counting and the stored form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.keyring import Key, Keyring, RotationPolicy

OLD, NEW = b"o" * 32, b"n" * 32


def test_rotation_adds_a_key_and_keeps_the_old() -> None:
    """A rotated keyring seals with the new key and still has the old one; the keyring before it is unchanged."""
    before = Keyring.created(OLD, 1_000)
    after = before.rotated(NEW, 2_000)
    assert (before.active_term, after.active_term) == (1, 2)
    assert after.key(1).value == OLD
    assert after.active == Key(2, NEW, 2_000, 0)


@pytest.mark.parametrize("term", [0, -1, 3])
def test_unknown_terms(term: int) -> None:
    """A term that the keyring lacks is a KeyError, also where Python would count from the end."""
    with pytest.raises(KeyError):
        Keyring.created(OLD, 0).rotated(NEW, 0).key(term)


def test_rotation_is_due_by_use_or_by_age() -> None:
    """Uses not yet written count too; an interval of 0 means no age; a disabled policy means never."""
    keyring = Keyring.created(OLD, 1_000).counted({1: 90, 7: 5})
    assert keyring.active.encryptions == 90
    by_use = keyring.with_rotation(RotationPolicy(max_operations=100, interval_s=0))
    assert [by_use.is_rotation_due(10**15, extra) for extra in (9, 10)] == [False, True]
    by_age = keyring.with_rotation(RotationPolicy(interval_s=60))
    assert [by_age.is_rotation_due(now) for now in (60_999, 61_000)] == [False, True]
    off = keyring.with_rotation(RotationPolicy(max_operations=1, interval_s=1, enabled=False))
    assert not off.is_rotation_due(10**15, 10**10)


def test_default_rotation_is_90_percent_of_what_random_nonces_allow() -> None:
    """2^32 random nonces are the bound of NIST SP 800-38D, 8.3; the documented default leaves a tenth of it."""
    assert RotationPolicy().max_operations == 3_865_470_566 == int(2**32 * 0.9)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5), st.integers(0, 2**40))
def test_bytes_round_trip(values: list[bytes], count: int) -> None:
    """What is stored reads back as the same keyring, rotation policy and counts included."""
    keyring = Keyring.created(values[0], 5)
    for value in values[1:]:
        keyring = keyring.rotated(value, 6)
    keyring = keyring.counted({1: count}).with_rotation(RotationPolicy(1_000_000, 86_400, enabled=False))
    assert Keyring.from_bytes(keyring.to_bytes()) == keyring


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + b"x", b"\x01\x92\x90\x93\x01\x02\xc3", b"\x01canary" * 9])
def test_damaged_bytes(data: bytes) -> None:
    """What is no keyring is a ValueError that shows nothing of it."""
    with pytest.raises(ValueError) as error:
        Keyring.from_bytes(data)
    assert "canary" not in repr(error.value)
    assert error.value.__cause__ is None


def test_keys_stay_out_of_repr() -> None:
    """A keyring may be logged without harm."""
    assert "ooo" not in repr(Keyring.created(OLD, 0))


@pytest.mark.parametrize(
    "keys", [(), (Key(2, OLD, 0, 0),), (Key(1, OLD, 0, 0), Key(1, NEW, 0, 0)), (Key(1, b"s", 0, 0),)]
)
def test_impossible_keyrings(keys: tuple[Key, ...]) -> None:
    """No keys, gaps, repeats and short keys are refused."""
    with pytest.raises(ValueError):
        Keyring(keys)
