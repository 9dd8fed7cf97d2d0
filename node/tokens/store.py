"""Key names and record bytes of tokens, all below a View of the whole storage."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from node.tokens.model import TokenEntry, TokenType

BATCH_AAD: Final = "sys/token/batch"  # what a batch token is sealed for: it is no stored entry
ROLES: Final = "sys/token/roles/"
ACCESSORS: Final = "sys/token/accessor/"
RECORDS: Final = "sys/token/id/"
PARENTS: Final = "sys/token/parent/"
_VERSION: Final = b"\x01"
_PACKER: Final = msgpack.Packer()  # making one costs as much as packing
_SERVICE: Final = 0
_BATCH: Final = 1


def record_key(key: str) -> str:
    """Where a token is stored, by its HMAC."""
    return f"{RECORDS}{key}"


def accessor_key(accessor_hmac: str) -> str:
    """Where the accessor index says which token it stands for."""
    return f"{ACCESSORS}{accessor_hmac}"


def children_prefix(parent: str) -> str:
    """Below it, one name for each child."""
    return f"{PARENTS}{parent}/"


def child_key(parent: str, child: str) -> str:
    """The index entry of one child."""
    return f"{PARENTS}{parent}/{child}"


def role_key(name: str) -> str:
    """Where a token role is stored."""
    return f"{ROLES}{name}"


def encode_accessor(accessor: str, key: str) -> bytes:
    """The value of an accessor index entry."""
    return _VERSION + f"{accessor}/{key}".encode()


def decode_accessor(value: bytes) -> tuple[str, str]:
    """The accessor, and the HMAC of its token."""
    accessor, _, key = value[1:].decode().partition("/")
    return accessor, key


def encode_token(entry: TokenEntry) -> bytes:
    """The record: a format-version byte, then msgpack of the fields in a fixed order."""
    fields = (
        entry.accessor,
        _BATCH if entry.type is TokenType.BATCH else _SERVICE,
        entry.policies,
        entry.path,
        entry.display_name,
        entry.created_at_ms,
        entry.ttl_s,
        entry.expire_at_ms,
        entry.parent,
        dict(entry.metadata),
        entry.num_uses,
        entry.explicit_max_ttl_s,
        entry.period_s,
        entry.max_ttl_s,
        entry.renewable,
        entry.renewed_at_ms,
        entry.role,
        entry.entity_id,
        entry.bound_cidrs,
        entry.internal,
    )
    packed: bytes = _PACKER.pack(fields)
    return _VERSION + packed


def decode_token(value: bytes) -> TokenEntry:
    """The entry of a record written by `encode_token`. Raises ValueError for another format version."""
    if value[:1] != _VERSION:
        raise ValueError("a token record of an unknown format version")
    f: list[Any] = msgpack.unpackb(memoryview(value)[1:])
    return TokenEntry(
        accessor=f[0],
        type=TokenType.BATCH if f[1] == _BATCH else TokenType.SERVICE,
        policies=tuple(f[2]),
        path=f[3],
        display_name=f[4],
        created_at_ms=f[5],
        ttl_s=f[6],
        expire_at_ms=f[7],
        parent=f[8],
        metadata=f[9],
        num_uses=f[10],
        explicit_max_ttl_s=f[11],
        period_s=f[12],
        max_ttl_s=f[13],
        renewable=f[14],
        renewed_at_ms=f[15],
        role=f[16],
        entity_id=f[17],
        bound_cidrs=tuple(f[18]),
        internal=f[19],
    )
