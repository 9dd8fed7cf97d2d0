"""node/seal/shamir.py: the seal and the collecting of its shares."""

import secrets
from base64 import b64encode

import pytest

from node.errors import InvalidShares, SealRefused
from node.seal import Seal
from node.seal.shamir import ShamirSeal, UnsealProgress, share_from_text
from node.shamir import split
from node.sources import FixedSources

KEY = secrets.token_bytes(32)


def progress(threshold: int = 3) -> UnsealProgress:
    return UnsealProgress(5, threshold, FixedSources(0, 1))


async def test_wraps_only_with_its_key() -> None:
    """Without a key, and after `forget`, the seal refuses; with the key it gives back what it wrapped."""
    shamir = ShamirSeal(secrets.token_bytes)
    seal: Seal = shamir
    assert (seal.type, seal.is_auto) == ("shamir", False)
    with pytest.raises(SealRefused):
        await seal.wrap(b"root key")
    shamir.use(KEY)
    blob = await seal.wrap(b"root key")
    assert await seal.unwrap(blob) == b"root key"
    shamir.use(secrets.token_bytes(32))
    with pytest.raises(SealRefused):
        await seal.unwrap(blob)
    shamir.forget()
    with pytest.raises(SealRefused):
        await seal.unwrap(blob)


def test_shares_add_up_to_the_key() -> None:
    """The third of three gives the key; before it there is a nonce and a count, and after it nothing is held."""
    shares = split(KEY, 5, 3, secrets.token_bytes)
    collecting = progress()
    assert (collecting.nonce, collecting.progress) == ("", 0)
    assert collecting.add(shares[0]) is None
    nonce = collecting.nonce
    assert collecting.add(shares[4]) is None
    assert (collecting.nonce, collecting.progress) == (nonce, 2)
    assert nonce
    assert collecting.add(shares[2]) == KEY
    assert (collecting.nonce, collecting.progress) == ("", 0)
    collecting.add(shares[0])
    assert collecting.nonce not in ("", nonce)


def test_the_same_share_does_not_count_twice() -> None:
    """Giving one share again changes nothing."""
    shares = split(KEY, 5, 3, secrets.token_bytes)
    collecting = progress()
    for _ in range(5):
        assert collecting.add(shares[1]) is None
    assert collecting.progress == 1


def test_reset_drops_everything() -> None:
    """After a reset the shares given before do not count."""
    shares = split(KEY, 5, 3, secrets.token_bytes)
    collecting = progress()
    collecting.add(shares[0])
    collecting.add(shares[1])
    collecting.reset()
    assert (collecting.nonce, collecting.progress) == ("", 0)
    assert collecting.add(shares[2]) is None


@pytest.mark.parametrize("share", [b"", b"canary", b"c" * 32, b"c" * 34, b"c" * 32 + b"\x00"])
def test_impossible_shares_change_nothing(share: bytes) -> None:
    """A share of another length, or with x 0, is refused and what is held stays."""
    collecting = progress()
    collecting.add(split(KEY, 5, 3, secrets.token_bytes)[0])
    with pytest.raises(InvalidShares) as error:
        collecting.add(share)
    assert "ccc" not in repr(error.value)
    assert "canary" not in repr(error.value)
    assert collecting.progress == 1


def test_shares_of_another_cluster() -> None:
    """Foreign shares with the same x end the attempt; with other x they give a key that is not ours."""
    ours, theirs = (split(key, 5, 2, secrets.token_bytes) for key in (KEY, secrets.token_bytes(32)))
    collecting = progress(threshold=2)
    collecting.add(ours[0])
    with pytest.raises(InvalidShares):
        collecting.add(theirs[0])
    assert (collecting.nonce, collecting.progress) == ("", 0)
    collecting.add(ours[0])
    assert collecting.add(theirs[1]) not in (None, KEY)


def test_threshold_one() -> None:
    """With one share and threshold 1 the first share gives the key."""
    (share,) = split(KEY, 1, 1, secrets.token_bytes)
    assert UnsealProgress(1, 1, FixedSources(0, 1)).add(share) == KEY


def test_shares_as_text() -> None:
    """A share is read from hexadecimal and from base64, with blanks around it; anything else is refused silently."""
    (share,) = split(KEY, 1, 1, secrets.token_bytes)
    assert share_from_text(share.hex()) == share
    assert share_from_text(f" {b64encode(share).decode()}\n") == share
    for text in ("", "canary", "zz" * 33, b64encode(KEY).decode(), share.hex() + "00", "A" * 10**6, "é" * 44):
        with pytest.raises(InvalidShares) as error:
            share_from_text(text)
        assert "canary" not in repr(error.value)
        assert error.value.__suppress_context__ or error.value.__context__ is None
