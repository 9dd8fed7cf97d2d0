"""Users of a PostgreSQL server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from engines.common.errors import InvalidRequest
from engines.database.batches import Batches, Job
from engines.database.connection_url import filled, int_of, text_of
from engines.database.credential import PASSWORD, Credential
from engines.database.errors import DatabaseRefused
from engines.database.interface import NewUser, Settings
from engines.database.pem_file import PemFile
from engines.database.plugins.postgresql.session import PostgresqlSession, driver
from engines.database.pool import Pool, PoolLimits
from engines.database.statements import POSTGRESQL, quoted, rendered, unwrapped

_RENEW: Final = ("ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'",)
_ROTATE: Final = ("ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'",)
# One text is one transaction and one round trip. A line of its own for each statement, as one may end in a comment.
_SEPARATOR: Final = "\n;"
# What several users may share a transaction for. Anything else could end it, or change what holds for the next one.
_ABOUT_USERS: Final = re.compile(
    r"(?:(?:CREATE|ALTER|DROP)\s+(?:USER|ROLE|GROUP)|GRANT|REVOKE|COMMENT\s+ON\s+ROLE|(?:REASSIGN|DROP)\s+OWNED"
    r"|ALTER\s+DEFAULT\s+PRIVILEGES)\b",
    re.IGNORECASE,
)
_PEM_PARAMETERS: Final[Mapping[str, str]] = {
    "tls_ca": "sslrootcert",
    "tls_certificate": "sslcert",
    "private_key": "sslkey",
}


def open_postgresql(settings: Settings) -> PostgresqlDatabase:
    """Raises InvalidRequest for settings that cannot be."""
    authentication = text_of(settings, "password_authentication") or "password"
    if authentication not in ("password", "scram-sha-256"):
        raise InvalidRequest("password_authentication must be password or scram-sha-256")
    psycopg = driver()
    try:
        parameters = psycopg.conninfo.conninfo_to_dict(filled(settings))
    except psycopg.ProgrammingError:
        # The driver's text may quote the password.
        raise InvalidRequest("connection_url is not a PostgreSQL connection URL or string") from None
    limits = PoolLimits.of(
        int_of(settings, "max_open_connections"),
        int_of(settings, "max_idle_connections"),
        int_of(settings, "max_connection_lifetime"),
    )
    files = {name: PemFile(text) for name in _PEM_PARAMETERS if (text := text_of(settings, name))}
    if "tls_ca" in files:
        # Whoever names an authority wants it asked; a weaker mode must be written into the URL.
        parameters.setdefault("sslmode", "verify-full")
    for name, file in files.items():
        parameters[_PEM_PARAMETERS[name]] = file.path
    named = {name: str(value) for name, value in parameters.items() if value is not None}
    return PostgresqlDatabase(named, limits, tuple(files.values()), is_scram=authentication == "scram-sha-256")


class PostgresqlDatabase:
    """Makes, extends and drops users. `parameters` are libpq's."""

    def __init__(
        self, parameters: Mapping[str, str], limits: PoolLimits, files: tuple[PemFile, ...], *, is_scram: bool
    ) -> None:
        self._files = files
        self._is_scram = is_scram
        self._pool = Pool(lambda: PostgresqlSession.connect(parameters), limits)
        self._batches = Batches(self._pool, PostgresqlSession.execute, _SEPARATOR)

    async def verify(self) -> None:
        """Log in and ask something harmless."""
        await self._run(["SELECT 1"])

    async def create_user(self, user: NewUser) -> None:
        """Make the user in one transaction; rollback statements are for what that cannot take back."""
        values = {"expiration": _moment(user.expire_at_ms)}
        try:
            await self._with_credential(user.creation, user.username, user.credential, values)
        except Exception:
            if unwrapped(user.rollback):
                await self._run(rendered(user.rollback, _names(user.username), POSTGRESQL))
            raise

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """Move VALID UNTIL."""
        values = {**_names(username), "expiration": _moment(expire_at_ms)}
        await self._run(rendered(unwrapped(statements) or _RENEW, values, POSTGRESQL))

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """Drop the role with its privileges and sessions; what it owns goes to the configured user."""
        try:
            if unwrapped(statements):
                await self._run(rendered(statements, _names(username), POSTGRESQL))
            else:
                await self._batches.run(Job(lambda session: _drop(session, username)))
        except DatabaseRefused:
            # Statements need not bear that the user is gone, or goes meanwhile: what a leader that died was doing, the
            # server does to its end. And revoking twice must succeed.
            if await self._pool.run(lambda session: _found(session, username)):
                raise

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """Give the role another password, or whatever its statements do with a key."""
        await self._with_credential(unwrapped(statements) or _ROTATE, username, credential, {})

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
        for file in self._files:
            file.close()

    async def _with_credential(
        self, statements: Sequence[str], username: str, credential: Credential, values: Mapping[str, str]
    ) -> None:
        values = {**values, **_names(username)}
        if not self._is_scram or credential.type != PASSWORD:
            await self._run(rendered(statements, {**values, **credential.values}, POSTGRESQL), credential.secret)
            return
        stored = await self._pool.run(lambda session: session.verifier(username, credential.secret))
        await self._run(rendered(statements, {**values, "password": stored}, POSTGRESQL), credential.secret)

    async def _run(self, texts: Sequence[str], secret: str = "") -> None:
        text = _SEPARATOR.join(texts)
        if all(_ABOUT_USERS.match(one) for one in texts):
            await self._batches.run(Job(lambda _: text, secret))
        else:
            await self._pool.run(lambda session: session.execute(text, secret))


def _names(username: str) -> dict[str, str]:
    return {"name": username, "username": username}


def _moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S+0000")


async def _found(session: PostgresqlSession, username: str) -> bool:
    literal = quoted(username, "'")
    return bool(await session.execute(f"SELECT 1 FROM pg_roles WHERE rolname = {literal}"))  # noqa: S608 - quoted


def _drop(session: PostgresqlSession, username: str) -> str:
    literal, name = quoted(username, "'"), quoted(username, '"')
    # Whoever is not a superuser may only act for roles that it is a member of; the membership goes with the role.
    join = () if session.is_superuser else (f"GRANT {name} TO CURRENT_USER",)
    return _SEPARATOR.join(
        (
            *join,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal}",  # noqa: S608
            f"REASSIGN OWNED BY {name} TO CURRENT_USER",
            f"DROP OWNED BY {name}",
            f"DROP ROLE {name}",
        )
    )
