"""From a plan's answer to bytes: the envelope of the API documentation, encoded once."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from engines.common.json_values import encode_json
from engines.common.plan import Answer
from node.status import status_of

JSON: Final = "application/json"
ERROR_CHARS_MAX: Final = 4096  # some errors name what was asked for, and that may be as long as a body


# Not frozen: one is made per request, and freezing costs as much as filling it does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Response:
    """What goes back on the wire. `headers` are added to those of every answer. `stream` is instead of body."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """The lease that the pipeline registered for an answer."""

    lease_id: str
    ttl_s: int
    renewable: bool


NO_CONTENT: Final = Response(204)


def envelope(
    request_id: str,
    answer: Answer,
    *,
    mount_type: str = "",
    leased: Leased | None = None,
    auth: Mapping[str, object] | None = None,
    wrap_info: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The documented members in the documented order; what is unset is null, "", false or 0, never left out."""
    data = answer.data
    members: dict[str, object] = {
        "request_id": request_id,
        "lease_id": leased.lease_id if leased else "",
        "renewable": leased.renewable if leased else False,
        "lease_duration": leased.ttl_s if leased else answer.advisory_ttl_s,
        "data": data,
        "wrap_info": wrap_info,
        "warnings": list(answer.warnings) or None,
        "auth": auth,
        "mount_type": mount_type,
    }
    if answer.repeat_data and data is not None:
        members.update({name: value for name, value in data.items() if name not in members})
    return members


def of_envelope(members: Mapping[str, object], status: int = 200) -> Response:
    """The response whose body is this envelope."""
    return Response(status, encode_json(members) + b"\n")


def bare(members: Mapping[str, object], status: int = 200) -> Response:
    """A body without the envelope (API documentation: seal-status, init, health, ...)."""
    return Response(status, encode_json(members) + b"\n")


def refusal(status: int, *messages: str) -> Response:
    """The documented error body."""
    return Response(status, orjson.dumps({"errors": [m[:ERROR_CHARS_MAX] for m in messages if m]}) + b"\n")


def of_error(error: Exception) -> Response:
    """The response of a known error."""
    return refusal(status_of(error), str(error))
