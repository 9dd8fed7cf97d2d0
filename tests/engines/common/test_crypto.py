"""engines/common/crypto.py against published vectors, and the places where it says no."""

import pytest

from engines.common.crypto import Aead, KeyedHmac, NotAuthentic, equal, hkdf_sha256, hmac_sha256, sha256


def test_aes_256_gcm_vector() -> None:
    """Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", which has associated data."""
    cipher = Aead(bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2))
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert cipher.seal(nonce, plaintext, aad) == sealed
    assert cipher.open(nonce, sealed, aad) == plaintext
    with pytest.raises(NotAuthentic):
        cipher.open(nonce, sealed, aad + b"x")


@pytest.mark.parametrize("size", [0, 1, 32, 64])
def test_a_remembered_key_gives_the_same_hmac(size: int) -> None:
    """KeyedHmac is hmac_sha256, also when asked again."""
    keyed = KeyedHmac(b"k" * size)
    for data in (b"", b"a", b"a" * 200, b"a"):
        assert keyed.digest(data) == hmac_sha256(b"k" * size, data)


def test_hmac_and_hash_vectors() -> None:
    """RFC 4231 case 2, FIPS 180-4 "abc", and RFC 5869 case 1."""
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    assert sha256(b"abc").hex().startswith("ba7816bf8f01cfea414140de5dae2223")
    derived = hkdf_sha256(b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42, salt=bytes(range(13)))
    assert derived.hex().startswith("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")


def test_equal_takes_text_and_bytes() -> None:
    """Secrets compare equal only when every byte is; text may hold any character."""
    assert equal("tøken", "tøken")
    assert not equal(b"token", b"tokem")
    assert not equal("a", "ab")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_only_256_bit_keys(size: int) -> None:
    """A shorter key is refused, though AES would take some of them."""
    with pytest.raises(ValueError):
        Aead(b"k" * size)
