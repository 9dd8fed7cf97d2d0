"""node/shamir.py: any threshold of shares rebuilds the secret, and the arithmetic leaks nothing."""

import ast
import inspect
import secrets
from functools import partial
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import node.shamir
from node.errors import InvalidShares
from node.shamir import _inverse, _multiply, combine, split


def _constant(value: int, size: int) -> bytes:
    return bytes([value]) * size


def test_field_vectors() -> None:
    """Products and inverses that FIPS 197 (4.2, 5.1.1) gives for this polynomial; every inverse is one."""
    assert _multiply(0x57, 0x83) == 0xC1
    assert _multiply(0x57, 0x13) == 0xFE
    assert _inverse(0x53) == 0xCA
    assert all(_multiply(value, _inverse(value)) == 1 for value in range(1, 256))
    assert all(_multiply(value, 0) == _multiply(0, value) == 0 for value in range(256))


def test_known_shares() -> None:
    """Shares worked out by hand: secret 0x42 and slope 0x01 give 0x42 ^ x at x; the x-coordinate comes last."""
    assert split(b"\x42", 3, 2, lambda size: b"\x01" * size) == [b"\x43\x01", b"\x40\x02", b"\x41\x03"]
    assert combine([b"\x41\x03", b"\x43\x01"]) == b"\x42"


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=40), st.integers(2, 8), st.integers(0, 6), st.integers())
def test_any_threshold_of_shares_rebuilds(secret: bytes, threshold: int, spare: int, seed: int) -> None:
    """Any `threshold` shares, in any order, and also more of them, give the secret."""
    random = Random(seed)
    shares = split(secret, threshold + spare, threshold, random.randbytes)
    assert all(len(share) == len(secret) + 1 for share in shares)
    chosen = random.sample(shares, random.randint(threshold, len(shares)))
    assert combine(chosen) == secret


def test_fewer_shares_say_nothing() -> None:
    """With one share too few, every secret is as likely as any other: over all slopes each value comes up once."""
    seen = {combine([split(b"\x42", 2, 2, partial(_constant, slope))[0]]) for slope in range(256)}
    assert len(seen) == 256


def test_all_subsets_of_the_default() -> None:
    """5 shares with threshold 3, as init makes them: 33 bytes each, and each of the 10 subsets works."""
    secret = secrets.token_bytes(32)
    shares = split(secret, 5, 3, secrets.token_bytes)
    assert {len(share) for share in shares} == {33}
    assert all(combine(subset) == secret for subset in combinations(shares, 3))
    assert all(combine(subset) != secret for subset in combinations(shares, 2))


def test_one_share_and_255() -> None:
    """One share with threshold 1 works, and so does the largest number of shares."""
    assert combine(split(b"s" * 32, 1, 1, secrets.token_bytes)) == b"s" * 32
    many = split(b"s" * 4, 255, 2, secrets.token_bytes)
    assert combine([many[254], many[0]]) == b"s" * 4


@pytest.mark.parametrize(("shares", "threshold"), [(0, 0), (256, 2), (3, 4), (3, 0), (3, 1), (-1, -1)])
def test_impossible_numbers(shares: int, threshold: int) -> None:
    """1 to 255 shares, a threshold from 2 to their number, or 1 of 1."""
    with pytest.raises(InvalidShares):
        split(b"secret", shares, threshold, secrets.token_bytes)


@pytest.mark.parametrize(
    "shares",
    [
        [],
        [b""],
        [b"x"],
        [b"canary\x01", b"canary!\x02"],
        [b"canary\x01", b"canary\x01"],
        [b"canary\x01", b"canarz\x01"],
        [b"canary\x00", b"canary\x01"],
        [b"canary\x01"] * 256,
    ],
)
def test_unusable_shares_without_echo(shares: list[bytes]) -> None:
    """No shares, unequal lengths, a repeated or zero x, too many: an error that shows no byte of them."""
    with pytest.raises(InvalidShares) as error:
        combine(shares)
    assert "canary" not in repr(error.value)


def test_cve_2023_25000_no_tables_and_no_secret_branches() -> None:
    """The field arithmetic indexes nothing and branches on nothing: its only loops have a constant length.

    Tables indexed by a secret leak it through the cache, and branches through the clock.
    """
    tree = ast.parse(inspect.getsource(node.shamir))
    functions = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
    for name in ("_multiply", "_inverse"):
        for each in ast.walk(functions[name]):
            assert not isinstance(each, ast.Subscript | ast.If | ast.IfExp | ast.While | ast.BoolOp | ast.Compare), name
            if isinstance(each, ast.For):
                assert isinstance(each.iter, ast.Call)
                assert [type(argument) for argument in each.iter.args] == [ast.Constant], name
    for each in ast.walk(tree):  # and no table is there to be indexed
        if isinstance(each, ast.List | ast.Tuple | ast.Dict | ast.Set):
            assert len(each.elts if not isinstance(each, ast.Dict) else each.values) < 8
        if isinstance(each, ast.Constant) and isinstance(each.value, bytes):
            assert len(each.value) < 8
