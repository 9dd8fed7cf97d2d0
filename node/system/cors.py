"""sys/config/cors (API documentation of the same name)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.core import Core
from node.cors import CORS_KEY, CorsConfig, cors_config

_ITEMS_MAX: Final = 256  # they are compared one by one, and the headers go into each preflight answer
_ORIGIN: Final = re.compile(r"\*|null|[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/,\x00-\x1f\x7f]{1,255}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # a token of RFC 9110


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCors:
    """Who may use the API from a browser."""

    allowed_origins: tuple[str, ...] = body_param(Kind.STRINGS, "Origins, or * for every one.", required=True)
    allowed_headers: tuple[str, ...] = body_param(Kind.STRINGS, "Headers besides the standard ones.", default=())
    enable: bool | None = body_param(Kind.BOOL, "Accepted for compatibility.")


@dataclass(frozen=True, slots=True)
class _Cors:
    core: Core

    async def read(self, request: Nothing, ctx: Context) -> Plan:
        config = cors_config(self.core.require_unsealed().opened)
        data: dict[str, object] = {"enabled": config is not None}
        if config is not None:
            data |= {"allowed_origins": list(config.origins), "allowed_headers": list(config.all_headers)}
        return Plan(Answer(data=data, repeat_data=True))

    async def write(self, request: WriteCors, ctx: Context) -> Plan:
        origins, headers = request.allowed_origins, request.allowed_headers
        if not origins:
            raise InvalidRequest("at least one origin or the wildcard must be provided")
        if max(len(origins), len(headers)) > _ITEMS_MAX:
            raise InvalidRequest(f"at most {_ITEMS_MAX} origins and headers can be allowed")
        if "*" in origins and len(origins) > 1:
            raise InvalidRequest("to allow all origins the '*' must be the only value for allowed_origins")
        if not all(map(_ORIGIN.fullmatch, origins)):
            raise InvalidRequest("an origin is a scheme and a host, such as https://app.example.com")
        if not all(map(_HEADER.fullmatch, headers)):
            raise InvalidRequest("allowed_headers holds what is no header name")
        return Plan(writes=(Put(CORS_KEY, CorsConfig(origins=origins, headers=headers).to_bytes()),))

    async def delete(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(writes=(Delete(CORS_KEY),))


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of cross-origin requests."""
    own = _Cors(core)
    area = "config/cors"
    return (
        Route(
            pattern=area,
            operation=Operation.READ,
            request=Nothing,
            handler=own.read,
            sudo=True,
            summary="Read who may use the API from a browser.",
        ),
        Route(
            pattern=area,
            operation=Operation.UPDATE,
            request=WriteCors,
            handler=own.write,
            sudo=True,
            summary="Let pages of other origins use the API.",
        ),
        Route(
            pattern=area,
            operation=Operation.DELETE,
            request=Nothing,
            handler=own.delete,
            sudo=True,
            summary="Let no pages of other origins use the API.",
        ),
    )
