"""OpenPGP: encrypting what only one person may read, such as a key share, to that person's public key.

Invariant: a key that `read_keys` has accepted encrypts. What is wrong with one is told when it is given, not when
shares exist that must not be lost. Nothing of a key or a plaintext is in an error, and the library's own texts, which
hold stack traces, never leave here.
"""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from engines.common.errors import InvalidRequest
from node.limits import PGP_KEY_BYTES_MAX

if TYPE_CHECKING:
    from pysequoia import Cert

_SECRET_KEY_TAG: Final = 5  # RFC 9580, 5.5.1.3
_KEY_TAGS: Final = frozenset({6, 14})  # RFC 9580, 5.5.1: public key, public subkey
_ALGORITHM_AT: Final = 5  # in such a packet, behind its version and time
# RSA and elliptic curves (RFC 9580, 9.1), whose sizes the library bounds. Those of DSA it does not: a key of 32 KiB
# would keep the whole process busy for minutes, and anybody may send one.
_ALGORITHMS: Final = frozenset({1, 2, 3, 18, 19, 22, 25, 26, 27, 28})
_PRIVATE_ARMOR: Final = b"-----BEGIN PGP PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A public key that can be encrypted to. `fingerprint` is of its primary key, in lower-case hexadecimal."""

    fingerprint: str
    _cert: "Cert" = field(repr=False)

    def encrypt(self, plaintext: bytes) -> bytes:
        """An OpenPGP message, binary, that the owner of the key can read."""
        from pysequoia import encrypt

        return encrypt(recipients=[self._cert], bytes=plaintext, armor=False)


def read_keys(texts: Sequence[str], now_s: float) -> tuple[PgpKey, ...]:
    """The public keys in these texts: each one key, in base64 of its binary (or armored) form.

    Args:
        texts: As the API takes them, in the order of the shares they are for.
        now_s: Unix seconds, to tell whether a key has expired.

    Raises:
        InvalidRequest: Says which one cannot be used, and why.
    """
    return tuple(_key(text, f"PGP key {number}", now_s) for number, text in enumerate(texts, start=1))


def read_key(text: str, now_s: float) -> PgpKey:
    """The one public key in this text. Raises InvalidRequest."""
    return _key(text, "the PGP key", now_s)


def _key(text: str, name: str, now_s: float) -> PgpKey:
    from pysequoia import Cert  # a megabyte of code that most nodes never need

    if text.startswith("keybase:"):
        raise InvalidRequest(f"{name}: keybase names are not looked up; give the public key itself, in base64")
    binary = _binary(text, name)
    if _is_private(binary):
        raise InvalidRequest(f"{name} is a private key: keep it, and give the public one")
    try:
        cert = Cert.from_bytes(binary)
        has_known_algorithms = _has_known_algorithms(binary)
    except Exception:  # its text holds a stack trace and parts of what was read
        raise InvalidRequest(f"{name} is not one OpenPGP public key in base64") from None
    if not has_known_algorithms:
        raise InvalidRequest(f"{name} is of a kind that is not taken, such as DSA: give one of RSA or elliptic curves")
    try:
        is_revoked, expiration = cert.is_revoked, cert.expiration
    except Exception:  # as above
        raise InvalidRequest(f"{name} is not signed by itself, so nothing it says of itself holds") from None
    if is_revoked:
        raise InvalidRequest(f"{name} is revoked")
    if expiration is not None and expiration.timestamp() <= now_s:
        raise InvalidRequest(f"{name} has expired")
    key = PgpKey(cert.fingerprint, cert)
    try:
        key.encrypt(b"")
    except Exception:  # as above
        raise InvalidRequest(f"{name} holds no key that can encrypt") from None
    return key


def _binary(text: str, name: str) -> bytes:
    if len(text) > PGP_KEY_BYTES_MAX * 4 // 3 + 4:
        raise InvalidRequest(f"{name} is larger than {PGP_KEY_BYTES_MAX} bytes: export it without its signatures")
    try:
        return b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise InvalidRequest(f"{name} is not one OpenPGP public key in base64") from None


def _has_known_algorithms(binary: bytes) -> bool:
    """Asked before anything is verified, but of a certificate: of other packets the library would unpack gigabytes."""
    from pysequoia.packet import PacketPile

    keys = [packet.body for packet in PacketPile.from_bytes(binary) if int(packet.tag) in _KEY_TAGS]
    return all(body[_ALGORITHM_AT] in _ALGORITHMS for body in keys)


def _is_private(binary: bytes) -> bool:
    """Whether the first packet is a secret key (RFC 9580, 4.2)."""
    if not binary or not binary[0] & 0x80:
        return binary.lstrip().startswith(_PRIVATE_ARMOR)
    tag = binary[0] & 0x3F if binary[0] & 0x40 else (binary[0] & 0x3C) >> 2
    return tag == _SECRET_KEY_TAG
