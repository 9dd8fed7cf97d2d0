"""Statements of a MongoDB role, and its write concern: JSON objects, never program text."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engines.common.errors import InvalidRequest

_ADMIN: Final = "admin"
_CONCERN: Final = {"w": "w", "wmode": "w", "wtimeout": "wtimeout", "j": "j", "fsync": "fsync"}


@dataclass(frozen=True, slots=True)
class Creation:
    """In which database a user is made, and which roles it has: names, or names with their database."""

    db: str
    roles: tuple[str | Mapping[str, str], ...]


def creation_of(statements: Sequence[str]) -> Creation:
    """Read creation statements. Raises InvalidRequest."""
    found = _one_object(statements, "creation_statements")
    roles = found.get("roles")
    if not isinstance(roles, list) or not roles:
        raise InvalidRequest("creation_statements of MongoDB must hold roles")
    return Creation(_db(found), tuple(_role(role) for role in roles))


def revocation_db(statements: Sequence[str]) -> str:
    """The database from which a user is dropped; "" where nothing says so. Raises InvalidRequest."""
    return _db(_one_object(statements, "revocation_statements")) if statements else ""


def write_concern_of(text: str) -> Mapping[str, Any]:
    """The write concern of a configuration, as commands take it. Raises InvalidRequest."""
    if not text:
        return {}
    given = {name.lower(): value for name, value in _object(text, "write_concern").items()}
    unknown = set(given) - set(_CONCERN)
    if unknown or any(not isinstance(value, str | int | bool) for value in given.values()):
        raise InvalidRequest("write_concern may hold w, wmode, wtimeout, j and fsync")
    return {_CONCERN[name]: value for name, value in given.items() if value}


def _role(role: object) -> str | Mapping[str, str]:
    if isinstance(role, str) and role:
        return role
    if isinstance(role, dict) and isinstance(role.get("role"), str) and set(role) <= {"role", "db"}:
        db = role.get("db", "")
        if isinstance(db, str):
            return {"role": role["role"], "db": db} if db else role["role"]
    raise InvalidRequest("each of the roles must be an object with role and db")


def _db(found: Mapping[str, Any]) -> str:
    db = found.get("db") or _ADMIN
    if not isinstance(db, str):
        raise InvalidRequest("db must be the name of a database")
    return db


def _one_object(statements: Sequence[str], name: str) -> Mapping[str, Any]:
    if len(statements) != 1:
        raise InvalidRequest(f"{name} of MongoDB must be one JSON object")
    return _object(statements[0], name)


def _object(text: str, name: str) -> Mapping[str, Any]:
    with contextlib.suppress(binascii.Error, ValueError):
        text = base64.b64decode(text, validate=True).decode()
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} of MongoDB must be a JSON object")
    return found
