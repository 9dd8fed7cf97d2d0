"""Generate-root: a root token from a quorum of key shares, masked by a one-time password or encrypted to a PGP key."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from string import ascii_letters, digits
from typing import Final

from node.ceremonies.ceremony import Ceremony
from node.pgp import PgpKey

_ALPHABET: Final = (digits + ascii_letters).encode()


@dataclass(slots=True, kw_only=True)
class Generation(Ceremony):
    """One under way: with `otp` or with `key`, never both."""

    otp: str = field(default="", repr=False)
    key: PgpKey | None = None

    @property
    def fingerprint(self) -> str:
        """Of the PGP key; "" with an OTP."""
        return "" if self.key is None else self.key.fingerprint

    def encoded(self, token: str) -> str:
        """The token as the last key holder gets it, who learns nothing from it."""
        if self.key is not None:
            return b64encode(self.key.encrypt(token.encode())).decode()
        return mask(token, self.otp)


def mask(token: str, otp: str) -> str:
    """Token and OTP, exclusive-or, in base64 without padding as clients of this API decode it. Raises ValueError."""
    masked = bytes(one ^ other for one, other in zip(token.encode(), otp.encode(), strict=True))
    return b64encode(masked).decode().rstrip("=")


def new_otp(length: int, random: Callable[[int], bytes]) -> str:
    """A one-time password of base-62 characters, each equally likely."""
    found = b""
    while len(found) < length:
        # 248 is the largest multiple of 62 that a byte holds: beyond it some characters would be likelier.
        found += bytes(_ALPHABET[byte % 62] for byte in random(2 * length) if byte < 248)
    return found[:length].decode()
