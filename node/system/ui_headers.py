"""sys/config/ui/headers: headers that the web page adds to its answers (API documentation of the same name)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgpack

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.core import Core

PREFIX: Final = "sys/config/ui/headers/"
HEADERS_MAX: Final = 128  # they go into every answer of the page
VALUES_BYTES_MAX: Final = 16_384  # of one header; a browser takes no more
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # a token of RFC 9110
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderName:
    """One header."""

    header: str = path_param("The header's name.")
    multivalue: bool = body_param(Kind.BOOL, "Answer with all values.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteHeader:
    """A header and its values."""

    header: str = path_param("The header's name.")
    values: tuple[str, ...] = body_param(Kind.STRINGS, "The values.", required=True)
    multivalue: bool | None = body_param(Kind.BOOL, "Accepted for compatibility.")


def canonical_name(name: str) -> str:
    """The one spelling of a header's name: X-Custom-Header."""
    return "-".join(part.capitalize() for part in name.split("-"))


@dataclass(frozen=True, slots=True)
class _Headers:
    core: Core

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        names = await ctx.view.list(PREFIX)
        if not names:
            raise NotFound
        return Plan(Answer(data={"keys": names}))

    async def read(self, request: HeaderName, ctx: Context) -> Plan:
        seen = await ctx.view.get(PREFIX + canonical_name(request.header))
        if seen is None:
            raise NotFound
        values = list(_decoded(seen.value))
        return Plan(Answer(data={"values": values} if request.multivalue else {"value": values[0]}, repeat_data=True))

    async def write(self, request: WriteHeader, ctx: Context) -> Plan:
        name = canonical_name(request.header)
        if not _NAME.fullmatch(name):
            raise InvalidRequest("the name of the header is none")
        if name.startswith("X-Vault-"):
            raise InvalidRequest("X-Vault headers cannot be set")
        if not request.values:
            raise InvalidRequest("header values must be provided")
        text = "".join(request.values)
        if len(text) > VALUES_BYTES_MAX or not text.isprintable() or not text.isascii():
            raise InvalidRequest(f"header values are at most {VALUES_BYTES_MAX} printable ASCII characters")
        if any(rule.sets(name) for listener in self.core.config.listeners for rule in listener.custom_response_headers):
            raise InvalidRequest("this header already exists in the server configuration and cannot be set in the UI")
        names = await ctx.view.list(PREFIX)
        if name not in names and len(names) >= HEADERS_MAX:
            raise InvalidRequest(f"at most {HEADERS_MAX} headers can be set")
        return Plan(writes=(Put(PREFIX + name, _FORMAT + bytes(msgpack.packb(request.values))),))

    async def delete(self, request: HeaderName, ctx: Context) -> Plan:
        return Plan(writes=(Delete(PREFIX + canonical_name(request.header)),))


def _decoded(record: bytes) -> tuple[str, ...]:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
    values: tuple[str, ...] = msgpack.unpackb(record[1:], use_list=False)
    return values


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of the web page's headers."""
    own = _Headers(core)
    one = "config/ui/headers/:header"
    return (
        Route(
            pattern="config/ui/headers",
            operation=Operation.LIST,
            request=Nothing,
            handler=own.list,
            sudo=True,
            summary="List the headers of the web page.",
        ),
        Route(
            pattern=one,
            operation=Operation.READ,
            request=HeaderName,
            handler=own.read,
            sudo=True,
            summary="Read a header of the web page.",
        ),
        Route(
            pattern=one,
            operation=Operation.UPDATE,
            request=WriteHeader,
            handler=own.write,
            sudo=True,
            summary="Set a header of the web page.",
        ),
        Route(
            pattern=one,
            operation=Operation.DELETE,
            request=HeaderName,
            handler=own.delete,
            sudo=True,
            summary="Remove a header of the web page.",
        ),
    )
