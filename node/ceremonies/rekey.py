"""Rekey: new shares of the unseal key or of the recovery key, in place of the old ones.

With verification the new shares are handed out first and are valid only once a quorum of them has been given back;
until then, and if nobody does, the old ones are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgpack

from engines.common.crypto import equal, sha256
from engines.common.errors import InvalidRequest
from node.barrier import Random
from node.ceremonies.ceremony import Ceremony, Quorum
from node.handout import Handout, handed_out
from node.pgp import PgpKey
from node.root_key import NewShares
from node.seal.shamir import share_from_text
from node.shamir import check_numbers, split


class Target(StrEnum):
    """Which shares: those that unseal, or those that only authorise where the node unseals by itself."""

    UNSEAL = "unseal"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a rekey was asked for. `keys` are one for each share, or none."""

    shares: int
    threshold: int
    keys: tuple[PgpKey, ...] = ()
    has_backup: bool = False
    needs_verification: bool = False

    @property
    def fingerprints(self) -> list[str]:
        """Of the PGP keys, in the order of the shares."""
        return [key.fingerprint for key in self.keys]


@dataclass(slots=True, kw_only=True)
class Verification:
    """New shares that are handed out and not valid yet."""

    new: NewShares = field(repr=False)
    nonce: str
    quorum: Quorum = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Rekey(Ceremony):
    """A rekey under way. `verification` is set once the old shares have authorised it and the new ones are out."""

    wanted: Wanted
    verification: Verification | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A rekey to which the old shares have agreed. `verification_nonce` is set while the new ones are to be verified.

    `is_certain` is False when it could not be found out whether they are in force.
    """

    nonce: str
    wanted: Wanted
    out: Handout = field(repr=False)
    verification_nonce: str = ""
    is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A result that may not have arrived. `last_share` is the SHA-256 of the share it was the answer to."""

    finished: Finished = field(repr=False)
    last_share: bytes = field(repr=False)
    until_s: float

    def is_for(self, key: str, nonce: str, now_s: float) -> bool:
        """Whether this is the last share of that rekey once more. Raises InvalidShares when it is no share."""
        if now_s >= self.until_s or not equal(nonce, self.finished.nonce):
            return False
        return equal(sha256(share_from_text(key)), self.last_share)


def check_wanted(shares: int, threshold: int, pgp_keys: int, *, has_backup: bool) -> None:
    """Raises InvalidRequest or InvalidShares for what cannot be made."""
    check_numbers(shares, threshold)
    if pgp_keys and pgp_keys != shares:
        raise InvalidRequest("incorrect number of PGP keys for rekey: there must be one for each share")
    if has_backup and not pgp_keys:
        raise InvalidRequest("cannot request a backup of the new keys without providing PGP keys for encryption")


def new_shares(wanted: Wanted, key: bytes, nonce: str, random: Random) -> tuple[NewShares, Handout]:
    """What is to become valid, and what its holders get."""
    out = handed_out(split(key, wanted.shares, wanted.threshold, random), wanted.keys)
    backup = encode_backup(nonce, wanted.fingerprints, out.items) if wanted.has_backup else None
    return NewShares(key=key, shares=wanted.shares, threshold=wanted.threshold, backup=backup), out


def encode_backup(nonce: str, fingerprints: Sequence[str], items: Sequence[bytes]) -> bytes:
    """The record of encrypted shares by the fingerprint of their key; one key may have several."""
    by_key: dict[str, list[bytes]] = {}
    for fingerprint, item in zip(fingerprints, items, strict=True):
        by_key.setdefault(fingerprint, []).append(item)
    return b"\x01" + bytes(msgpack.packb((nonce, by_key)))


def decode_backup(record: bytes) -> tuple[str, dict[str, list[bytes]]]:
    """The nonce and the encrypted shares. Raises ValueError."""
    if record[:1] != b"\x01":
        raise ValueError("the backup of key shares has an unknown format; was it written by a newer version?")
    nonce, by_key = msgpack.unpackb(record[1:])
    return nonce, by_key
