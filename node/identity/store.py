"""Key names and record bytes of identity, all absolute. Every record starts with a format-version byte.

    sys/identity/epoch                            changes with everything that concerns an existing entity or a group
    sys/identity/entity/<id>                      an entity with its aliases
    sys/identity/entity-name/<HMAC>               the id of the entity with this name
    sys/identity/alias/<alias id>                 the id of its entity
    sys/identity/alias-name/<accessor>/<HMAC>     the id of the entity with this alias
    sys/identity/merged/<id>                      the id of the entity that this one was merged into
    sys/identity/group/<id>                       a group
    sys/identity/group-name/<HMAC>                the id of the group with this name
    sys/identity/group-alias/<alias id>           the id of its group
    sys/identity/group-alias-name/<accessor>/<HMAC>  the id of the group with this alias
    sys/identity/member/<group id>/<entity id>    the entity is in the group
    sys/identity/group-of/<entity id>/<group id>  the same, found from the entity
    sys/identity/parent/<group id>/<parent id>    the group is a member of the parent

Names lie under their salted HMAC: an alias may be half a credential (AppRole's role id), and any text fits in a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack

from engines.common.crypto import KeyedHmac
from node.identity.model import Alias, Entity, Group, GroupAlias, GroupType

ROOT: Final = "sys/identity/"
EPOCH: Final = f"{ROOT}epoch"
ENTITIES: Final = f"{ROOT}entity/"
ENTITY_NAMES: Final = f"{ROOT}entity-name/"
ALIASES: Final = f"{ROOT}alias/"
ALIAS_NAMES: Final = f"{ROOT}alias-name/"
MERGED: Final = f"{ROOT}merged/"
GROUPS: Final = f"{ROOT}group/"
GROUP_NAMES: Final = f"{ROOT}group-name/"
GROUP_ALIASES: Final = f"{ROOT}group-alias/"
GROUP_ALIAS_NAMES: Final = f"{ROOT}group-alias-name/"
MEMBERS: Final = f"{ROOT}member/"
GROUPS_OF: Final = f"{ROOT}group-of/"
PARENTS: Final = f"{ROOT}parent/"
_FORMAT: Final = b"\x01"
MARK: Final = _FORMAT  # the record of an index entry that only has to be there


def named(salted: KeyedHmac, name: str) -> str:
    """The HMAC under which a name lies: 64 hex digits."""
    return salted.digest(b"identity\0" + name.encode("utf-8", "surrogatepass")).hex()


def encode_id(value: str) -> bytes:
    """The record that leads to another one."""
    return _FORMAT + value.encode()


def decode_id(record: bytes) -> str:
    """Undo `encode_id`."""
    _require_format(record)
    return record[1:].decode()


def _fields(value: Any) -> list[object]:
    return [getattr(value, name) for name in type(value).__dataclass_fields__]


def _of_fields(kind: Callable[..., Any], record: list[Any]) -> dict[str, Any]:
    return dict(zip(kind.__dataclass_fields__, record, strict=True))  # type: ignore[attr-defined]


def _packed(value: Any) -> bytes:
    return _FORMAT + bytes(msgpack.packb(_fields(value), default=_fields))


def _require_format(record: bytes) -> None:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of an identity record; was it written by a newer version?")


def encode_entity(entity: Entity) -> bytes:
    """The record of an entity."""
    return _packed(entity)


def decode_entity(record: bytes) -> Entity:
    """Undo `encode_entity`."""
    _require_format(record)
    members = _of_fields(Entity, msgpack.unpackb(record[1:], use_list=False))
    members["aliases"] = tuple(Alias(**_of_fields(Alias, alias)) for alias in members["aliases"])
    return Entity(**members)


def encode_group(group: Group) -> bytes:
    """The record of a group."""
    return _packed(group)


def decode_group(record: bytes) -> Group:
    """Undo `encode_group`."""
    _require_format(record)
    members = _of_fields(Group, msgpack.unpackb(record[1:], use_list=False))
    members["type"] = GroupType(members["type"])
    if members["alias"] is not None:
        members["alias"] = GroupAlias(**_of_fields(GroupAlias, members["alias"]))
    return Group(**members)
