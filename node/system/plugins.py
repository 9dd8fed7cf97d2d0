"""sys/plugins/catalog (API documentation of the same name): the engines and databases that are part of this program.

There are no others: a plugin would be a program that the server runs, with its rights and next to its keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from engines.database.plugins import PLUGINS as DATABASES
from engines.registry import AUTH_METHODS, SECRET_ENGINES
from node.system.mount_settings import RUNNING_VERSION

_CATALOG: Final[Mapping[str, tuple[str, ...]]] = {
    "auth": tuple(sorted({engine.type for engine in AUTH_METHODS} | {"token"})),
    "database": tuple(sorted(name for plugin in DATABASES for name in plugin.names)),
    "secret": tuple(sorted({engine.type for engine in SECRET_ENGINES} | {"identity"})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfType:
    """A type of plugins."""

    type: str = path_param("auth, database or secret.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(OfType):
    """One plugin."""

    name: str = path_param("Its name.")
    version: str = body_param(Kind.STRING, "Its version, where several are registered.", default="")


def _names(kind: str) -> tuple[str, ...]:
    if kind not in _CATALOG:
        raise InvalidRequest(f"unsupported plugin type {kind!r}: there are {', '.join(_CATALOG)}")
    return _CATALOG[kind]


async def _everything(_request: Nothing, _ctx: Context) -> Plan:
    detailed = [
        {
            "builtin": True,
            "deprecation_status": "supported",
            "name": name,
            "type": kind,
            "version": RUNNING_VERSION,
        }
        for kind, names in _CATALOG.items()
        for name in names
    ]
    return Plan(Answer(data={**{kind: list(names) for kind, names in _CATALOG.items()}, "detailed": detailed}))


async def _list(request: OfType, _ctx: Context) -> Plan:
    return Plan(Answer(data={"keys": list(_names(request.type))}))


async def _read(request: Named, _ctx: Context) -> Plan:
    if request.name not in _names(request.type) or request.version not in ("", RUNNING_VERSION):
        raise NotFound
    return Plan(
        Answer(
            data={
                "args": [],
                "builtin": True,
                "command": "",
                "deprecation_status": "supported",
                "name": request.name,
                "oci_image": "",
                "runtime": "",
                "sha256": "",
                "version": RUNNING_VERSION,
            }
        )
    )


async def _register(request: Named, _ctx: Context) -> Plan:
    _names(request.type)
    raise InvalidRequest("external plugins are not supported: what this server offers is part of it")


async def _deregister(request: Named, _ctx: Context) -> Plan:
    """One that was never registered is gone, as documented; a built-in one stays."""
    if request.name in _names(request.type):
        raise InvalidRequest(f"{request.name} is part of this server and cannot be removed")
    return Plan()


def routes() -> tuple[Route, ...]:
    """The routes, below `sys/`."""
    one = "plugins/catalog/:type/:name"
    return (
        Route(
            pattern="plugins/catalog",
            operation=Operation.READ,
            request=Nothing,
            handler=_everything,
            summary="List all plugins.",
        ),
        Route(
            pattern="plugins/catalog/:type",
            operation=Operation.LIST,
            request=OfType,
            handler=_list,
            summary="List the plugins of a type.",
        ),
        Route(pattern=one, operation=Operation.READ, request=Named, handler=_read, summary="Show a plugin.", sudo=True),
        Route(
            pattern=one,
            operation=Operation.UPDATE,
            request=Named,
            handler=_register,
            summary="Refused: there are no external plugins.",
            sudo=True,
        ),
        Route(
            pattern=one,
            operation=Operation.DELETE,
            request=Named,
            handler=_deregister,
            summary="Remove an external plugin, of which there are none.",
            sudo=True,
        ),
    )
