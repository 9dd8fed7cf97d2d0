"""What seals all storage: AES-256-GCM under the active key of the keyring, bound to the path of the entry.

An entry is `key term (4 bytes, big endian) | format version (1) | nonce (12, random) | ciphertext and tag (16)`; its
associated data are the first five bytes and the path. It never writes a key or a plaintext into an error.
"""

from collections.abc import Callable, Mapping
from struct import pack
from typing import Final, NoReturn

from engines.common.crypto import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Aead, NotAuthentic
from node.errors import BarrierDamaged, KeyTermUnknown, Sealed, WrongKey
from node.keyring import Keyring

Random = Callable[[int], bytes]
_Cipher = Callable[[bytes, bytes, bytes], bytes]

_FORMAT: Final = 1
_HEADER_BYTES: Final = 5
_BODY_AT: Final = _HEADER_BYTES + NONCE_BYTES
_ENTRY_BYTES_MIN: Final = _BODY_AT + TAG_BYTES
_KEYRING_FORMAT: Final = b"\x01"
_KEYRING_AAD: Final = b"strongroom/keyring\x01"  # unlike any entry's, so neither can be passed off as the other


class Barrier:
    """Seals and opens stored entries while it holds a keyring.

    Invariant: `_seal` is the cipher of the term that `_header` names, and `_open` has one cipher for each header that
    may stand before an entry, so that one lookup checks term and format version.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._counts: dict[int, int] = {}
        self._count = 0
        self.forget()

    @property
    def is_sealed(self) -> bool:
        """Whether there are no keys here."""
        return not self._open

    @property
    def keyring(self) -> Keyring:
        """The keyring in use. Raises Sealed."""
        if self._keyring is None:
            raise Sealed
        return self._keyring

    def unsealed(self, keyring: Keyring) -> None:
        """Work with this keyring from now on: after unsealing, and after each rotation."""
        self._bank_count()
        ciphers = {_header(key.term): Aead(key.value) for key in keyring.keys}
        self._keyring: Keyring | None = keyring
        self._term = keyring.active_term
        self._header = _header(self._term)
        self._seal: _Cipher = ciphers[self._header].seal
        self._open: dict[bytes, _Cipher] = {header: cipher.open for header, cipher in ciphers.items()}

    def forget(self) -> None:
        """Drop every key. What is sealed or opened after this raises Sealed."""
        self._bank_count()
        self._keyring = None
        self._term = 0
        self._header = b""
        self._seal = _no_key
        self._open = {}

    def seal(self, key: str, plaintext: bytes) -> bytes:
        """The entry to store at this path. Raises Sealed."""
        self._count += 1
        header = self._header
        # Random, not a counter: a deposed leader may still seal under this key before it learns of its fall.
        # 2**32 random 96-bit nonces keep the chance of a repeat under 2**-32 (NIST SP 800-38D, 8.3).
        nonce = self._random(NONCE_BYTES)
        return header + nonce + self._seal(nonce, plaintext, header + key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        """The plaintext of the entry stored at this path.

        Raises:
            BarrierDamaged: The entry was changed, cut, or moved from another path.
            KeyTermUnknown: It was sealed under a key this keyring lacks; a kind of BarrierDamaged.
            Sealed: There are no keys here.
        """
        header = sealed[:_HEADER_BYTES]
        decrypt = self._open.get(header)
        if decrypt is None or len(sealed) < _ENTRY_BYTES_MIN:
            self._refuse(key, sealed)
        try:
            return decrypt(sealed[_HEADER_BYTES:_BODY_AT], sealed[_BODY_AT:], header + key.encode())
        except NotAuthentic:
            raise BarrierDamaged(key) from None

    def take_counts(self) -> dict[int, int]:
        """Encryptions by term since the last call, to be added with `Keyring.counted`. A crash loses the latest."""
        self._bank_count()
        counts, self._counts = self._counts, {}
        return counts

    def give_back(self, counts: Mapping[int, int]) -> None:
        """Count these uses again: what `take_counts` gave could not be written."""
        for term, count in counts.items():
            self._counts[term] = self._counts.get(term, 0) + count

    @property
    def uncounted(self) -> int:
        """How often the active key has sealed since its uses were last taken."""
        return self._count + self._counts.get(self._term, 0)

    def is_rotation_due(self, now_ms: int) -> bool:
        """Whether the active key should be replaced, uses not yet written included. Raises Sealed."""
        return self.keyring.is_rotation_due(now_ms, self.uncounted)

    def _bank_count(self) -> None:
        if self._count:
            self._counts[self._term] = self._counts.get(self._term, 0) + self._count
            self._count = 0

    def _refuse(self, key: str, sealed: bytes) -> NoReturn:
        keyring = self.keyring
        term = int.from_bytes(sealed[:4])
        if len(sealed) >= _ENTRY_BYTES_MIN and sealed[4] == _FORMAT and term > keyring.active_term:
            raise KeyTermUnknown(key)
        raise BarrierDamaged(key)


def seal_keyring(root_key: bytes, keyring: Keyring, random: Random) -> bytes:
    """The keyring as it is stored: sealed under the root key of 32 bytes. Raises WrongKey for any other length."""
    nonce = random(NONCE_BYTES)
    return _KEYRING_FORMAT + nonce + _root(root_key).seal(nonce, keyring.to_bytes(), _KEYRING_AAD)


def open_keyring(root_key: bytes, blob: bytes) -> Keyring:
    """Reverse `seal_keyring`. Raises WrongKey when this root key did not seal it, or it is damaged."""
    cipher = _root(root_key)
    if len(blob) < 1 + NONCE_BYTES + TAG_BYTES or blob[:1] != _KEYRING_FORMAT:
        raise WrongKey("the keyring is damaged or of a newer format")
    try:
        return Keyring.from_bytes(cipher.open(blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :], _KEYRING_AAD))
    except NotAuthentic:
        raise WrongKey("the root key does not open the keyring") from None


def _root(root_key: bytes) -> Aead:
    if len(root_key) != KEY_BYTES:
        raise WrongKey(f"a root key has {KEY_BYTES} bytes")
    return Aead(root_key)


def _header(term: int) -> bytes:
    return pack(">IB", term, _FORMAT)


def _no_key(_nonce: bytes, _plaintext: bytes, _aad: bytes) -> bytes:
    raise Sealed
