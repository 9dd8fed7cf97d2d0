"""A request on its way from a standby to the leader, and the answer on its way back (design.md, section 2)."""

from typing import Final

import msgpack

from node.advert import Echo
from node.errors import BadRequest
from node.request import WireRequest
from node.response import Response

FORWARD: Final = "forward"
ECHO: Final = "echo"
RESTORE: Final = "restore"
_OTHER_SHAPE: Final = "the other node sent a request of another shape; are both of one version?"


def encode_request(wire: WireRequest) -> bytes:
    """The payload of one forwarded request."""
    sender = (wire.client_address, wire.client_port)
    row = [FORWARD, wire.method, wire.path, wire.query, dict(wire.headers), wire.body, *sender]
    if wire.client_certificate:
        row.append(wire.client_certificate)
    return bytes(msgpack.packb(row))


def decode_payload(payload: bytes) -> tuple[str, list[object]]:
    """The kind of a payload and the rest of it. Raises BadRequest."""
    try:
        kind, *rest = msgpack.unpackb(payload)
    except Exception:
        raise BadRequest("the other node sent something that is not a request") from None
    return str(kind), rest


def decode_request(rest: list[object]) -> WireRequest:
    """The request in a forwarded payload. Raises BadRequest."""
    match rest:
        case [str(method), str(path), str(query), dict(headers), bytes(body), str(client_address), int(port), *more]:
            certificate = more[0] if more else b""
            if not isinstance(certificate, bytes) or len(more) > 1:
                raise BadRequest(_OTHER_SHAPE)
            return WireRequest(
                method=method,
                path=path,
                query=query,
                headers=headers,
                body=body,
                client_address=client_address,
                client_port=port,
                client_certificate=certificate,
            )
    raise BadRequest(_OTHER_SHAPE)


def encode_response(response: Response) -> bytes:
    """The payload of the answer."""
    row = [response.status, response.body, response.content_type, dict(response.headers)]
    return bytes(msgpack.packb(row))


def decode_response(payload: bytes) -> Response:
    """The answer in a payload. Raises ValueError."""
    status, body, content_type, headers = msgpack.unpackb(payload)
    return Response(status, body, content_type, headers)


def encode_restore(question: bytes) -> bytes:
    """The payload of a question about a restore, as cluster/restore_transfer.py has made it."""
    return bytes(msgpack.packb([RESTORE, question]))


def decode_restore(rest: list[object]) -> list[object]:
    """The question in such a payload. Raises BadRequest."""
    match rest:
        case [bytes(packed)]:
            question = decode_payload(packed)
            return [question[0], *question[1]]
    raise BadRequest("the other node sent a question of another shape; are both of one version?")


def encode_echo(echo: Echo) -> bytes:
    """The payload in which a standby tells the active node about itself."""
    return bytes(msgpack.packb([ECHO, echo.hostname, echo.api_address, echo.cluster_address, echo.version]))
