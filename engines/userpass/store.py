"""Where userpass keeps what: users/<folded name> holds a User. Every record starts with a format-version byte."""

from __future__ import annotations

from typing import Final

import msgpack

from engines.common.context import View
from engines.common.plan import Delete, Put
from engines.common.token_params import TokenParams
from engines.userpass.model import User

_USERS: Final = "users/"
_FORMAT: Final = b"\x01"


async def read_user(view: View, name: str) -> tuple[User | None, int]:
    """The user with this folded name, and the index to name when it is written."""
    seen = await view.get(_USERS + name)
    return (None, 0) if seen is None else (decode_user(name, seen.value), seen.index)


async def read_names(view: View) -> list[str]:
    """The names of all users."""
    return await view.list(_USERS)


def user_write(user: User, seen_index: int) -> Put:
    """The write of a user."""
    return Put(
        _USERS + user.name, _FORMAT + bytes(msgpack.packb((user.password_hash, user.params.record()))), seen_index
    )


def user_removal(name: str) -> Delete:
    """The write after which there is no such user."""
    return Delete(_USERS + name)


def decode_user(name: str, record: bytes) -> User:
    """Undo `user_write`. Raises ValueError for a record of another format."""
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
    password_hash, params = msgpack.unpackb(record[1:], use_list=False)
    return User(name, password_hash, TokenParams.of_record(params))
