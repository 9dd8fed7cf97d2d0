"""What a node in recovery mode answers: sys/generate-recovery-token, sys/raw, seal-status and health. Nothing else.

Source: API documentation, "/sys/generate-recovery-token" and "/sys/raw".
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engines.common.errors import InvalidRequest, NotFound, Unsupported, UnsupportedPath
from engines.common.fields import Decoder, Kind, body_param
from engines.common.plan import Answer, Delete, Put
from node.ceremonies.generating import OTP_CHARS
from node.core import guarded
from node.errors import BadRequest
from node.limits import CEREMONY_BODY_BYTES_MAX
from node.local_api import seal_status
from node.paths import canonical_path
from node.pgp import read_key
from node.recovery_mode import RecoveryNode
from node.request import WireRequest, parse
from node.response import NO_CONTENT, Response, bare, envelope, of_envelope
from node.root_key import OUT_OF_REACH
from node.sources import new_uuid
from node.system.generate_root import Shown
from node.system.rekey import End, Share
from node.view import OpenedStore

ATTEMPT: Final = "sys/generate-recovery-token/attempt"
UPDATE: Final = "sys/generate-recovery-token/update"
RAW: Final = "sys/raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """How the recovery token is to be handed out."""

    pgp_key: str = body_param(Kind.STRING, "A public PGP key to encrypt the token to, base64.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An entry of the storage."""

    value: str | None = body_param(Kind.STRING, "The value.", secret=True)
    encoding: str = body_param(Kind.STRING, "base64, or nothing for text.", default="")
    list: str = body_param(Kind.STRING, "true lists.", default="")


_BEGIN: Final = Decoder.of(Begin)
_END: Final = Decoder.of(End)
_SHARE: Final = Decoder.of(Share)
_RAW: Final = Decoder.of(Raw)


async def dispatch(node: RecoveryNode, wire: WireRequest) -> Response:
    """Answer a request that arrived at a listener. Never raises for what it holds."""
    request_id = new_uuid(node.core.sources)
    return await guarded(_answer(node, wire, request_id), request_id)


async def _answer(node: RecoveryNode, wire: WireRequest, request_id: str) -> Response:
    if not wire.path.startswith("/v1/"):
        raise UnsupportedPath
    path = canonical_path(wire.path[4:])
    is_raw = path == RAW or path.startswith(f"{RAW}/")
    if not is_raw and len(wire.body) > CEREMONY_BODY_BYTES_MAX:
        raise BadRequest("request body is too large for this path")
    method = "POST" if wire.method == "PUT" else wire.method
    if method == "GET" and path == "sys/seal-status":
        return bare({**seal_status(node.core), "sealed": node.opened is None})
    if method in ("GET", "HEAD") and path == "sys/health":
        return bare({"initialized": node.core.is_initialized, "sealed": node.opened is None, "standby": True}, 503)
    request = parse(wire, request_id)
    if is_raw:
        opened = node.require_token(request.token)
        return await _raw(opened, method, path[len(RAW) + 1 :], request.body, request_id)
    if path in (ATTEMPT, UPDATE):
        async with node.lock:
            return await _ceremony(node, method, path, request.body)
    raise UnsupportedPath


async def _ceremony(node: RecoveryNode, method: str, path: str, body: Mapping[str, Any]) -> Response:
    required = node.keys.config.threshold
    if path == UPDATE:
        if method != "POST":
            raise Unsupported
        share: Share = _SHARE.decode({}, body)
        generation, encoded = await node.give(share.key, share.nonce)
        return bare(Shown(generation, required, encoded_token=encoded).answer())
    if method == "GET":
        return bare(Shown(node.generation, required).answer())
    if method == "DELETE":
        end: End = _END.decode({}, body)
        node.cancel(end.nonce)
        return NO_CONTENT
    if method != "POST":
        raise Unsupported
    wanted: Begin = _BEGIN.decode({}, body)
    key = read_key(wanted.pgp_key, node.core.sources.now_ms() / 1000) if wanted.pgp_key else None
    generation = node.begin(key, OTP_CHARS)
    return bare(Shown(generation, required, otp=generation.otp).answer())


async def _raw(opened: OpenedStore, method: str, key: str, body: Mapping[str, Any], request_id: str) -> Response:
    request: Raw = _RAW.decode({}, body)
    if method == "LIST" or (method == "GET" and request.list in ("true", "1")):
        names = opened.list(f"{key}/" if key else "")
        if not names:
            raise NotFound
        return of_envelope(envelope(request_id, Answer(data={"keys": names})))
    if not key:
        raise UnsupportedPath
    if key in OUT_OF_REACH:
        raise InvalidRequest(f"cannot access {key!r}: it is among what all else is protected by")
    if method == "GET":
        seen = opened.get(key)
        if seen is None:
            raise NotFound
        return of_envelope(envelope(request_id, Answer(data={"value": _text(seen.value, request.encoding)})))
    if method == "POST":
        await opened.commit("", [Put(key, _bytes(request))])
        return NO_CONTENT
    if method == "DELETE":
        await opened.commit("", [Delete(key)])
        return NO_CONTENT
    raise Unsupported


def _text(value: bytes, encoding: str) -> str:
    if encoding == "base64":
        return b64encode(value).decode()
    if encoding:
        raise InvalidRequest('unsupported encoding: only "base64" is')
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the value is not text; read it with encoding=base64") from None


def _bytes(request: Raw) -> bytes:
    if request.value is None:
        raise InvalidRequest("'value' must be supplied")
    if not request.encoding:
        return request.value.encode("utf-8", "surrogatepass")
    if request.encoding != "base64":
        raise InvalidRequest('unsupported encoding: only "base64" is')
    try:
        return b64decode(request.value, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidRequest("the value is not base64") from None
