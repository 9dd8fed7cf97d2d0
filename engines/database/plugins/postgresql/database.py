"""Users of a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from engines.common.errors import InvalidRequest
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
                await self._pool.run(lambda session: _drop(session, username))
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

        async def work(session: PostgresqlSession) -> None:
            stored = session.verifier(username, credential.secret)
            texts = rendered(statements, {**values, "password": stored}, POSTGRESQL)
            await session.execute(_as_one(texts), credential.secret)

        await self._pool.run(work)

    async def _run(self, texts: Sequence[str], secret: str = "") -> None:
        async def work(session: PostgresqlSession) -> None:
            await session.execute(_as_one(texts), secret)

        await self._pool.run(work)


def _names(username: str) -> dict[str, str]:
    return {"name": username, "username": username}


def _as_one(texts: Sequence[str]) -> str:
    """One text is one transaction and one round trip. A line of its own each, as one may end in a comment."""
    return "\n;".join(texts)


def _moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S+0000")


async def _found(session: PostgresqlSession, username: str) -> list[tuple[Any, ...]]:
    """Nothing if there is no such role; else whether this session's user is a superuser."""
    return await session.execute(
        "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"  # noqa: S608 - quoted
        f" FROM pg_roles WHERE rolname = {quoted(username, chr(39))}"
    )


async def _drop(session: PostgresqlSession, username: str) -> None:
    literal, name = quoted(username, "'"), quoted(username, '"')
    rows = await _found(session, username)
    if not rows:
        return
    is_superuser = bool(rows[0][0])
    # Whoever is not a superuser may only act for roles that it is a member of; the membership goes with the role.
    join = () if is_superuser else (f"GRANT {name} TO CURRENT_USER",)
    await session.execute(
        _as_one(
            (
                *join,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal}",  # noqa: S608
                f"REASSIGN OWNED BY {name} TO CURRENT_USER",
                f"DROP OWNED BY {name}",
                f"DROP ROLE {name}",
            )
        )
    )
