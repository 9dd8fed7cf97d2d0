"""The OpenAPI document is valid, complete and says what the routes say."""

import json
from collections.abc import Hashable
from dataclasses import make_dataclass
from typing import Any

import pytest
from openapi_spec_validator import validate

from engines.common.fields import Kind, body_param
from engines.common.frame import Engine, Operation, Route, RouteTable
from engines.common.openapi import document
from engines.registry import engine_for

KV_V1, KV_V2, CUBBYHOLE = engine_for("kv", {}), engine_for("kv-v2", {}), engine_for("cubbyhole", {})
MOUNTS = [("secret/", KV_V2), ("team/a/", KV_V2), ("kv/", KV_V1), ("odd {x} ü/", KV_V1), ("cubbyhole/", CUBBYHOLE)]


def _made(generic: bool) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document(MOUNTS, "1.18.0", generic=generic)))
    return made


def _require_valid(made: dict[str, Any]) -> None:
    keyed: dict[Hashable, Any] = dict(made.items())
    validate(keyed)


@pytest.mark.parametrize("generic", [False, True])
def test_the_document_is_valid(generic: bool) -> None:
    """A validator nobody here wrote accepts it, whatever the mounts are called."""
    _require_valid(_made(generic))


def test_every_route_of_every_mount_is_there() -> None:
    """Each pattern with each operation is one operation with an id of its own."""
    made = _made(generic=False)
    methods = {"get", "post", "patch", "delete"}
    ids = [item[m]["operationId"] for item in made["paths"].values() for m in methods & item.keys()]
    assert len(ids) == len(set(ids))
    routes = sum(len(pattern.routes) for _, engine in MOUNTS for pattern in engine.table.patterns)
    assert len(ids) == routes
    assert made["openapi"] == "3.0.2"
    assert made["info"]["version"] == "1.18.0"


def test_a_path_says_what_its_routes_say() -> None:
    """Parameters, bodies, content types and flags come from the declarations."""
    made = _made(generic=False)
    data = made["paths"]["/secret/data/{path}"]
    assert data["x-vault-createSupported"] is True
    assert [p["name"] for p in data["parameters"]] == ["path"]
    assert [p["name"] for p in data["get"]["parameters"]] == ["version"]
    assert list(data["patch"]["requestBody"]["content"]) == ["application/merge-patch+json"]
    ref = data["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = made["components"]["schemas"][ref.rpartition("/")[2]]
    assert schema["properties"]["data"]["type"] == "object"
    assert made["paths"]["/secret/metadata/{path}/"]["get"]["parameters"][0]["schema"]["enum"] == ["true"]
    assert "x-vault-createSupported" not in made["paths"]["/secret/config"]
    assert data["get"]["operationId"] == "secret-read-data-path"


def test_generic_paths_have_the_mount_as_a_parameter() -> None:
    """Two mounts of one engine are one path then; what is always mounted at one place stays as it is."""
    made = _made(generic=True)
    assert "/{kv_mount_path}/data/{path}" in made["paths"]
    assert "/cubbyhole/{path}" in made["paths"]
    assert not any(path.startswith(("/secret", "/team")) for path in made["paths"])


def test_sudo_unauthenticated_and_deprecated_are_shown() -> None:
    """The flags that clients and the command line's help rely on."""
    read = next(p for p in KV_V2.table.patterns if p.text == "config").routes[Operation.READ]
    route = Route(
        pattern="raw/:path",
        operation=Operation.READ,
        request=KV_V1.table.patterns[0].routes[Operation.READ].request,
        handler=read.handler,
        summary="s",
        sudo=True,
        unauthenticated=True,
        deprecated=True,
    )
    engine = Engine(type="x", is_auth=True, description="", help="", table=RouteTable((route,)))
    made = document([("auth/x/", engine)], "1", generic=True)
    _require_valid(made)
    item = made["paths"]["/auth/{x_mount_path}/raw/{path}"]
    assert item["x-vault-sudo"] is True
    assert item["x-vault-unauthenticated"] is True
    assert item["get"]["deprecated"] is True
    assert item["get"]["tags"] == ["auth"]
    assert item["parameters"][0]["schema"]["default"] == "x"


@pytest.mark.parametrize("operation", [Operation.READ, Operation.UPDATE])
def test_every_kind_of_field_has_a_schema(operation: Operation) -> None:
    """In a body and in a query, required or with a default."""
    fields = [(kind.name.lower(), object, body_param(kind, "d", required=True, secret=True)) for kind in Kind]
    fields.append(("listed", object, body_param(Kind.STRINGS, "d", default=("a", "b"))))
    config = next(p for p in KV_V2.table.patterns if p.text == "config").routes[Operation.READ]
    route = Route(
        pattern="all",
        operation=operation,
        request=make_dataclass("All", fields, kw_only=True),
        handler=config.handler,
        summary="s",
    )
    engine = Engine(type="x", is_auth=False, description="", help="", table=RouteTable((route,)))
    made = json.loads(json.dumps(document([("x/", engine)], "1", generic=False)))
    _require_valid(made)
    if operation is Operation.UPDATE:
        schema = made["components"]["schemas"]["XWriteAllRequest"]
        assert schema["required"] == sorted(kind.name.lower() for kind in Kind)
        assert schema["properties"]["listed"]["default"] == ["a", "b"]
