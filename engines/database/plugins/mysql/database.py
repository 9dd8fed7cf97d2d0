"""Users of a MySQL or MariaDB server."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from engines.database.connection_url import int_of
from engines.database.credential import Credential
from engines.database.errors import DatabaseRefused
from engines.database.interface import NewUser, Settings
from engines.database.plugins.mysql.address import Address, address_of
from engines.database.plugins.mysql.session import MysqlSession, driver
from engines.database.pool import Pool, PoolLimits
from engines.database.statements import MYSQL, quoted, rendered, unwrapped

_ROTATE: Final = ("ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}'",)
_logger = logging.getLogger(__name__)


def open_mysql(settings: Settings) -> MysqlDatabase:
    """Raises InvalidRequest for settings that cannot be."""
    driver()
    limits = PoolLimits.of(
        int_of(settings, "max_open_connections"),
        int_of(settings, "max_idle_connections"),
        int_of(settings, "max_connection_lifetime"),
    )
    return MysqlDatabase(address_of(settings), limits)


class MysqlDatabase:
    """Makes and drops users. The database knows no end of a user, so renewing changes nothing there."""

    def __init__(self, address: Address, limits: PoolLimits) -> None:
        self._pool = Pool(lambda: MysqlSession.connect(address), limits)

    async def verify(self) -> None:
        """Log in and ask something harmless."""
        await self._run(["SELECT 1"])

    async def create_user(self, user: NewUser) -> None:
        """Make the user. There are no transactions for that, so what was made before a refusal is dropped at once."""
        names = {"name": user.username, "username": user.username}
        texts = rendered(user.creation, {**names, **user.credential.values}, MYSQL)
        try:
            await self._run(texts, user.credential.secret)
        except DatabaseRefused:
            if unwrapped(user.rollback):
                await self._run(rendered(user.rollback, names, MYSQL))
            else:
                await self.drop_user(user.username, ())
            raise

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """Run the role's renew statements, if it has any."""
        await self._run(rendered(statements, {"name": username, "username": username}, MYSQL))

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """Drop the account for every host it has, and end its sessions."""
        texts = rendered(statements, {"name": username, "username": username}, MYSQL)
        if not texts:
            await self._pool.run(lambda session: _drop(session, username))
            return
        try:
            await self._run(texts)
        except DatabaseRefused:
            # The statements of a role need not bear that the user is gone, and revoking twice must succeed.
            if await self._pool.run(lambda session: _hosts(session, username)):
                raise

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """Give the account another password, or whatever its statements do with a key."""
        values = {"name": username, "username": username, **credential.values}
        await self._run(rendered(unwrapped(statements) or _ROTATE, values, MYSQL), credential.secret)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def _run(self, texts: Sequence[str], secret: str = "") -> None:
        async def work(session: MysqlSession) -> None:
            for text in texts:
                await session.execute(text, secret)

        await self._pool.run(work)


async def _hosts(session: MysqlSession, username: str) -> list[str]:
    literal = quoted(username, "'", has_backslash=True)
    rows = await session.execute(f"SELECT Host FROM mysql.user WHERE User = {literal}")  # noqa: S608 - quoted
    return [row[0] for row in rows]


async def _drop(session: MysqlSession, username: str) -> None:
    literal = quoted(username, "'", has_backslash=True)
    for host in await _hosts(session, username):
        await session.execute(f"DROP USER IF EXISTS {literal}@{quoted(host, chr(39), has_backslash=True)}")
    # After the account: no new session can begin.
    rows = await session.execute(
        f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {literal}"  # noqa: S608 - quoted
    )
    for row in rows:
        try:
            await session.execute(f"KILL CONNECTION {int(row[0])}")
        except DatabaseRefused as error:
            _logger.info("a session of a dropped user has ended by itself, or may not be ended: %s", error)
