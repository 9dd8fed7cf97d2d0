"""sys/audit, sys/audit-hash and sys/config/auditing (API documentation of the same names)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.crypto import KEY_BYTES
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, Put
from node.audit.broker import Broker
from node.audit.model import AUDIT_KEY, HEADERS_KEY, AuditEntry, decode_headers, encode_headers, encode_table
from node.core import Core
from node.sources import new_uuid

DEVICES_MAX: Final = 64  # every request is recorded on each of them
HEADERS_MAX: Final = 256
HEADERS_FOLDER: Final = "config/auditing/request-headers/"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,128}")  # a token of RFC 9110, in lower case


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePath:
    """A device by its path."""

    path: str = path_param("Where the device is enabled.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableDevice:
    """Enable a device."""

    path: str = path_param("Where to enable the device.")
    type: str = body_param(Kind.STRING, "file, syslog or socket.", default="")
    description: str = body_param(Kind.STRING, "A description for people.", default="")
    options: Mapping[str, str] | None = body_param(Kind.STRING_MAP, "Options of the device, such as file_path.")
    local: bool = body_param(Kind.BOOL, "Not replicated to other clusters.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashInput:
    """A value to look for in a device's records."""

    path: str = path_param("Where the device is enabled.")
    input: str = body_param(Kind.STRING, "The value.", default="", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderName:
    """A request header."""

    name: str = path_param("The header's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHeader:
    """Show a request header in the records."""

    name: str = path_param("The header's name.")
    hmac: bool = body_param(Kind.BOOL, "Hash its values.", default=False)


@dataclass(frozen=True, slots=True)
class _Audit:
    core: Core

    def broker(self) -> Broker:
        return self.core.require_unsealed().audit

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        rows = {entry.path: entry.described() for entry in sorted(self.broker().table(), key=lambda one: one.path)}
        return Plan(Answer(data=rows, repeat_data=True))

    async def enable(self, request: EnableDevice, ctx: Context) -> Plan:
        broker = self.broker()
        seen = await ctx.view.get(AUDIT_KEY)
        table = broker.table()
        entry = AuditEntry(
            path=_path(request.path),
            type=request.type,
            uuid=new_uuid(self.core.sources),
            description=request.description,
            local=request.local,
            options=dict(request.options or {}),
            salt=ctx.sources.random(KEY_BYTES),
        )
        broker.require_usable(entry)
        for other in table:
            if other.path.startswith(entry.path) or entry.path.startswith(other.path):
                raise InvalidRequest(f"path already in use: {other.path}")
        if len(table) >= DEVICES_MAX:
            raise InvalidRequest(f"there are {DEVICES_MAX} audit devices already")
        await broker.probe(entry)
        return Plan(writes=(Put(AUDIT_KEY, encode_table((*table, entry)), seen.index if seen is not None else 0),))

    async def disable(self, request: DevicePath, ctx: Context) -> Plan:
        seen = await ctx.view.get(AUDIT_KEY)
        table = self.broker().table()
        kept = tuple(entry for entry in table if entry.path != _path(request.path))
        if seen is None or len(kept) == len(table):
            return Plan()
        return Plan(writes=(Put(AUDIT_KEY, encode_table(kept), seen.index),))

    async def hash(self, request: HashInput, ctx: Context) -> Plan:
        if not request.input:
            raise InvalidRequest('the "input" parameter is empty')
        device = self.broker().find(_path(request.path))
        if device is None:
            raise InvalidRequest(f"unknown audit backend: {_path(request.path)}")
        return Plan(Answer(data={"hash": device.redactor.hashed(request.input)}, repeat_data=True))

    async def headers(self, request: Nothing, ctx: Context) -> Plan:
        shown = {name: {"hmac": is_hashed} for name, is_hashed in sorted((await _headers(ctx))[0].items())}
        return Plan(Answer(data={"headers": shown}, repeat_data=True))

    async def read_header(self, request: HeaderName, ctx: Context) -> Plan:
        name = _header(request.name)
        headers, _ = await _headers(ctx)
        if name not in headers:
            raise InvalidRequest("could not find header in config")
        return Plan(Answer(data={name: {"hmac": headers[name]}}, repeat_data=True))

    async def write_header(self, request: AuditHeader, ctx: Context) -> Plan:
        headers, index = await _headers(ctx)
        headers[_header(request.name)] = request.hmac
        if len(headers) > HEADERS_MAX:
            raise InvalidRequest(f"at most {HEADERS_MAX} headers can be audited")
        return Plan(writes=(Put(HEADERS_KEY, encode_headers(headers), index),))

    async def delete_header(self, request: HeaderName, ctx: Context) -> Plan:
        headers, index = await _headers(ctx)
        if headers.pop(_header(request.name), None) is None:
            return Plan()
        return Plan(writes=(Put(HEADERS_KEY, encode_headers(headers), index),))


async def _headers(ctx: Context) -> tuple[dict[str, bool], int]:
    seen = await ctx.view.get(HEADERS_KEY)
    return ({}, 0) if seen is None else (decode_headers(seen.value), seen.index)


def _header(name: str) -> str:
    lowered = name.lower()
    if not _HEADER_NAME.fullmatch(lowered):
        raise InvalidRequest("that is not the name of a header")
    return lowered


def _path(given: str) -> str:
    return f"{given.strip('/')}/"


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of audit devices, of their hash, and of the audited request headers."""
    own = _Audit(core)
    header = "config/auditing/request-headers/:name"
    return (
        Route(
            pattern="audit",
            operation=Operation.READ,
            request=Nothing,
            handler=own.list,
            summary="List the enabled audit devices.",
            sudo=True,
        ),
        Route(
            pattern="audit/*path",
            operation=Operation.UPDATE,
            request=EnableDevice,
            handler=own.enable,
            summary="Enable an audit device.",
            sudo=True,
        ),
        Route(
            pattern="audit/*path",
            operation=Operation.DELETE,
            request=DevicePath,
            handler=own.disable,
            summary="Disable an audit device; its salt is lost.",
            sudo=True,
        ),
        Route(
            pattern="audit-hash/*path",
            operation=Operation.UPDATE,
            request=HashInput,
            handler=own.hash,
            summary="The hash under which a value appears in a device's records.",
        ),
        Route(
            pattern="config/auditing/request-headers",
            operation=Operation.READ,
            request=Nothing,
            handler=own.headers,
            summary="List the request headers that records show.",
            sudo=True,
        ),
        Route(
            pattern=header,
            operation=Operation.READ,
            request=HeaderName,
            handler=own.read_header,
            summary="Read how a request header is recorded.",
            sudo=True,
        ),
        Route(
            pattern=header,
            operation=Operation.UPDATE,
            request=AuditHeader,
            handler=own.write_header,
            summary="Show a request header in the records.",
            sudo=True,
        ),
        Route(
            pattern=header,
            operation=Operation.DELETE,
            request=HeaderName,
            handler=own.delete_header,
            summary="Stop showing a request header in the records.",
            sudo=True,
        ),
    )
