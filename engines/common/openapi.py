"""The API as an OpenAPI 3.0.2 document, made from the routes of the mounted engines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from engines.common.fields import Kind, Parameter, Source, parameters_of
from engines.common.frame import Engine, Operation, Route

_VERBS: Final[Mapping[Operation, tuple[str, str]]] = {
    Operation.READ: ("get", "read"),
    Operation.LIST: ("get", "list"),
    Operation.UPDATE: ("post", "write"),
    Operation.PATCH: ("patch", "patch"),
    Operation.DELETE: ("delete", "delete"),
}
_BODY_TYPES: Final[Mapping[Operation, str]] = {
    Operation.UPDATE: "application/json",
    Operation.PATCH: "application/merge-patch+json",
}
_SCHEMAS: Final[Mapping[Kind, Mapping[str, object]]] = {
    Kind.STRING: {"type": "string"},
    Kind.INT: {"type": "integer"},
    Kind.BOOL: {"type": "boolean"},
    Kind.DURATION: {"type": "integer", "format": "seconds"},
    Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
    Kind.STRING_MAP: {"type": "object", "format": "kvpairs"},
    Kind.MAP: {"type": "object", "format": "map"},
    Kind.ANY: {},
}
# Mounts that are always there, at one path, so that their path is never a parameter.
_FIXED_MOUNTS: Final = frozenset({"sys", "cubbyhole", "identity", "auth/token"})
_LIST_PARAMETER: Final = {
    "name": "list",
    "in": "query",
    "required": True,
    "description": "Must be set to true.",
    "schema": {"type": "string", "enum": ["true"]},
}


def document(mounts: Iterable[tuple[str, Engine]], version: str, generic: bool) -> dict[str, Any]:
    """The document of these mounts. `generic` makes each mount's path a parameter, for code generators.

    Args:
        mounts: Path (an auth method's starts with "auth/") and engine of each.
        version: The server's version.
        generic: As `generic_mount_paths` of sys/internal/specs/openapi.
    """
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    operation_ids: set[str] = set()
    for mount_path, engine in mounts:
        mount = _Mount(mount_path.strip("/"), engine, generic)
        for path, route in mount.routes():
            method = _VERBS[route.operation][0]
            if method in paths.get(path, {}):
                continue  # a second mount of the same engine, whose path is the same parameter
            operation_id = _unique(
                f"{mount.prefix}-{_VERBS[route.operation][1]}-{_words(route.pattern)}", operation_ids
            )
            item = paths.setdefault(path, {"parameters": mount.path_parameters(route)})
            _describe_item(item, route)
            item[method] = _operation(route, operation_id, mount.tag, schemas)
    return {
        "openapi": "3.0.2",
        "info": {
            "title": "Strongroom API",
            "description": "Every path is below /v1/.",
            "version": version,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


class _Mount:
    """How one mount shows in paths, operation ids and tags."""

    def __init__(self, path: str, engine: Engine, generic: bool) -> None:
        self.path = path
        self.engine = engine
        self.parameter = ""
        self.prefix = _words(path)
        self.tag = "auth" if engine.is_auth else "system" if path == "sys" else "secrets"
        # A brace in a mount's path would read as a parameter.
        self.shown = path.replace("{", "%7B").replace("}", "%7D")
        if generic and path not in _FIXED_MOUNTS:
            self.parameter = f"{_words(engine.type).replace('-', '_')}_mount_path"
            self.prefix = _words(engine.type)
            self.shown = f"auth/{{{self.parameter}}}" if engine.is_auth else f"{{{self.parameter}}}"

    def routes(self) -> Iterator[tuple[str, Route]]:
        """Each route with its path. A LIST is a path of its own, ending in "/", so that it can stand beside a read."""
        for pattern in self.engine.table.patterns:
            segments = [f"{{{s[1:]}}}" if s[:1] in (":", "*") else s for s in pattern.text.split("/")]
            path = "/".join(("", self.shown, *segments)) if pattern.text else f"/{self.shown}"
            for route in pattern.routes.values():
                yield (f"{path}/" if route.operation is Operation.LIST else path), route

    def path_parameters(self, route: Route) -> list[dict[str, Any]]:
        """The mount's own parameter, if its path is one, and those of the pattern."""
        parameters = []
        if self.parameter:
            default = self.path.removeprefix("auth/") if self.engine.is_auth else self.path
            parameters.append(
                {
                    "name": self.parameter,
                    "in": "path",
                    "required": True,
                    "description": "Path where the engine is mounted.",
                    "schema": {"type": "string", "default": default},
                }
            )
        declared = parameters_of(route.request)
        for segment in route.pattern.split("/"):
            if segment[:1] in (":", "*"):
                name = segment[1:]
                parameters.append(
                    {
                        "name": name,
                        "in": "path",
                        "required": True,
                        "description": declared[name][0].description,
                        "schema": {"type": "string"},
                    }
                )
        return parameters


def _describe_item(item: dict[str, Any], route: Route) -> None:
    item.setdefault("description", route.summary)
    if route.sudo:
        item["x-vault-sudo"] = True
    if route.unauthenticated:
        item["x-vault-unauthenticated"] = True
    if route.exists is not None:
        item["x-vault-createSupported"] = True


def _operation(route: Route, operation_id: str, tag: str, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": operation_id,
        "tags": list(route.tags) or [tag],
        "responses": {"204": {"description": "empty body"}}
        if route.operation is Operation.DELETE
        else {"200": {"description": "OK"}},
    }
    if route.description:
        operation["description"] = route.description
    if route.deprecated:
        operation["deprecated"] = True
    declared = parameters_of(route.request)
    if route.operation in _BODY_TYPES:
        schema = _body_schema(declared)
        if schema is not None:
            name = "".join(word.capitalize() for word in operation_id.split("-")) + "Request"
            schemas[name] = schema
            content = {"schema": {"$ref": f"#/components/schemas/{name}"}}
            operation["requestBody"] = {"required": True, "content": {_BODY_TYPES[route.operation]: content}}
        return operation
    parameters = [_LIST_PARAMETER] if route.operation is Operation.LIST else []
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.description,
            "schema": _schema(parameter, default),
        }
        for name, (parameter, default) in declared.items()
        if parameter.source is Source.BODY
    ]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _body_schema(declared: Mapping[str, tuple[Parameter, object]]) -> dict[str, Any] | None:
    """The schema of a request's body; None where nothing of the request is in a body."""
    sources = {parameter.source for parameter, _ in declared.values()}
    if sources <= {Source.PATH}:
        return None
    members = {name: row for name, row in declared.items() if row[0].source is Source.BODY}
    schema: dict[str, Any] = {"type": "object"}
    if members:
        schema["properties"] = {
            name: _schema(parameter, default) | {"description": parameter.description}
            for name, (parameter, default) in members.items()
        }
    required = sorted(name for name, (parameter, _) in members.items() if parameter.required)
    if required:
        schema["required"] = required
    if Source.WHOLE_BODY in sources:
        schema["additionalProperties"] = True
    return schema


def _schema(parameter: Parameter, default: object) -> dict[str, Any]:
    schema: dict[str, Any] = dict(_SCHEMAS[parameter.kind])
    if default is not None:
        schema["default"] = list(default) if isinstance(default, tuple) else default
    if parameter.secret:
        schema["x-vault-displayAttrs"] = {"sensitive": True}
    return schema


def _words(text: str) -> str:
    """Letters and digits of a path or pattern, joined by hyphens: "data/*path" is "data-path"."""
    return "-".join(re.findall(r"[A-Za-z0-9]+", text))


def _unique(name: str, taken: set[str]) -> str:
    """The name, or the name with a number, so that no two operations share one."""
    name = name.strip("-")
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate
