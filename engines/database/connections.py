"""The open databases of a mount, by the name and the version of their configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.database import store
from engines.database.interface import Database
from engines.database.model import Config
from engines.database.noted import open_noted
from engines.database.plugins import plugin_of

DATABASE: Final = "database/"  # before the name of a connection, among what the mount holds


async def require_config(name: str, ctx: Context) -> store.Stored[Config]:
    """A connection's configuration. Raises InvalidRequest."""
    found = await store.read(Config, store.CONFIGS + name, ctx.view)
    if found is None:
        raise InvalidRequest(f'database configuration "{name}" does not exist')
    return found


async def existing_config(name: str, ctx: Context) -> store.Stored[Config]:
    """As `require_config`, for requests about the configuration itself. Raises NotFound."""
    found = await store.read(Config, store.CONFIGS + name, ctx.view)
    if found is None:
        raise NotFound
    return found


def opened(name: str, config: store.Stored[Config], ctx: Context) -> Database:
    """The database of a configuration as of its version, opened if need be."""
    found: Database | None = ctx.out.held.get(DATABASE + name, config.index)
    if found is None:
        found = open_noted(plugin_of(config.record.plugin_name), config.record.settings, ctx.out.note_call)
        ctx.out.held.put(DATABASE + name, config.index, found)
    return found


async def database_of(name: str, ctx: Context) -> Database:
    """The database that a role names. Raises InvalidRequest."""
    return opened(name, await require_config(name, ctx), ctx)


async def verified(config: Config, ctx: Context) -> None:
    """Log in once with this configuration. Raises what the database says."""
    database = open_noted(plugin_of(config.plugin_name), config.settings, ctx.out.note_call)
    try:
        await database.verify()
    finally:
        await database.close()


def with_password(config: Config, password: str) -> Config:
    """The configuration with another password of its user."""
    return replace(config, settings={**config.settings, "password": password})
