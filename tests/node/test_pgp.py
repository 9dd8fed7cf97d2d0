"""OpenPGP keys: which are taken, and what is said of the others."""

import time
from base64 import b64encode
from hashlib import sha1, sha256

import pytest
from pysequoia import Cert, CipherSuite, Profile, Tsk

from engines.common.errors import InvalidRequest
from node.limits import PGP_KEY_BYTES_MAX
from node.pgp import read_key, read_keys
from tests.node.ceremonies.kit import Person, people


def public(key: Tsk) -> bytes:
    return bytes(key.extract_certificate())


def base64(raw: bytes) -> str:
    return b64encode(raw).decode()


@pytest.mark.parametrize("suite", [CipherSuite.Cv25519, CipherSuite.P384, CipherSuite.RSA2k])
def test_what_is_encrypted_its_owner_reads(suite: CipherSuite) -> None:
    """Each message says the same to the owner and is another one each time."""
    person = Person(Tsk.generate(user_id="Holder", cipher_suite=suite))
    key = read_key(person.public, time.time())
    assert key.fingerprint == person.fingerprint
    messages = [key.encrypt(b"share") for _ in range(2)]
    assert messages[0] != messages[1]
    assert [person.reads(base64(message)) for message in messages] == ["share", "share"]
    assert "Cert" not in repr(key)


def test_newer_keys_and_armored_ones() -> None:
    """RFC 9580 keys, and the armored form in base64, which is what a file that was not exported as binary becomes."""
    newer = Person(Tsk.generate(user_id="Holder", profile=Profile.RFC9580))
    assert newer.reads(base64(read_key(newer.public, 0).encrypt(b"x"))) == "x"
    older = people(1)[0]
    armored = str(older.key.extract_certificate()).encode()
    assert read_key(base64(armored), 0).fingerprint == older.fingerprint
    lines = "\n".join(older.public[at : at + 64] for at in range(0, len(older.public), 64)) + "\n"
    assert read_key(lines, 0).fingerprint == older.fingerprint


def test_keys_keep_their_order() -> None:
    """One for each share, in the order of the shares; a person may have several."""
    a, b = people(2)
    found = read_keys([b.public, a.public, b.public], 0)
    assert [key.fingerprint for key in found] == [b.fingerprint, a.fingerprint, b.fingerprint]


def refused(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as error:
        read_keys([people(1)[0].public, text], time.time())
    assert "backtrace" not in str(error.value) and len(str(error.value)) < 200
    assert str(error.value).startswith("PGP key 2")


def test_what_is_no_key() -> None:
    """Nothing, noise, half a key, two keys: one text, which holds nothing of what was sent."""
    one, two = (public(person.key) for person in people(2))
    for raw in (b"", b"\x00" * 100, b"hello", one[:100], one + two, b"\xff" * 5000):
        refused(base64(raw), "is not one OpenPGP public key in base64")
    refused("not base64!", "is not one OpenPGP public key in base64")


def test_keybase_names_are_not_looked_up() -> None:
    """They are a look-up at a third party in the middle of a ceremony: refused with what to do instead."""
    refused("keybase:hashicorp", "keybase names are not looked up; give the public key itself")


def test_a_private_key_is_sent_back() -> None:
    """Somebody exported the wrong half: the server must not go on with it as if that were fine."""
    key = Tsk.generate(user_id="Holder")
    refused(base64(bytes(key)), "is a private key")
    refused(base64(str(key).encode()), "is a private key")


def test_keys_that_are_over() -> None:
    """Revoked, or expired: nobody may be able to read what is encrypted to them."""
    key = Tsk.generate(user_id="Holder")
    revocation = bytes(key.extract_certificate().revoke(key.certifier()))
    refused(base64(bytes(Cert.from_bytes(public(key) + revocation))), "is revoked")
    short = public(Tsk.generate(user_id="Holder", validity_seconds=3600))
    assert read_key(base64(short), time.time()).fingerprint
    with pytest.raises(InvalidRequest, match="the PGP key has expired"):
        read_key(base64(short), time.time() + 7200)


def test_a_key_that_cannot_encrypt() -> None:
    """One for signatures only is refused when it is given, not when there are shares to be encrypted."""
    whole = Tsk.generate(user_id="Holder").extract_certificate()
    from pysequoia import packet

    packets = list(packet.PacketPile.from_bytes(bytes(whole)))
    signing = Cert.from_packets(packets[:6])
    refused(base64(bytes(signing)), "holds no key that can encrypt")


def packed(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def unsigned(algorithm: int, bits: int) -> bytes:
    """A key with one user, whose self-signature is noise. Its numbers have as many bits as a packet can say."""
    sizes = (bits, bits - 8, bits - 16)
    one, less, least = (size.to_bytes(2, "big") + b"\xff" * (size // 8) for size in sizes)
    is_dsa = algorithm == 17
    key = b"\x04\x60\x00\x00\x00" + bytes([algorithm]) + one + less + b"\x00\x02\x03" * 2 * is_dsa
    fingerprint = sha1(b"\x99" + len(key).to_bytes(2, "big") + key).digest()
    about = b"\x05\x02\x60\x00\x00\x00" + b"\x02\x1b\x0f" + b"\x16\x21\x04" + fingerprint
    head = b"\x04\x13" + bytes([algorithm, 8]) + len(about).to_bytes(2, "big") + about
    signed = b"\x99" + len(key).to_bytes(2, "big") + key + b"\xb4\x00\x00\x00\x06Holder" + head
    digest = sha256(signed + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    signature = head + b"\x00\x00" + digest[:2] + least * (1 + is_dsa)
    return packed(6, key) + packed(13, b"Holder") + packed(2, signature)


def test_a_key_that_would_take_minutes_to_check() -> None:
    """Anybody may send one to sys/generate-root: DSA with numbers of 45,000 bits is refused before it is verified."""
    began_s = time.monotonic()
    refused(base64(unsigned(17, 45_000)), "is of a kind that is not taken, such as DSA")
    assert time.monotonic() - began_s < 10


def test_a_key_that_did_not_sign_itself() -> None:
    """Its user and its flags are anybody's word: the refusal says so, and no stack trace of the library is told."""
    refused(base64(unsigned(1, 2048)), "is not signed by itself")


def test_a_key_is_bounded() -> None:
    """A key with more than 32 KiB of signatures is not read at all."""
    refused("A" * (PGP_KEY_BYTES_MAX * 4 // 3 + 8), "is larger than")
