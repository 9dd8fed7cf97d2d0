"""The wrapped form of the seals that hold an AES-256-GCM key themselves.

A blob is `format version (1) | length of the key id (1) | key id | nonce (12) | ciphertext and tag (16)`; everything
before the nonce is associated data, with a purpose that no other ciphertext of this program has. Authenticated
encryption only: nothing is decrypted before it is verified (CVE-2023-2197).
"""

from typing import Final

from engines.common.crypto import NONCE_BYTES, TAG_BYTES, Aead, NotAuthentic
from node.barrier import Random
from node.errors import SealRefused
from node.limits import SEAL_BLOB_BYTES_MAX

_FORMAT: Final = 1
_PURPOSE: Final = b"strongroom/seal"
_REFUSAL: Final = "the seal refused the wrapped key: it was wrapped under another key, or is damaged"


def wrap(cipher: Aead, key_id: bytes, plaintext: bytes, random: Random) -> bytes:
    """The blob of this plaintext under the key that `key_id` (up to 255 bytes) names."""
    header = bytes([_FORMAT, len(key_id)]) + key_id
    nonce = random(NONCE_BYTES)
    return header + nonce + cipher.seal(nonce, plaintext, _PURPOSE + header)


def key_id_of(blob: bytes) -> bytes:
    """The key id that a blob names, not yet verified. Raises SealRefused when it is no blob at all."""
    if not 2 <= len(blob) <= SEAL_BLOB_BYTES_MAX or blob[0] != _FORMAT:
        raise refusal()
    return blob[2 : 2 + blob[1]]


def unwrap(cipher: Aead, blob: bytes) -> bytes:
    """The plaintext. Raises SealRefused, with one text for every fault, so that damage says nothing."""
    body_at = 2 + len(key_id_of(blob))
    header, nonce = blob[:body_at], blob[body_at : body_at + NONCE_BYTES]
    if len(blob) < body_at + NONCE_BYTES + TAG_BYTES:
        raise refusal()
    try:
        return cipher.open(nonce, blob[body_at + NONCE_BYTES :], _PURPOSE + header)
    except NotAuthentic:
        raise refusal() from None


def refusal() -> SealRefused:
    """The one error for a key that is not here and for every kind of damage."""
    return SealRefused(_REFUSAL)
