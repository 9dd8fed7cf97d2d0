"""What one kind of database must be able to do. A new kind is a folder below plugins/ and a line there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from engines.database.credential import PASSWORD, Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to make. `expire_at_ms`: until when the database should let them in, where it can tell (Unix ms)."""

    username: str
    credential: Credential
    expire_at_ms: int
    creation: tuple[str, ...]
    rollback: tuple[str, ...] = ()


class Database(Protocol):
    """One configured database. Every method ends within OPERATION_S_MAX, or twice that where it waited for its turn.

    All raise DatabaseRefused or DatabaseUnreachable, and InvalidRequest for statements that cannot be filled in.
    Statements are as the role has them; none means what this kind of database does by itself.
    """

    async def verify(self) -> None:
        """Log in and ask something harmless."""

    async def create_user(self, user: NewUser) -> None:
        """Make the user, wholly or not at all where the database has transactions for it."""

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """Let the user in until that moment."""

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """Remove the user. One that is gone already is no error."""

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """Give an existing user another password or key."""

    async def close(self) -> None:
        """Close what is open. Never raises."""


Settings = Mapping[str, str | int | bool]
"""Connection details by their names in the API, as stored: what was given, and `password`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A kind of database.

    `settings`: the connection details it takes. `secret_settings`: those that are never shown. `required`: those
    without which there is no connection. `username_template`: how users are called where the configuration does not
    say. `open` only prepares: it raises InvalidRequest for settings that cannot be, and contacts nobody.
    `default_creation`: whether it can make a user without creation statements. `credential_types`: what its users can
    log in with.
    """

    names: tuple[str, ...]
    settings: tuple[str, ...]
    secret_settings: tuple[str, ...] = ("password",)
    required: tuple[str, ...] = ("connection_url",)
    username_template: str
    default_creation: bool = False
    credential_types: tuple[str, ...] = (PASSWORD,)
    open: Callable[[Settings], Database]
