"""sys/raw: the records in storage as they are, below the API (API documentation of the same name).

Off unless `raw_storage_endpoint` is set: whoever may use it can read every secret and change every rule. The keys that
protect everything else are out of its reach.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.root_key import OUT_OF_REACH

_BASE64: Final = "base64"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPath:
    """A record, or a folder of them."""

    path: str = path_param("The path in storage.")
    encoding: str = body_param(Kind.STRING, "base64, or empty for text.", default="")
    compressed: bool | None = body_param(Kind.BOOL, "Accepted for compatibility: no record is compressed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRaw:
    """A record and its new content."""

    path: str = path_param("The path in storage.")
    value: str = body_param(Kind.STRING, "The content.", required=True, secret=True)
    encoding: str = body_param(Kind.STRING, "base64, or empty for text.", default="")
    compressed: bool = body_param(Kind.BOOL, "Not available: records are kept as they are.", default=False)
    compression_type: str = body_param(Kind.STRING, "Not available.", default="")


async def _read(request: RawPath, ctx: Context) -> Plan:
    seen = await ctx.view.get(_allowed(request.path, "read"))
    if seen is None:
        raise NotFound
    _require_known(request.encoding)
    if request.encoding == _BASE64:
        return Plan(Answer(data={"value": b64encode(seen.value).decode()}, repeat_data=True))
    try:
        return Plan(Answer(data={"value": seen.value.decode()}, repeat_data=True))
    except UnicodeDecodeError:
        raise InvalidRequest("the record is not text: ask for it with encoding=base64") from None


async def _exists(request: WriteRaw, ctx: Context) -> bool:
    return await ctx.view.get(_allowed(request.path, "write")) is not None


async def _write(request: WriteRaw, ctx: Context) -> Plan:
    _require_known(request.encoding)
    if request.compressed or request.compression_type:
        raise InvalidRequest("records are kept as they are: leave out compressed and compression_type")
    content = request.value.encode("utf-8", "surrogatepass")
    if request.encoding == _BASE64:
        try:
            content = b64decode(request.value, validate=True)
        except ValueError:
            raise InvalidRequest("value is not base64") from None
    return Plan(writes=(Put(_allowed(request.path, "write"), content),))


async def _delete(request: RawPath, ctx: Context) -> Plan:
    return Plan(writes=(Delete(_allowed(request.path, "delete")),))


async def _list(request: RawPath, ctx: Context) -> Plan:
    names = await ctx.view.list(f"{request.path.rstrip('/')}/" if request.path else "")
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


def _allowed(path: str, verb: str) -> str:
    if not path:
        raise InvalidRequest("the path of a record is missing")
    if path in OUT_OF_REACH:
        raise InvalidRequest(f"cannot {verb} '{path}'")
    return path


def _require_known(encoding: str) -> None:
    if encoding not in ("", _BASE64):
        raise InvalidRequest("invalid encoding: base64, or none")


def routes() -> tuple[Route, ...]:
    """The routes of raw storage, for a node that is configured to have them."""
    one = "raw/*path"
    return (
        Route(
            pattern=one,
            operation=Operation.READ,
            request=RawPath,
            handler=_read,
            sudo=True,
            summary="Read a record of storage; only with raw_storage_endpoint.",
        ),
        Route(
            pattern=one,
            operation=Operation.UPDATE,
            request=WriteRaw,
            handler=_write,
            exists=_exists,
            sudo=True,
            summary="Write a record of storage; only with raw_storage_endpoint.",
        ),
        Route(
            pattern=one,
            operation=Operation.DELETE,
            request=RawPath,
            handler=_delete,
            sudo=True,
            summary="Delete a record of storage; only with raw_storage_endpoint.",
        ),
        Route(
            pattern=one,
            operation=Operation.LIST,
            request=RawPath,
            handler=_list,
            sudo=True,
            summary="List a folder of storage; only with raw_storage_endpoint.",
        ),
        Route(
            pattern="raw",
            operation=Operation.LIST,
            request=RawPath,
            handler=_list,
            sudo=True,
            summary="List the top of storage; only with raw_storage_endpoint.",
        ),
    )
