"""Where AppRole keeps what. Nothing that opens a door is in a key: ids and accessors are there as salted HMACs.

    salt                          32 random bytes, from the first role on
    role/<name>                   a Role
    role_id/<HMAC>                the name of the role with this role id
    secret/<role uid>/<HMAC>      a SecretId
    accessor/<role uid>/<HMAC>    its accessor, the HMAC of its secret and its end
    expiry/<end>.<uid>.<HMACs>    one entry per secret id that ends, in the order of their ends
    gone/<role uid>               a deleted role of which secret ids are left to be cleared away

A secret id can only be found through the uid of its role, so another role's is as good as none (CVE-2023-24999).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgpack

from engines.approle.model import Role, SecretId
from engines.common.context import Context, Sources, View
from engines.common.crypto import KeyedHmac
from engines.common.plan import Check, Delete, Put, Write
from engines.common.token_params import TokenParams

SALT_KEY: Final = "salt"
ROLES: Final = "role/"
_ROLE_IDS: Final = "role_id/"
_EXPIRY: Final = "expiry/"
_GONE: Final = "gone/"
_FORMAT: Final = b"\x01"
_SALT_BYTES: Final = 32
REMOVED_MAX: Final = 1500  # keys that one request removes: about 250 KB of one entry
_TURN: Final = 256  # accessors read before others get their turn


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class SeenRole:
    """A role as it was read."""

    role: Role
    index: int


@dataclass(slots=True, unsafe_hash=True)
class SeenSecretId:
    """A secret id as it was read. `digest` is its HMAC."""

    secret_id: SecretId
    digest: str
    index: int


class Digests:
    """HMACs under the mount's salt; each kind of name has its own."""

    __slots__ = ("_salted",)

    def __init__(self, salt: bytes) -> None:
        self._salted = KeyedHmac(salt)

    def role_id(self, value: str) -> str:
        return self._of(b"role id\0", value)

    def secret_id(self, value: str) -> str:
        return self._of(b"secret id\0", value)

    def accessor(self, value: str) -> str:
        return self._of(b"accessor\0", value)

    def _of(self, kind: bytes, value: str) -> str:
        return self._salted.digest(kind + value.encode("utf-8", "surrogatepass")).hex()


async def read_digests(view: View) -> Digests | None:
    """The digests of this mount; None before its first role."""
    seen = await view.get(SALT_KEY)
    return None if seen is None else seen.decoded(Digests)


async def digests_and_write(view: View, sources: Sources) -> tuple[Digests, tuple[Write, ...]]:
    """The digests, and the write of their salt where this request is the first to need it."""
    known = await read_digests(view)
    if known is not None:
        return known, ()
    salt = sources.random(_SALT_BYTES)
    return Digests(salt), (Put(SALT_KEY, salt, 0),)


# Roles


async def read_role(view: View, name: str) -> SeenRole | None:
    """The role with this name."""
    seen = await view.get(ROLES + name)
    return None if seen is None else SeenRole(seen.decoded(partial(_decode_role, name)), seen.index)


async def role_of_id(view: View, digests: Digests, role_id: str) -> SeenRole | None:
    """The role with this role id."""
    seen = await view.get(_ROLE_IDS + digests.role_id(role_id))
    return None if seen is None else await read_role(view, seen.value.decode())


def role_write(role: Role, seen_index: int) -> Put:
    """The write of a role."""
    fields = (
        role.uid,
        role.role_id,
        role.params.record(),
        role.bind_secret_id,
        role.secret_id_bound_cidrs,
        role.secret_id_num_uses,
        role.secret_id_ttl_s,
        role.local_secret_ids,
    )
    return Put(ROLES + role.name, _packed(fields), seen_index)


def role_id_write(digests: Digests, role: Role) -> Put:
    """The write that finds the role by its role id; refused when another role has it."""
    return Put(_ROLE_IDS + digests.role_id(role.role_id), role.name.encode(), 0)


def role_id_removal(digests: Digests, role_id: str) -> Delete:
    """The write after which no role has this role id."""
    return Delete(_ROLE_IDS + digests.role_id(role_id))


async def role_removal(view: View, digests: Digests, seen: SeenRole) -> tuple[Write, ...]:
    """The writes after which the role is gone; of very many secret ids some are left for `leftovers`."""
    role = seen.role
    keys = await _keys_of(view, role.uid)
    rest = (Put(_GONE + role.uid, _FORMAT),) if len(keys) > REMOVED_MAX else ()
    return (
        Delete(ROLES + role.name, seen.index),
        role_id_removal(digests, role.role_id),
        *(Delete(key) for key in keys[:REMOVED_MAX]),
        *rest,
    )


async def _keys_of(view: View, uid: str) -> list[str]:
    """At most REMOVED_MAX + 1 keys of a role's secret ids."""
    found: list[str] = []
    for folder in (f"secret/{uid}/", f"accessor/{uid}/"):
        names = await view.list(folder, limit=REMOVED_MAX + 1 - len(found))
        found += (folder + name for name in names)
    return found


# Secret ids


def _secret_key(role: Role, digest: str) -> str:
    return f"secret/{role.uid}/{digest}"


def _accessor_key(role: Role, digests: Digests, accessor: str) -> str:
    return f"accessor/{role.uid}/{digests.accessor(accessor)}"


def _expiry_name(expire_at_ms: int, uid: str, digest: str, accessor_digest: str) -> str:
    return f"{expire_at_ms:016x}.{uid}.{digest}.{accessor_digest}"


async def read_secret_id(view: View, role: Role, digest: str) -> SeenSecretId | None:
    """The secret id of this role with this HMAC."""
    seen = await view.get(_secret_key(role, digest))
    return None if seen is None else SeenSecretId(seen.decoded(_decode_secret_id), digest, seen.index)


async def secret_id_of_accessor(view: View, digests: Digests, role: Role, accessor: str) -> SeenSecretId | None:
    """The secret id of this role with this accessor."""
    seen = await view.get(_accessor_key(role, digests, accessor))
    return None if seen is None else await read_secret_id(view, role, _unpacked(seen.value)[1])


async def read_accessors(view: View, role: Role, now_ms: int) -> list[str]:
    """The accessors of the role's secret ids that have not ended, in no order that says anything."""
    found: list[str] = []
    folder = f"accessor/{role.uid}/"
    for turn, name in enumerate(await view.list(folder)):
        if turn % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        seen = await view.get(folder + name)
        if seen is not None:
            accessor, _, expire_at_ms = _unpacked(seen.value)
            if expire_at_ms == 0 or now_ms < expire_at_ms:
                found.append(accessor)
    return found


def secret_id_writes(
    digests: Digests, seen: SeenRole, secret_id: SecretId, digest: str, ended: SeenSecretId | None
) -> tuple[Write, ...]:
    """The writes of a new secret id of a role; `ended` is one of the same text that it takes the place of."""
    role = seen.role
    expire_at_ms = secret_id.expire_at_ms
    writes: list[Write] = [
        Check(ROLES + role.name, seen.index),
        Put(_secret_key(role, digest), _encode_secret_id(secret_id), ended.index if ended is not None else 0),
        Put(
            _accessor_key(role, digests, secret_id.accessor),
            _packed((secret_id.accessor, digest, expire_at_ms)),
        ),
    ]
    if expire_at_ms:
        name = _expiry_name(expire_at_ms, role.uid, digest, digests.accessor(secret_id.accessor))
        writes.append(Put(_EXPIRY + name, _FORMAT))
    if ended is not None:
        writes += secret_id_removal(digests, role, ended)[1:]
    return tuple(writes)


def used_write(role: Role, seen: SeenSecretId, left: SecretId) -> Put:
    """The write of one use; of concurrent logins with the same secret id one is refused and planned again."""
    return Put(_secret_key(role, seen.digest), _encode_secret_id(left), seen.index)


def secret_id_removal(digests: Digests, role: Role, seen: SeenSecretId) -> tuple[Write, ...]:
    """The writes after which nothing is left of a secret id."""
    secret_id = seen.secret_id
    # The secret id itself is the first of them: `secret_id_writes` takes the others.
    writes: list[Write] = [
        Delete(_secret_key(role, seen.digest), seen.index),
        Delete(_accessor_key(role, digests, secret_id.accessor)),
    ]
    if secret_id.expire_at_ms:
        accessor_digest = digests.accessor(secret_id.accessor)
        writes.append(Delete(_EXPIRY + _expiry_name(secret_id.expire_at_ms, role.uid, seen.digest, accessor_digest)))
    return tuple(writes)


async def leftovers(view: View, now_ms: int, limit: int) -> tuple[Write, ...]:
    """The writes that clear away secret ids that have ended, and those of deleted roles; about `limit` of each.

    A secret id never lives longer than it was made for, so what has ended needs no second look.
    """
    writes: list[Delete] = []
    for name in await view.list(_EXPIRY, limit=limit):
        end, uid, digest, accessor_digest = name.split(".")
        if int(end, 16) > now_ms:
            break
        writes += (
            Delete(_EXPIRY + name),
            Delete(f"secret/{uid}/{digest}"),
            Delete(f"accessor/{uid}/{accessor_digest}"),
        )
    for uid in await view.list(_GONE, limit=1):
        keys = await _keys_of(view, uid)
        writes += (Delete(key) for key in keys[:limit])
        if len(keys) <= limit:
            writes.append(Delete(_GONE + uid))
    # A secret id of a deleted role may have ended as well.
    return tuple({write.key: write for write in writes}.values())


# Records


def _packed(fields: tuple[object, ...]) -> bytes:
    return _FORMAT + bytes(msgpack.packb(fields))


def _unpacked(record: bytes) -> tuple[Any, ...]:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
    fields: tuple[Any, ...] = msgpack.unpackb(record[1:], use_list=False)
    return fields


def _decode_role(name: str, record: bytes) -> Role:
    uid, role_id, params, bind, cidrs, num_uses, ttl_s, local = _unpacked(record)
    return Role(
        name=name,
        uid=uid,
        role_id=role_id,
        params=TokenParams.of_record(params),
        bind_secret_id=bind,
        secret_id_bound_cidrs=cidrs,
        secret_id_num_uses=num_uses,
        secret_id_ttl_s=ttl_s,
        local_secret_ids=local,
    )


def _encode_secret_id(secret_id: SecretId) -> bytes:
    return _packed(tuple(getattr(secret_id, name) for name in SecretId.__dataclass_fields__))


def _decode_secret_id(record: bytes) -> SecretId:
    return SecretId(*_unpacked(record))


async def existing_digests(ctx: Context) -> Digests:
    """The digests of a mount that has a role, so that it has a salt."""
    known = await read_digests(ctx.view)
    if known is None:
        raise LookupError("a mount with roles has no salt")
    return known
