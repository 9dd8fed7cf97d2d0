"""One connection to MySQL or MariaDB, and what its errors may tell."""

from __future__ import annotations

from typing import Any, Final

from engines.common.errors import InvalidRequest
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.plugins.mysql.address import Address
from engines.database.pool import OPERATION_S_MAX

_CLIENT_ERRORS: Final = range(2000, 3000)  # of the driver itself: the connection is gone
_LOST: Final = frozenset({1053, 1927, 1129, 1040, 1152})  # shutdown, killed, blocked, too many, aborted
_SYNTAX: Final = 1064
# Strings are read as the templates were: a backslash escapes, a double quote begins a text.
_READ_AS_USUAL: Final = (
    "SET SESSION sql_mode = REPLACE(REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', ''), 'ANSI_QUOTES', ''),"
    f" lock_wait_timeout = {OPERATION_S_MAX:.0f}"
)


def driver() -> Any:
    """The module asyncmy, loaded when first needed. Raises InvalidRequest when it is not installed."""
    try:
        import asyncmy
        import asyncmy.errors
    except ImportError:
        raise InvalidRequest("the driver for MySQL is not installed: add the package asyncmy") from None
    return asyncmy


class MysqlSession:
    """A connection; each statement takes effect at once, as those about users do in any case."""

    def __init__(self, connection: Any, secret: str) -> None:
        self._connection = connection
        self._secret = secret

    @staticmethod
    async def connect(address: Address) -> MysqlSession:
        """Log in. Raises DatabaseUnreachable."""
        errors = driver().errors
        try:
            connection = await driver().connect(
                **address.arguments, autocommit=True, charset="utf8mb4", connect_timeout=OPERATION_S_MAX
            )
        except errors.MySQLError as error:
            raise DatabaseUnreachable(_text(error, address.secret)) from None
        except (OSError, EOFError, ValueError, RuntimeError) as error:
            raise DatabaseUnreachable(f"cannot connect to MySQL: {_plain(error)}") from None
        session = MysqlSession(connection, address.secret)
        await session.execute(_READ_AS_USUAL)
        return session

    async def execute(self, text: str, secret: str = "") -> list[tuple[Any, ...]]:
        """Run one statement; its rows. `secret` never shows in an error.

        Raises:
            DatabaseRefused: The statement did nothing.
            DatabaseUnreachable: The connection was lost; the outcome is unknown.
        """
        errors = driver().errors
        try:
            async with self._connection.cursor() as cursor:
                await cursor.execute(text)
                return list(await cursor.fetchall()) if cursor.description is not None else []
        except errors.MySQLError as error:
            code = _code(error)
            said = _text(error, secret, self._secret)
            if code in _CLIENT_ERRORS or code in _LOST or not self._connection.connected:
                raise DatabaseUnreachable(f"the connection to the database was lost: {said}") from None
            raise MysqlRefused(said, code) from None
        except (OSError, EOFError, RuntimeError, AttributeError) as error:
            # What the driver stumbles over when its connection is cut under it.
            self._connection.close()
            raise DatabaseUnreachable(f"the connection to the database was lost: {type(error).__name__}") from None

    def is_usable(self) -> bool:
        """Whether the connection is open still."""
        return bool(self._connection.connected)

    def hang_up(self) -> None:
        """Cut the connection under whoever waits on it."""
        self._connection.close()

    async def close(self) -> None:
        """Cut it, too: the server takes it for a goodbye."""
        self._connection.close()


class MysqlRefused(DatabaseRefused):
    """A refusal with MySQL's number for it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def _code(error: Exception) -> int:
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def _text(error: Exception, *secrets: str) -> str:
    code = _code(error)
    if code == _SYNTAX:
        return "syntax error in a statement (1064)"  # the rest quotes the statement, at times half a password
    said = " ".join(str(error.args[1] if len(error.args) > 1 else type(error).__name__).split())
    for secret in secrets:
        if secret:
            said = said.replace(secret, "***")
    return f"{said} ({code})"


def _plain(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
