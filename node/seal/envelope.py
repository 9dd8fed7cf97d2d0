"""The wrapped form of the root key. It names the key that wrapped it, and is authenticated before it is decrypted.

A seal that holds an AES-256-GCM key itself writes form 1, one whose key stays in a key management service form 2: there
the service wraps a fresh data key, and so never sees the root key.

    1 | length of the key id (1) | key id | nonce (12) | ciphertext and tag (16)
    2 | length of the key id (2) | key id | length (2) | wrapped data key | nonce (12) | ciphertext and tag (16)

Everything before the nonce is associated data, with a purpose that no other ciphertext of this program has. Nothing is
decrypted before it is verified (CVE-2023-2197).
"""

from dataclasses import dataclass, field
from typing import Final

from engines.common.crypto import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Aead, NotAuthentic
from node.barrier import Random
from node.errors import SealRefused
from node.limits import SEAL_BLOB_BYTES_MAX

_OWN_KEY: Final = 1
_DATA_KEY: Final = 2
_PURPOSE: Final = b"strongroom/seal"
_REFUSAL: Final = "the seal refused the wrapped key: it was wrapped under another key, or is damaged"


def wrap(cipher: Aead, key_id: bytes, plaintext: bytes, random: Random) -> bytes:
    """The blob of this plaintext under the key that `key_id` (up to 255 bytes) names."""
    return _sealed(cipher, bytes([_OWN_KEY, len(key_id)]) + key_id, plaintext, random)


def unwrap(cipher: Aead, blob: bytes) -> bytes:
    """The plaintext. Raises SealRefused, with one text for every fault, so that damage says nothing."""
    return _opened(cipher, blob, 2 + len(key_id_of(blob)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """A data key as a service wrapped it, and the name of the service's key."""

    key_id: str
    wrapped: bytes = field(repr=False)


def wrap_under_data_key(data_key: bytes, named: DataKey, plaintext: bytes, random: Random) -> bytes:
    """The blob of this plaintext under a data key that was made for it alone."""
    key_id = named.key_id.encode()
    header = bytes([_DATA_KEY]) + len(key_id).to_bytes(2) + key_id + len(named.wrapped).to_bytes(2) + named.wrapped
    return _sealed(Aead(data_key), header, plaintext, random)


def data_key_of(blob: bytes) -> DataKey:
    """The data key that a blob of form 2 names, not yet verified. Raises SealRefused."""
    if not 5 <= len(blob) <= SEAL_BLOB_BYTES_MAX or blob[0] != _DATA_KEY:
        raise refusal()
    at = 3 + int.from_bytes(blob[1:3])
    size = int.from_bytes(blob[at : at + 2])
    wrapped = blob[at + 2 : at + 2 + size]
    if not wrapped or len(wrapped) != size:
        raise refusal()
    try:
        return DataKey(key_id=blob[3:at].decode(), wrapped=wrapped)
    except UnicodeDecodeError:
        raise refusal() from None


def unwrap_under_data_key(data_key: bytes, blob: bytes) -> bytes:
    """The plaintext of a blob of form 2. Raises SealRefused, also for what is no data key at all."""
    named = data_key_of(blob)
    if len(data_key) != KEY_BYTES:
        raise refusal()
    return _opened(Aead(data_key), blob, 5 + len(named.key_id.encode()) + len(named.wrapped))


def key_id_of(blob: bytes) -> bytes:
    """The key id that a blob names, not yet verified. Raises SealRefused when it is no blob at all."""
    if not 2 <= len(blob) <= SEAL_BLOB_BYTES_MAX:
        raise refusal()
    if blob[0] == _DATA_KEY:
        return data_key_of(blob).key_id.encode()
    if blob[0] != _OWN_KEY:
        raise refusal()
    return blob[2 : 2 + blob[1]]


def refusal() -> SealRefused:
    """The one error for a key that is not here and for every kind of damage."""
    return SealRefused(_REFUSAL)


def _sealed(cipher: Aead, header: bytes, plaintext: bytes, random: Random) -> bytes:
    nonce = random(NONCE_BYTES)
    return header + nonce + cipher.seal(nonce, plaintext, _PURPOSE + header)


def _opened(cipher: Aead, blob: bytes, body_at: int) -> bytes:
    header, nonce = blob[:body_at], blob[body_at : body_at + NONCE_BYTES]
    if len(blob) < body_at + NONCE_BYTES + TAG_BYTES:
        raise refusal()
    try:
        return cipher.open(nonce, blob[body_at + NONCE_BYTES :], _PURPOSE + header)
    except NotAuthentic:
        raise refusal() from None
