"""Requests of the userpass method, and the user it stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engines.common.fields import Kind, body_param, path_param
from engines.common.token_params import TokenFields, TokenParams

_NAME = "Name of the user."

# Older spellings of token parameters that this method takes.
ALIASES: Final[Mapping[str, str]] = {
    "policies": "token_policies",
    "ttl": "token_ttl",
    "max_ttl": "token_max_ttl",
    "bound_cidrs": "token_bound_cidrs",
}


@dataclass(frozen=True, slots=True)
class User:
    """A user as stored. `password_hash` is bcrypt's text."""

    name: str
    password_hash: str = field(repr=False)
    params: TokenParams


@dataclass(frozen=True, slots=True, kw_only=True)
class UserList:
    """LIST users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPath:
    """GET and DELETE users/:username."""

    username: str = path_param(_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserWrite(TokenFields):
    """POST users/:username."""

    username: str = path_param(_NAME)
    password: str = body_param(Kind.STRING, "Password, at most 72 bytes.", default="", secret=True)
    password_hash: str = body_param(Kind.STRING, "The password's bcrypt hash instead.", default="", secret=True)
    ttl: int | None = body_param(Kind.DURATION, "Deprecated: use token_ttl.")
    max_ttl: int | None = body_param(Kind.DURATION, "Deprecated: use token_max_ttl.")
    bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, "Deprecated: use token_bound_cidrs.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordWrite:
    """POST users/:username/password."""

    username: str = path_param(_NAME)
    password: str = body_param(Kind.STRING, "Password, at most 72 bytes.", default="", secret=True)
    password_hash: str = body_param(Kind.STRING, "The password's bcrypt hash instead.", default="", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesWrite:
    """POST users/:username/policies."""

    username: str = path_param(_NAME)
    token_policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies of the tokens.")
    policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Deprecated: use token_policies.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """POST login/:username."""

    username: str = path_param(_NAME)
    password: str = body_param(Kind.STRING, "Password of the user.", default="", secret=True)
