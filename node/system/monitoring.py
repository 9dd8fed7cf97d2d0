"""sys/metrics, sys/host-info, sys/in-flight-req and sys/monitor: what a node says of itself.

Each node answers for itself: a standby sends the client to the active node instead of forwarding (NOT_FORWARDED in
node/core.py), unless its listener serves the metrics to anybody.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final
from uuid import UUID

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, RawAnswer, StreamAnswer
from node.config.listeners import Listener
from node.core import Core
from node.logs import LEVELS, LOGGING
from node.request import WireRequest
from node.request_log import shown_path
from node.response import Response, bare
from node.system.cluster import rfc3339
from node.system.host_info import host_info
from node.telemetry.exposition import CONTENT_TYPE

_METRICS: Final = "/v1/sys/metrics"
_IN_FLIGHT: Final = "/v1/sys/in-flight-req"
_ID_KEY: Final = os.urandom(16)
_ACCEPTED: Final = ("prometheus/telemetry", "application/openmetrics-text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How to show the metrics."""

    format: str = body_param(Kind.STRING, "prometheus, or nothing for JSON.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """Which log lines to show, and how."""

    log_level: str = body_param(Kind.STRING, "trace, debug, info, warn or error.", default="info")
    log_format: str = body_param(Kind.STRING, "standard or json.", default="standard")


@dataclass(frozen=True, slots=True)
class _Monitoring:
    core: Core

    async def metrics(self, request: Metrics, ctx: Context) -> Plan:
        if request.format != "prometheus":
            return Plan(Answer(bare=self.core.telemetry.summary()))
        _require_prometheus(self.core)
        return Plan(Answer(raw=RawAnswer(body=self.core.telemetry.prometheus(), content_type=CONTENT_TYPE)))

    async def host_info(self, request: Nothing, ctx: Context) -> Plan:
        found = await asyncio.to_thread(host_info, rfc3339(ctx.sources.now_ms()))
        return Plan(Answer(data=found))

    async def in_flight(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(bare=_in_flight(self.core)))

    async def monitor(self, request: Monitor, ctx: Context) -> Plan:
        if request.log_level not in LEVELS:
            raise InvalidRequest("unknown log level")
        if request.log_format not in ("standard", "json"):
            raise InvalidRequest("unknown log format")
        chunks = LOGGING.watch(request.log_level, request.log_format)
        return Plan(Answer(stream=StreamAnswer(chunks=chunks, content_type="text/plain; charset=utf-8")))


def with_format(wire: WireRequest) -> WireRequest:
    """The request with its Accept header as the parameter of the same meaning: handlers see no headers."""
    if wire.path == _METRICS and "format=" not in wire.query and _accepts_prometheus(wire.headers):
        return replace(wire, query="&".join(part for part in (wire.query, "format=prometheus") if part))
    return wire


def open_answer(core: Core, listener: Listener, wire: WireRequest) -> Response | None:
    """What this listener says to anybody, in whatever state the node is; None for everything else."""
    if wire.method not in ("GET", "HEAD"):
        return None
    if wire.path == _METRICS and listener.telemetry.unauthenticated_metrics_access:
        if wire.parsed_query().get("format") != "prometheus" and not _accepts_prometheus(wire.headers):
            return bare(core.telemetry.summary())
        _require_prometheus(core)
        return Response(200, core.telemetry.prometheus(), CONTENT_TYPE)
    if wire.path == _IN_FLIGHT and listener.in_flight_requests_are_public:
        return bare(_in_flight(core))
    return None


def _accepts_prometheus(headers: Mapping[str, str]) -> bool:
    accept = headers.get("accept", "")
    return any(kind in accept for kind in _ACCEPTED)


def _require_prometheus(core: Core) -> None:
    if not core.telemetry.has_prometheus:
        raise InvalidRequest("prometheus is not enabled")


def _in_flight(core: Core) -> dict[str, object]:
    now_ms, now_s = core.sources.now_ms(), asyncio.get_running_loop().time()
    found: dict[str, object] = {}
    for edge in core.telemetry.edges:
        for entry in list(edge.in_flight.values()):
            address, port = entry.sender
            found[str(_id_of(entry))] = {
                "start_time": rfc3339(now_ms - int((now_s - entry.began_s) * 1000)),
                "client_remote_address": f"{address}:{port}" if address else "",
                "request_path": shown_path(entry.path),
                "request_method": entry.method,
                "client_id": "",
            }
    return found


def _id_of(entry: object) -> UUID:
    """The same while the request is worked on. Where in memory it is says nothing to whoever reads this."""
    return UUID(bytes=blake2b(id(entry).to_bytes(8, "big"), digest_size=16, key=_ID_KEY).digest())


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of monitoring."""
    own = _Monitoring(core)
    return (
        Route(
            pattern="metrics",
            operation=Operation.READ,
            request=Metrics,
            handler=own.metrics,
            summary="The node's metrics.",
        ),
        Route(
            pattern="host-info",
            operation=Operation.READ,
            request=Nothing,
            handler=own.host_info,
            summary="The machine that the node runs on.",
        ),
        Route(
            pattern="in-flight-req",
            operation=Operation.READ,
            request=Nothing,
            handler=own.in_flight,
            summary="The requests that the node is working on.",
        ),
        Route(
            pattern="monitor",
            operation=Operation.READ,
            request=Monitor,
            handler=own.monitor,
            summary="The node's log lines, as they are written.",
        ),
    )
