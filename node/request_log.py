"""`log_requests_level`: one line for each completed request. Never a token, a body, a header or a query.

Source: configuration documentation, "Log completed requests".
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final

from engines.common.timestamp import rfc3339
from node.errors import BadRequest
from node.logs import LEVELS
from node.paths import canonical_path
from node.request import WireRequest
from node.response import Response
from node.sources import Sources

logger = logging.getLogger(__name__)

OFF: Final = "off"
HIDDEN: Final = "<hidden>"
# The paths that hold a token, those of old releases among them; and a token where none belongs.
_TOKEN: Final = re.compile(r"(^auth/token/(?:lookup|renew|revoke|revoke-orphan)/).+|\bhv[sbr]\.[\w.-]+")


class RequestLog:
    """One listener's requests on their way to `handle`. While nothing is logged, that is one call more, and no test."""

    def __init__(self, handle: Callable[[WireRequest], Awaitable[Response]], sources: Sources, level: str) -> None:
        self._handle = handle
        self._sources = sources
        self._level = 0
        self.take(level)

    def take(self, level: str) -> None:
        """Log the requests from now on at this level, or not at all."""
        self._level = LEVELS.get(level, 0)
        self._answer = self._handle if level == OFF else self._logged_answer

    def __call__(self, wire: WireRequest) -> Awaitable[Response]:
        """What `handle` answers."""
        return self._answer(wire)

    def _logged_answer(self, wire: WireRequest) -> Awaitable[Response]:
        return self.logged(wire, self._handle(wire))

    async def logged(self, wire: WireRequest, answer: Awaitable[Response]) -> Response:
        """The answer to this request, which is logged if requests are."""
        if not self._level or not logger.isEnabledFor(self._level):
            return await answer
        began_ms, began_s = self._sources.now_ms(), self._sources.monotonic_s()
        status = 0
        try:
            response = await answer
            status = response.status
            return response
        finally:
            fields = {
                "client_address": _address(wire),
                "duration": f"{(self._sources.monotonic_s() - began_s) * 1000:.3f}ms",
                "request_method": wire.method,
                "request_path": shown_path(wire.path),
                "start_time": rfc3339(began_ms),
                "status_code": status,
            }
            logger.log(self._level, "completed_request", extra=fields)


def _address(wire: WireRequest) -> str:
    if not wire.client_address:
        return ""  # a unix socket
    shown = f"[{wire.client_address}]" if ":" in wire.client_address else wire.client_address
    return f"{shown}:{wire.client_port}"


def shown_path(path: str) -> str:
    """The path without tokens. One that cannot be read is not shown: nobody can tell what it holds."""
    prefix = "/v1/" if path.startswith("/v1/") else path[:1]
    try:
        return prefix + _TOKEN.sub(rf"\1{HIDDEN}", canonical_path(path[len(prefix) :]))
    except BadRequest:
        return HIDDEN
