"""Writes docs/api.md from the route tables: `make docs`. A test holds the file equal to them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from engines.common.frame import Operation, RouteTable
from engines.registry import AUTH_METHODS, SECRET_ENGINES
from node import dev
from node.cli.server_options import ServerOptions
from node.config.load import load
from node.core import Core, NodeIdentity
from node.local_api import LOCAL
from node.seal.registry import seal_from_stanza
from node.sources import FixedSources
from node.storage import InmemStorage
from node.system.engine import node_engines

PAGE: Final = Path(__file__).with_name("api.md")
_INTRODUCTION: Final = """# API

Every route below `/v1/`, from the tables that requests are matched with. What a path, a field and an answer mean is in
the documentation of the API that Strongroom speaks, and in the server itself: `GET /v1/<path>?help=1`.

`:name` is one segment, `*name` any number of them. A write is POST or PUT, and LIST is `GET ?list=true` as well.
**no token**: served without one. **sudo**: needs that capability.
"""
_METHODS: Final = {
    Operation.READ: "GET",
    Operation.UPDATE: "POST",
    Operation.PATCH: "PATCH",
    Operation.DELETE: "DELETE",
    Operation.LIST: "LIST",
}


def page() -> str:
    """The text of docs/api.md."""
    return asyncio.run(_page())


async def _page() -> str:
    core = await _running_node()
    parts = [_INTRODUCTION, _local()]
    of_node = core.node_engine(core)
    parts.append(_table("System", "sys/", of_node("system").table))
    parts.append(_table("Identity", "identity/", of_node("identity").table))
    parts.append(_table("Tokens", "auth/token/", of_node("token").table))
    parts += [_table(engine.description.rstrip("."), "<mount>/", engine.table) for engine in SECRET_ENGINES]
    parts += [_table(method.description.rstrip("."), "auth/<mount>/", method.table) for method in AUTH_METHODS]
    return "\n".join(parts)


async def _running_node() -> Core:
    """A node in memory: the tables of sys/ and auth/token/ belong to an unsealed one."""
    options = ServerOptions(dev=True, dev_no_store_token=True)
    config = dev.configured(load([], {}, dev=True), options)
    config = replace(config, raw_storage_endpoint=True, introspection_endpoint=True)
    sources = FixedSources(0, 0)
    core = Core(
        config=config,
        storage=InmemStorage(),
        seal=seal_from_stanza(config.seal, {}, sources.random),
        sources=sources,
        identity=NodeIdentity(hostname="", api_address="", cluster_address="", version="", started_at_ms=0),
        node_engine=node_engines,
        on_failed=lambda reason: None,
    )
    await dev.start(core, options)
    return core


def _local() -> str:
    rows = [
        f"| {' '.join(sorted(method for methods, _ in verbs for method in methods))} | `{path}` |"
        for path, verbs in LOCAL.items()
    ]
    title = "## Answered by every node, sealed or not, without a token\n\n| method | path |\n|---|---|\n"
    return title + "\n".join(rows) + "\n"


def _table(title: str, prefix: str, table: RouteTable) -> str:
    rows = []
    for pattern in sorted(table.patterns, key=lambda one: one.text):
        for operation, route in sorted(pattern.routes.items(), key=lambda item: list(_METHODS).index(item[0])):
            marks = " **no token**" * route.unauthenticated + " **sudo**" * route.sudo
            marks += " deprecated" * route.deprecated
            rows.append(f"| {_METHODS[operation]} | `{prefix}{route.pattern}` | {route.summary}{marks} |")
    return f"## {title}\n\n| method | path | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
