"""The answer to `?help=1`: what a path is for, as text and as an OpenAPI document of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engines.common.errors import UnsupportedPath
from engines.common.fields import Parameter, Source, parameters_of
from engines.common.frame import Engine, Operation, Route, RouteTable
from engines.common.openapi import document

_VERSION: Final = "v1"  # of the API itself: a path's help does not depend on the server that gives it


def help_for(engine: Engine, mount_path: str, path: str) -> Mapping[str, object]:
    """The members `help` and `openapi` for a path below the mount; the mount's own help when path is empty.

    Raises:
        UnsupportedPath: No pattern of the engine matches.
    """
    if not path:
        return {"help": _engine_help(engine), "openapi": document([(mount_path, engine)], _VERSION, generic=False)}
    for pattern in engine.table.patterns:
        if pattern.regex.fullmatch(path) is not None:
            routes = tuple(pattern.routes.values())
            alone = replace(engine, table=RouteTable(routes))
            return {
                "help": _path_help(path, pattern.text, routes),
                "openapi": document([(mount_path, alone)], _VERSION, generic=False),
            }
    raise UnsupportedPath


def _engine_help(engine: Engine) -> str:
    lines = ["## DESCRIPTION", "", engine.description, "", engine.help, "", "## PATHS", ""]
    lines.append("The paths below have help of their own: ask for it with the mount's path in front.")
    for pattern in engine.table.patterns:
        lines += ["", f"    {pattern.text}"]
        lines += [f"        {_verb(route)}: {route.summary}" for route in pattern.routes.values()]
    return "\n".join(lines) + "\n"


def _path_help(path: str, pattern: str, routes: tuple[Route, ...]) -> str:
    lines = [f"Request:        {path}", f"Matching Route: {pattern}", "", "## DESCRIPTION", ""]
    for route in routes:
        lines.append(f"{_verb(route)}: {route.summary} {route.description}".rstrip())
    parameters = _parameters(routes)
    if parameters:
        lines += ["", "## PARAMETERS"]
        for name, parameter in sorted(parameters.items()):
            lines += ["", f"    {name} ({parameter.kind.value})", f"        {parameter.description}"]
    return "\n".join(lines) + "\n"


def _verb(route: Route) -> str:
    return "write" if route.operation is Operation.UPDATE else route.operation.value


def _parameters(routes: tuple[Route, ...]) -> dict[str, Parameter]:
    return {
        name: parameter
        for route in routes
        for name, (parameter, _) in parameters_of(route.request).items()
        if parameter.source is not Source.WHOLE_BODY
    }
