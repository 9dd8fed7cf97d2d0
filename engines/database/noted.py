"""A database whose calls are counted and timed (Outside.note_call), whatever kind it is of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from engines.common.context import NoteCall
from engines.database.credential import Credential
from engines.database.interface import Database, NewUser, Plugin, Settings

_SUFFIX: Final = "-database-plugin"


def open_noted(plugin: Plugin, settings: Settings, note: NoteCall) -> NotedDatabase:
    """Prepare a database. Raises InvalidRequest for settings that cannot be."""
    return NotedDatabase(plugin.open(settings), plugin.names[0].removesuffix(_SUFFIX), note)


class NotedDatabase:
    """Hands every call on. The names are those of the documented metrics, which know none for changing a password."""

    def __init__(self, database: Database, kind: str, note: NoteCall) -> None:
        self._database = database
        self._kind = kind
        self._note = note

    async def verify(self) -> None:
        """As Database."""
        await self._noted("Initialize", self._database.verify())

    async def create_user(self, user: NewUser) -> None:
        """As Database."""
        await self._noted("CreateUser", self._database.create_user(user))

    async def renew_user(self, username: str, expire_at_ms: int, statements: tuple[str, ...]) -> None:
        """As Database."""
        await self._noted("RenewUser", self._database.renew_user(username, expire_at_ms, statements))

    async def drop_user(self, username: str, statements: tuple[str, ...]) -> None:
        """As Database."""
        await self._noted("RevokeUser", self._database.drop_user(username, statements))

    async def set_credential(self, username: str, credential: Credential, statements: tuple[str, ...]) -> None:
        """As Database."""
        await self._database.set_credential(username, credential, statements)

    async def close(self) -> None:
        """As Database."""
        await self._noted("Close", self._database.close())

    async def _noted(self, call: str, work: Awaitable[None]) -> None:
        clock = asyncio.get_running_loop().time
        began_s, failed = clock(), True
        try:
            await work
            failed = False
        finally:
            self._note(self._kind, call, clock() - began_s, failed)
