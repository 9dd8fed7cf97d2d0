"""One connection to PostgreSQL, and what its errors may tell."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from engines.common.errors import InvalidRequest
from engines.database.errors import Collided, DatabaseRefused, DatabaseUnreachable
from engines.database.pool import OPERATION_S_MAX

if TYPE_CHECKING:
    import psycopg


_NOT_TRIED: Final = "connection is bad: invalid"  # the driver's words for parameters that it does not understand


def driver() -> Any:
    """The module psycopg, loaded when first needed. Raises InvalidRequest when it is not installed."""
    try:
        import psycopg
    except ImportError:
        raise InvalidRequest("the driver for PostgreSQL is not installed: add the package psycopg[binary]") from None
    return psycopg


class PostgresqlSession:
    """A connection in autocommit mode: several statements sent as one text are one transaction."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], secret: str) -> None:
        self.is_superuser = False
        self._connection = connection
        self._secret = secret

    @staticmethod
    async def connect(parameters: Mapping[str, str]) -> PostgresqlSession:
        """Log in. Raises DatabaseUnreachable."""
        psycopg = driver()
        secret = parameters.get("password", "")
        try:
            connection = await psycopg.AsyncConnection.connect(
                **{"connect_timeout": str(int(OPERATION_S_MAX)), "application_name": "strongroom", **parameters},
                autocommit=True,
                prepare_threshold=None,
            )
        except (psycopg.Error, OSError, UnicodeError) as error:
            said = _without(str(error), secret)
            if said.startswith(_NOT_TRIED):
                said = "connection_url has a parameter that cannot be"  # the rest quotes what may be half a password
            raise DatabaseUnreachable(said) from None
        session = PostgresqlSession(connection, secret)
        # A statement that nobody waits for any longer must not take effect later; and a backslash escapes nothing.
        rows = await session.execute(
            f"SET statement_timeout = '{OPERATION_S_MAX:.0f}s'; SET standard_conforming_strings = on;"  # noqa: S608 - ours
            " SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        )
        session.is_superuser = bool(rows and rows[0][0])
        return session

    async def execute(self, text: str, secret: str = "") -> list[tuple[Any, ...]]:
        """Run the text as one transaction; the rows of its last result. `secret` never shows in an error.

        Raises:
            DatabaseRefused: Rolled back.
            DatabaseUnreachable: The connection was lost; the outcome is unknown.
        """
        psycopg = driver()
        try:
            cursor = await self._connection.execute(text.encode())
            while cursor.nextset():
                pass
            return await cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            raise self._told(error, secret) from None

    def _told(self, error: psycopg.Error, secret: str) -> Exception:
        if error.sqlstate is None or self._connection.closed:
            return DatabaseUnreachable(f"the connection to the database was lost: {type(error).__name__}")
        # The rest of the error quotes the statement.
        said = (error.diag.message_primary or type(error).__name__).split(" at or near ")[0]
        refused = DatabaseRefused(f"{_without(said, secret, self._secret)} (SQLSTATE {error.sqlstate})")
        is_race = error.sqlstate in ("40001", "40P01") or (error.sqlstate == "XX000" and "concurrently" in said)
        return Collided(str(refused)) if is_race else refused

    async def verifier(self, username: str, password: str) -> str:
        """What PostgreSQL stores for the password (SCRAM-SHA-256), made here so that it never sees the password."""
        pgconn = self._connection.pgconn
        return pgconn.encrypt_password(password.encode(), username.encode(), b"scram-sha-256").decode()

    def is_usable(self) -> bool:
        """Whether it is idle, and the server has said nothing: what it says by itself is that it is going."""
        if self._connection.closed or self._connection.info.transaction_status:
            return False
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN | select.POLLHUP)
        return not poll.poll(0)

    def hang_up(self) -> None:
        """Cut the connection under whoever waits on it; the driver finds it at its end and gives up."""
        if self._connection.closed:
            return
        with socket.fromfd(self._connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as same:
            try:
                same.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    async def close(self) -> None:
        """Say goodbye."""
        try:
            await self._connection.close()
        except (driver().Error, OSError):
            return


def _without(text: str, *secrets: str) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split())
