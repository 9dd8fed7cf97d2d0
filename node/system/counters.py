"""sys/internal/counters: how many entities, tokens and clients there are (API documentation of the same name)."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, Put, StreamAnswer
from node.activity import CONFIG_KEY, ENABLED, RETENTION_MONTHS, Activity, Client, distinct, month_of
from node.core import Core
from node.identity import store as identity
from node.system.cluster import rfc3339
from node.telemetry.usage import ROOT_NAMESPACE
from node.tokens import store as tokens

_REPORT_MONTHS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A span of time; whole months are counted."""

    start_time: str = body_param(Kind.STRING, "RFC 3339 or Unix time.", default="")
    end_time: str = body_param(Kind.STRING, "RFC 3339 or Unix time.", default="")
    limit_namespaces: int = body_param(Kind.INT, "Accepted for compatibility: there is one namespace.", default=0)
    current_billing_period: bool = body_param(Kind.BOOL, "Only the months up to now.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A span of time, and how to write its clients."""

    start_time: str = body_param(Kind.STRING, "RFC 3339 or Unix time.", default="")
    end_time: str = body_param(Kind.STRING, "RFC 3339 or Unix time.", default="")
    format: str = body_param(Kind.STRING, "json or csv.", default="json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Whether clients are counted, and for how long that is kept."""

    enabled: str | None = body_param(Kind.STRING, "default, enable or disable.")
    retention_months: int | None = body_param(Kind.INT, "48 to 60.")
    default_report_months: int | None = body_param(Kind.INT, "Months of a report without a start.")


@dataclass(frozen=True, slots=True)
class _Counters:
    core: Core

    @property
    def _activity(self) -> Activity:
        return self.core.require_unsealed().activity

    async def entities(self, request: Nothing, ctx: Context) -> Plan:
        return self._total("entities", identity.ENTITIES)

    async def tokens(self, request: Nothing, ctx: Context) -> Plan:
        return self._total("service_tokens", tokens.RECORDS)

    def _total(self, name: str, prefix: str) -> Plan:
        total = len(self.core.require_unsealed().opened.list(prefix))
        return Plan(Answer(data={"counters": {name: {"total": total}}}))

    # -- activity

    async def activity(self, request: Period, ctx: Context) -> Plan:
        start, end = self._period(request.start_time, request.end_time, ctx.sources.now_ms())
        by_month = {month: distinct(self._activity.clients(month)) for month in _months(start, end)}
        everyone = distinct(client for clients in by_month.values() for client in clients)
        return Plan(
            Answer(
                data={
                    "start_time": f"{start}-01T00:00:00Z",
                    "end_time": rfc3339(_end_of(end)),
                    "total": _counts(everyone),
                    "by_namespace": [self._namespace(everyone)],
                    "months": self._by_month(by_month),
                }
            )
        )

    def _by_month(self, by_month: dict[str, list[Client]]) -> list[dict[str, object]]:
        known: set[str] = set()
        rows: list[dict[str, object]] = []
        for month, clients in by_month.items():
            new = [client for client in clients if client.id not in known]
            known |= {client.id for client in new}
            rows.append({"timestamp": f"{month}-01T00:00:00Z", **self._attributed(clients)})
            rows[-1]["new_clients"] = self._attributed(new)
        return rows

    def _attributed(self, clients: list[Client]) -> dict[str, object]:
        return {"counts": _counts(clients), "namespaces": [self._namespace(clients)] if clients else []}

    def _namespace(self, clients: list[Client]) -> dict[str, object]:
        paths = {row.mount.accessor: row.mount.path for row in self.core.require_unsealed().router.by_path.values()}
        by_mount: dict[str, list[Client]] = {}
        for client in clients:
            by_mount.setdefault(client.mount, []).append(client)
        mounts = [
            {"mount_path": paths.get(accessor, "deleted mount; accessor " + accessor), "counts": _counts(found)}
            for accessor, found in sorted(by_mount.items(), key=lambda one: -len(one[1]))
        ]
        return {"namespace_id": ROOT_NAMESPACE, "namespace_path": "", "counts": _counts(clients), "mounts": mounts}

    async def monthly(self, request: Nothing, ctx: Context) -> Plan:
        month = month_of(ctx.sources.now_ms())
        clients = distinct(self._activity.clients(month))
        rows = self._by_month({month: clients})
        return Plan(Answer(data={**_counts(clients), "by_namespace": [self._namespace(clients)], "months": rows}))

    async def export(self, request: Export, ctx: Context) -> Plan:
        if request.format not in ("json", "csv"):
            raise InvalidRequest("format must be json or csv")
        start, end = self._period(request.start_time, request.end_time, ctx.sources.now_ms())
        clients = distinct(client for month in _months(start, end) for client in self._activity.clients(month))
        paths = {row.mount.accessor: row.mount for row in self.core.require_unsealed().router.by_path.values()}
        rows = [
            {
                "client_id": client.id,
                "client_type": "entity" if client.is_entity else "non-entity-token",
                "namespace_id": ROOT_NAMESPACE,
                "namespace_path": "",
                "mount_accessor": client.mount,
                "mount_path": paths[client.mount].path if client.mount in paths else "",
                "mount_type": paths[client.mount].type if client.mount in paths else "",
                "token_creation_time": rfc3339(client.since_s * 1000),
                "client_first_used_time": rfc3339(client.since_s * 1000),
            }
            for client in clients
        ]
        lines = _as_json(rows) if request.format == "json" else _as_csv(rows)
        kind = "application/json" if request.format == "json" else "text/csv"
        return Plan(Answer(stream=StreamAnswer(chunks=lines, content_type=kind)))

    def _period(self, start: str, end: str, now_ms: int) -> tuple[str, str]:
        """First and last month."""
        last = month_of(_moment(end)) if end else month_of(now_ms)
        first = month_of(_moment(start)) if start else _before(last, self._activity.config().default_report_months - 1)
        if first > last:
            raise InvalidRequest("start_time is later than end_time")
        return max(first, _before(last, _REPORT_MONTHS_MAX - 1)), last

    # -- configuration

    async def configuration(self, request: Nothing, ctx: Context) -> Plan:
        config = self._activity.config()
        enabled = "default-enabled" if config.enabled == "default" else config.enabled
        return Plan(
            Answer(
                data={
                    "default_report_months": config.default_report_months,
                    "enabled": enabled,
                    "minimum_retention_months": RETENTION_MONTHS[0],
                    "queries_available": bool(self._activity.months()),
                    "reporting_enabled": False,
                    "retention_months": config.retention_months,
                }
            )
        )

    async def configure(self, request: Configuration, ctx: Context) -> Plan:
        config = self._activity.config()
        if request.enabled is not None:
            if request.enabled not in ENABLED:
                raise InvalidRequest('enabled must be one of "default", "enable", "disable"')
            config = replace(config, enabled=request.enabled)
        if request.retention_months is not None:
            if not RETENTION_MONTHS[0] <= request.retention_months <= RETENTION_MONTHS[1]:
                raise InvalidRequest(f"retention_months must be from {RETENTION_MONTHS[0]} to {RETENTION_MONTHS[1]}")
            config = replace(config, retention_months=request.retention_months)
        if request.default_report_months is not None:
            if not 1 <= request.default_report_months <= _REPORT_MONTHS_MAX:
                raise InvalidRequest(f"default_report_months must be from 1 to {_REPORT_MONTHS_MAX}")
            config = replace(config, default_report_months=request.default_report_months)
        if not config.counts:
            self._activity.forget_month()
        return Plan(writes=(Put(CONFIG_KEY, config.to_bytes()),))


def _counts(clients: list[Client]) -> dict[str, object]:
    entities = sum(client.is_entity for client in clients)
    others = len(clients) - entities
    return {
        "distinct_entities": entities,
        "entity_clients": entities,
        "non_entity_tokens": others,
        "non_entity_clients": others,
        "acme_clients": 0,
        "secret_syncs": 0,
        "clients": len(clients),
    }


def _moment(text: str) -> int:
    """Unix milliseconds. Raises InvalidRequest."""
    try:
        if text.isdecimal():
            return int(text[:12]) * 1000
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequest("start_time and end_time must be RFC 3339 or Unix times") from None


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _named(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _before(month: str, count: int) -> str:
    return _named(max(12, _number(month) - count))


def _months(first: str, last: str) -> list[str]:
    return [_named(number) for number in range(_number(first), _number(last) + 1)]


def _end_of(month: str) -> int:
    """The last second of a month, in Unix ms."""
    following = datetime.fromisoformat(f"{_named(_number(month) + 1)}-01T00:00:00+00:00")
    return int(following.timestamp() - 1) * 1000


async def _as_json(rows: Iterable[dict[str, str]]) -> AsyncIterator[bytes]:
    for row in rows:
        yield json.dumps(row).encode() + b"\n"


async def _as_csv(rows: list[dict[str, str]]) -> AsyncIterator[bytes]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["client_id"])
    writer.writeheader()
    writer.writerows(rows)
    yield text.getvalue().encode()


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of counters."""
    own = _Counters(core)
    at = "internal/counters"
    read = Operation.READ
    return (
        Route(
            pattern=f"{at}/entities",
            operation=read,
            request=Nothing,
            handler=own.entities,
            summary="How many entities.",
        ),
        Route(pattern=f"{at}/tokens", operation=read, request=Nothing, handler=own.tokens, summary="How many tokens."),
        Route(
            pattern=f"{at}/activity", operation=read, request=Period, handler=own.activity, summary="How many clients."
        ),
        Route(
            pattern=f"{at}/activity/monthly",
            operation=read,
            request=Nothing,
            handler=own.monthly,
            summary="How many clients in this month.",
        ),
        Route(
            pattern=f"{at}/activity/export",
            operation=read,
            request=Export,
            handler=own.export,
            sudo=True,
            summary="Every client.",
        ),
        Route(
            pattern=f"{at}/config",
            operation=read,
            request=Nothing,
            handler=own.configuration,
            summary="How clients are counted.",
        ),
        Route(
            pattern=f"{at}/config",
            operation=Operation.UPDATE,
            request=Configuration,
            handler=own.configure,
            summary="Set how clients are counted.",
        ),
    )
