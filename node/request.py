"""From the wire to a typed request: the first thing that looks at what a client sent, and the strictest."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from engines.common.duration import parse_duration_s
from engines.common.errors import UnsupportedPath
from engines.common.frame import Operation
from engines.common.json_values import has_long_number
from node.errors import BadRequest, MethodNotAllowed
from node.paths import canonical_path
from node.upload import STREAMED_PATHS, Upload, one_chunk

JSON_DEPTH_MAX: Final = 240  # deeper than any secret; orjson encodes up to 254
JSON_MEMBERS_MAX: Final = 100_000  # members and elements of one body; bounds the objects made from it (CVE-2025-6203)
QUERY_CHARS_MAX: Final = 16_384

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


# Not frozen: one is made per request, and freezing costs as much as filling it does (docs/performance.md).
@dataclass(slots=True, kw_only=True)
class WireRequest:
    """A request as it arrived; also what a standby forwards. `path` is still percent-encoded and starts with "/"."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    client_address: str
    client_port: int = 0
    client_certificate: bytes = field(default=b"", repr=False)  # DER
    upload: Upload | None = field(default=None, repr=False)

    def parsed_query(self) -> Mapping[str, str]:
        """The query's members. Raises BadRequest."""
        return _query(self.query) if self.query else _EMPTY


@dataclass(slots=True, kw_only=True)
class Request:
    """A request that is well formed. Nothing about its sender is known yet."""

    id: str
    operation: Operation
    path: str
    body: Mapping[str, Any] = field(repr=False)
    token: str = field(repr=False)
    wrap_ttl_s: int
    help: bool
    client_address: str
    headers: Mapping[str, str] = field(repr=False)
    upload: Upload | None = field(repr=False)
    client_port: int = 0
    client_certificate: bytes = field(default=b"", repr=False)  # DER


_OPERATIONS: Final[Mapping[str, Operation]] = {
    "GET": Operation.READ,
    "LIST": Operation.LIST,
    "POST": Operation.UPDATE,
    "PUT": Operation.UPDATE,
    "PATCH": Operation.PATCH,
    "DELETE": Operation.DELETE,
}
_EMPTY: Final[Mapping[str, Any]] = {}


def parse(wire: WireRequest, request_id: str) -> Request:
    """The typed request.

    Raises:
        BadRequest: Path, query, header or JSON is malformed or over a bound.
        UnsupportedPath: The path is outside the API.
        MethodNotAllowed: The method has no operation.
    """
    operation = _OPERATIONS.get(wire.method)
    if operation is None:
        raise MethodNotAllowed
    if not wire.path.startswith("/v1/"):
        raise UnsupportedPath
    path = canonical_path(wire.path[4:])
    headers = wire.headers
    query = wire.parsed_query()
    help_wanted = False
    if operation is Operation.READ:
        body = query
        if query:
            help_wanted = query.get("help") in ("1", "true")
            if query.get("list") in ("1", "true", "True", "TRUE", "t"):
                operation = Operation.LIST
    elif operation is Operation.LIST or (operation is Operation.DELETE and not wire.body):
        body = query
    elif path in STREAMED_PATHS:
        body = _EMPTY
    else:
        body = json_object(wire.body)
        if operation is Operation.PATCH:
            _require_merge_patch(headers)
    if (
        operation is Operation.UPDATE
        and wire.path.endswith("/")
        and not path.startswith(("sys/", "auth/", "identity/"))
    ):
        raise BadRequest("cannot write to a path ending in '/'")
    wrap = headers.get("x-vault-wrap-ttl", "")
    return Request(
        id=request_id,
        operation=operation,
        path=path,
        body=body,
        token=_token(headers),
        wrap_ttl_s=_wrap_ttl_s(wrap) if wrap else 0,
        help=help_wanted,
        client_address=wire.client_address,
        headers=headers,
        upload=wire.upload or (Upload(one_chunk(wire.body)) if path in STREAMED_PATHS else None),
        client_port=wire.client_port,
        client_certificate=wire.client_certificate,
    )


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; an empty body is an empty object. Raises BadRequest, which never repeats the body."""
    if not body or body.isspace():
        return _EMPTY
    _bound(body)
    try:
        # orjson turns integers of more than 64 bits into floats, which would change a secret.
        value = _exact(body) if has_long_number(body) else orjson.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("error parsing JSON") from None
    if value is None:
        return _EMPTY
    if not isinstance(value, dict):
        raise BadRequest("error parsing JSON: expected an object")
    return value


def _exact(body: bytes) -> Any:
    """As orjson takes it, with integers of any size. Raises ValueError: the standard decoder takes what is no JSON."""
    value = json.loads(body.decode(), parse_constant=_no_number, parse_float=_float)
    if b"\\u" in body:
        json.dumps(value, ensure_ascii=False).encode()  # a half of a surrogate pair is no character
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _bound(body: bytes) -> None:
    """Refuse JSON that is deeper or wider than any honest request, before it becomes objects (CVE-2025-6203)."""
    if body.count(b"{") + body.count(b"[") <= JSON_DEPTH_MAX and body.count(b",") <= JSON_MEMBERS_MAX:
        return
    structure = _STRING.sub(b"", body)
    if structure.count(b",") > JSON_MEMBERS_MAX:
        raise BadRequest(f"JSON holds more than {JSON_MEMBERS_MAX} members")
    depth = 0
    for bracket in _BRACKETS.findall(structure):
        depth += 1 if bracket in b"[{" else -1
        if depth > JSON_DEPTH_MAX:
            raise BadRequest(f"JSON is nested deeper than {JSON_DEPTH_MAX}")


def _query(text: str) -> Mapping[str, str]:
    if len(text) > QUERY_CHARS_MAX:
        raise BadRequest("query is too long")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=256))
    except (ValueError, UnicodeDecodeError):
        raise BadRequest("query is malformed") from None


def _token(headers: Mapping[str, str]) -> str:
    token = headers.get("x-vault-token", "")
    if not token:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = value.strip()
    return token


def _wrap_ttl_s(text: str) -> int:
    try:
        ttl_s = parse_duration_s(text)
    except ValueError:
        raise BadRequest("X-Vault-Wrap-TTL is not a duration") from None
    if ttl_s < 0:
        raise BadRequest("X-Vault-Wrap-TTL is negative")
    return ttl_s


def _require_merge_patch(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/merge-patch+json":
        raise BadRequest("PATCH requires the Content-Type application/merge-patch+json")
