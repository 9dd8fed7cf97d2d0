"""Where the database engine keeps what, and in which bytes.

    config/<name>             a connection
    role/<name>               a role
    static-role/<name>        a static role with its password
    due/<16 hex ms>/<name>    when a static role is rotated next, in order of time
    intent/<random>           a user that is being made or dropped, and has no lease
    rotation/<name>           a password of a static role that is being set
    root-rotation/<name>      a password of a connection's own user that is being set

A record is a format-version byte and a msgpack map of its fields; a field that an older version did not write keeps
its default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Generic, TypeVar

import msgpack

from engines.common.context import View
from engines.common.plan import Delete, Put, Write
from engines.database.model import Config, Intent, LeasedUser, Role, RootRotation, Rotation, StaticRole

CONFIGS: Final = "config/"
ROLES: Final = "role/"
STATIC_ROLES: Final = "static-role/"
DUE: Final = "due/"
INTENTS: Final = "intent/"
ROTATIONS: Final = "rotation/"
ROOT_ROTATIONS: Final = "root-rotation/"
_FORMAT: Final = b"\x01"

Record = Config | Role | StaticRole | Intent | Rotation | RootRotation | LeasedUser
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Stored(Generic[R]):
    """A record as it was read, and the index that its next write names."""

    key: str
    record: R
    index: int


def encode(record: Record) -> bytes:
    """The stored bytes of a record."""
    # No asdict: it copies what is in the fields as well, at ten times the cost.
    return _FORMAT + bytes(msgpack.packb({field.name: getattr(record, field.name) for field in fields(record)}))


def decode(kind: type[R], value: bytes) -> R:
    """Undo `encode`. Raises ValueError for another format."""
    if value[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
    fields: dict[str, Any] = msgpack.unpackb(value[1:], use_list=False)
    return kind(**fields)


async def read(kind: type[R], key: str, view: View) -> Stored[R] | None:
    """The record at a key."""
    seen = await view.get(key)
    return None if seen is None else Stored(key, decode(kind, seen.value), seen.index)


def put(key: str, record: Record, seen_index: int | None = None) -> Put:
    """The write of a record."""
    return Put(key, encode(record), seen_index)


def due_key(name: str, due_at_ms: int) -> str:
    """The place of a static role in the order of time."""
    return f"{DUE}{due_at_ms:016x}/{name}"


def static_role_writes(name: str, role: StaticRole, was: Stored[StaticRole] | None) -> tuple[Write, ...]:
    """The writes that store a static role with its place in the order of time."""
    record = put(STATIC_ROLES + name, role, 0 if was is None else was.index)
    if was is not None and was.record.due_at_ms == role.due_at_ms:
        return (record,)
    due = Put(due_key(name, role.due_at_ms), _FORMAT)
    return (record, due) if was is None else (record, Delete(due_key(name, was.record.due_at_ms)), due)
