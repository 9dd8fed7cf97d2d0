"""The kinds of databases. Adding one is adding a folder here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engines.common.errors import InvalidRequest
from engines.database.interface import Plugin
from engines.database.plugins.mongodb import PLUGIN as MONGODB
from engines.database.plugins.mysql import LEGACY as MYSQL_LEGACY
from engines.database.plugins.mysql import PLUGIN as MYSQL
from engines.database.plugins.postgresql import PLUGIN as POSTGRESQL
from engines.database.plugins.redis import PLUGIN as REDIS

PLUGINS: Final = (POSTGRESQL, MYSQL, MYSQL_LEGACY, REDIS, MONGODB)
_BY_NAME: Final[Mapping[str, Plugin]] = {name: plugin for plugin in PLUGINS for name in plugin.names}


def plugin_of(name: str) -> Plugin:
    """The plugin of this name. Raises InvalidRequest."""
    plugin = _BY_NAME.get(name)
    if plugin is None:
        raise InvalidRequest(f"unknown plugin {name!r}: there are {', '.join(sorted(_BY_NAME))}")
    return plugin
