"""The shamir seal: a key-encryption key that exists only while its shares are put together."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Final

from engines.common.crypto import KEY_BYTES, Aead, equal
from node.barrier import Random
from node.config.seals import SealStanza
from node.errors import InvalidShares, SealRefused
from node.limits import SHARE_CHARS_MAX
from node.seal import envelope
from node.shamir import check_numbers, combine
from node.sources import Sources, new_uuid

SHARE_BYTES: Final = KEY_BYTES + 1
_KEY_ID: Final = b"shamir"


class ShamirSeal:
    """Wraps under the key that `use` hands it, and refuses before that and after `forget`."""

    type: Final = "shamir"
    is_auto: Final = False

    def __init__(self, random: Random) -> None:
        self._random = random
        self._cipher: Aead | None = None

    def use(self, key: bytes) -> None:
        """Work with this key of 32 bytes, put together from shares. Raises InvalidShares for another length."""
        if len(key) != KEY_BYTES:
            raise InvalidShares("the key shares do not make a key")
        self._cipher = Aead(key)

    def forget(self) -> None:
        """Drop the key."""
        self._cipher = None

    async def wrap(self, plaintext: bytes) -> bytes:
        return envelope.wrap(self._key(), _KEY_ID, plaintext, self._random)

    async def unwrap(self, blob: bytes) -> bytes:
        return envelope.unwrap(self._key(), blob)

    def _key(self) -> Aead:
        if self._cipher is None:
            raise SealRefused("the seal has no key: key shares are needed")
        return self._cipher


def shamir_seal(_stanza: SealStanza, _env: Mapping[str, str], random: Random) -> ShamirSeal:
    """The seal of a stanza `shamir`, or of none at all."""
    return ShamirSeal(random)


class UnsealProgress:
    """Collects key shares until there are as many as the threshold asks for.

    Invariant: fewer than `threshold` shares are held, all different; `nonce` is "" exactly while there are none.
    """

    def __init__(self, shares: int, threshold: int, sources: Sources) -> None:
        """Raises InvalidShares unless so many shares with this threshold can exist."""
        check_numbers(shares, threshold)
        self.shares: Final = shares
        self.threshold: Final = threshold
        self.nonce = ""
        self._sources = sources
        self._held: list[bytes] = []

    @property
    def progress(self) -> int:
        """How many different shares are held."""
        return len(self._held)

    def add(self, share: bytes) -> bytes | None:
        """Take one share. The key when this was the last one needed, after which nothing is held; else None.

        A share that is already held does not count. The key may be noise, if a share was wrong: whoever gets it must
        try it on what it should open.

        Raises:
            InvalidShares: The share has a wrong length or form, which changes nothing; or the shares together are
                impossible, and all are dropped.
        """
        if len(share) != SHARE_BYTES or share[-1] == 0:
            raise InvalidShares("the key share is not valid")
        if any(equal(share, held) for held in self._held):
            return None
        if not self._held:
            self.nonce = new_uuid(self._sources)
        self._held.append(share)
        if len(self._held) < self.threshold:
            return None
        complete = self._held
        self.reset()
        return combine(complete)

    def reset(self) -> None:
        """Drop all shares and the nonce."""
        self._held = []
        self.nonce = ""


def share_from_text(text: str) -> bytes:
    """A share as people hold it, in hexadecimal or base64. Raises InvalidShares, never with the text."""
    trimmed = text.strip() if len(text) <= SHARE_CHARS_MAX else ""
    try:
        share = bytes.fromhex(trimmed) if len(trimmed) == 2 * SHARE_BYTES else b64decode(trimmed, validate=True)
    except (ValueError, binascii.Error):
        share = b""
    if len(share) != SHARE_BYTES:
        raise InvalidShares("the key share is neither base64 nor hexadecimal of the right length")
    return share
