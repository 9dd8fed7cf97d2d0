"""sys/metrics, sys/host-info, sys/in-flight-req, sys/monitor: who may ask which node, and what it says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.config.listeners import Listener
from node.config.load import load
from node.config.model import Config
from node.core import Core
from node.dispatch import dispatch
from node.edge import Edge, InFlight
from node.join import begin_join
from node.request import WireRequest
from node.response import Response
from node.unseal import unseal
from tests.node.cores import raft_core
from tests.node.live import ROOT, Live, live
from tests.node.telemetry.test_every_metric import until
from tests.node.test_join import first_node, target_of

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def open_to_anybody(core: Core) -> Listener:
    """The node's listener with both of the documented permissions."""
    listener = core.config.listeners[0]
    return replace(
        listener,
        telemetry=replace(listener.telemetry, unauthenticated_metrics_access=True),
        inflight_requests_logging=replace(
            listener.inflight_requests_logging, unauthenticated_in_flight_requests_access=True
        ),
    )


async def ask(core: Core, path: str, *, listener: Listener | None = None, token: str = "", **headers: str) -> Response:
    """A GET as it comes in at a listener."""
    path, _, query = path.partition("?")
    wire = WireRequest(
        method="GET",
        path=f"/v1/{path}",
        query=query,
        headers={**headers, **({"x-vault-token": token} if token else {})},
        body=b"",
        client_address="192.0.2.1",
    )
    return await dispatch(core, listener or core.config.listeners[0], wire)


@asynccontextmanager
async def with_config(**telemetry: object) -> AsyncIterator[Live]:
    config: Config = load([], {}, dev=True)
    async with live(config=replace(config, telemetry=replace(config.telemetry, **telemetry))) as one:  # type: ignore[arg-type]
        yield one


async def test_metrics_need_a_token() -> None:
    """Without the listener's permission nobody sees a metric without a right on sys/metrics."""
    async with live() as one:
        await one.refused("GET", "sys/metrics", token="", status=403)
        weak = (await one.ok("POST", "auth/token/create", {"policies": ["default"]}))["auth"]["client_token"]
        await one.refused("GET", "sys/metrics", token=weak, status=403)
        await one.policy("metrics", 'path "sys/metrics" { capabilities = ["read", "list"] }')
        able = (await one.ok("POST", "auth/token/create", {"policies": ["metrics"]}))["auth"]["client_token"]
        body = await one.ok("GET", "sys/metrics", token=able)
        assert set(body) == {"Timestamp", "Gauges", "Points", "Counters", "Samples"}


@pytest.mark.parametrize(
    ("query", "accept", "is_text"),
    [
        ("", "", False),
        ("?format=", "", False),
        ("?format=prometheus", "", True),
        ("", "prometheus/telemetry", True),
        ("", "application/openmetrics-text; version=1.0.0,text/plain;q=0.5", True),
        ("", "application/json", False),
    ],
)
async def test_the_form_that_was_asked_for(query: str, accept: str, is_text: bool) -> None:
    """By parameter or by header, with a token or from a listener that shows it to anybody."""
    async with live() as one:
        for listener, token in ((None, ROOT), (open_to_anybody(one.core), "")):
            answer = await ask(one.core, f"sys/metrics{query}", listener=listener, token=token, accept=accept)
            assert answer.status == 200
            assert (answer.content_type == TEXT) is is_text
            if is_text:
                assert b"vault_core_active" in answer.body
            else:
                assert json.loads(answer.body)["Gauges"]


async def test_without_prometheus() -> None:
    """A retention of 0 switches its form off, and only that."""
    async with with_config(prometheus_retention_time_s=0) as one:
        await one.refused("GET", "sys/metrics?format=prometheus", status=400)
        await one.ok("GET", "sys/metrics")
        answer = await ask(one.core, "sys/metrics?format=prometheus", listener=open_to_anybody(one.core))
        assert answer.status == 400


async def test_a_sealed_node_shows_its_metrics_where_anybody_may_see_them() -> None:
    """It says that it is sealed; without the permission it says nothing."""
    async with live() as one:
        await one.core.seal_now()
        assert (await ask(one.core, "sys/metrics", token=ROOT)).status == 503
        answer = await ask(one.core, "sys/metrics?format=prometheus", listener=open_to_anybody(one.core))
        assert b"vault_core_unsealed{cluster=" in answer.body
        assert b"} 0\n" in answer.body


async def test_a_standby_answers_for_itself_or_not_at_all(tmp_path: Path) -> None:
    """With a token it sends the client to the active node; where anybody may ask, it shows its own."""
    async with raft_core(tmp_path / "n1", "n1") as leader, raft_core(tmp_path / "n2", "n2") as standby:
        share = await first_node(leader)
        await begin_join(standby, target_of(leader))
        await unseal(standby, share, reset=False)
        await until(lambda: not standby.barrier.is_sealed and standby.active_node() is not None)
        for path in ("sys/metrics", "sys/host-info", "sys/in-flight-req", "sys/monitor"):
            answer = await ask(standby, path, token=ROOT)
            assert answer.status == 307, path
            assert answer.headers["Location"] == f"{leader.identity.api_address}/v1/{path}"
        shown = await ask(standby, "sys/metrics?format=prometheus", listener=open_to_anybody(standby))
        name = standby.telemetry.cluster_name()
        assert f'vault_core_active{{cluster="{name}"}} 0\n'.encode() in shown.body
        assert f'vault_core_unsealed{{cluster="{name}"}} 1\n'.encode() in shown.body
        await standby.telemetry.usage.compute()
        shown = await ask(standby, "sys/metrics?format=prometheus", listener=open_to_anybody(standby))
        assert f'vault_token_count{{cluster="{name}",namespace="root"}} 1\n'.encode() in shown.body


async def test_in_flight_requests() -> None:
    """A token is needed, unless the listener says otherwise. The answer has no envelope."""
    async with live() as one:
        await one.refused("GET", "sys/in-flight-req", token="", status=403)
        assert await one.ok("GET", "sys/in-flight-req") == {}
        answer = await ask(one.core, "sys/in-flight-req", listener=open_to_anybody(one.core))
        assert (answer.status, json.loads(answer.body)) == (200, {})


async def test_a_token_in_a_path_in_flight_is_not_shown() -> None:
    """Two routes carry one in their path, and the listener may show what is in flight to anybody."""
    async with live() as one:
        task = asyncio.current_task()
        assert task is not None
        entry = InFlight(task, 90.0, 0.0, "POST", "/v1/auth/token/renew/hvs.canary", ("192.0.2.7", 4711))
        one.core.telemetry.edges.append(cast(Edge, SimpleNamespace(in_flight={1: entry})))
        answer = await ask(one.core, "sys/in-flight-req", listener=open_to_anybody(one.core))
        (shown,) = json.loads(answer.body).values()
        assert (shown["client_remote_address"], shown["request_method"]) == ("192.0.2.7:4711", "POST")
        assert b"canary" not in answer.body


async def test_host_info() -> None:
    """The documented members, with what the documentation's sample shows of each."""
    async with live() as one:
        found: Any = await one.read("sys/host-info")
        assert set(found) == {"cpu", "cpu_times", "disk", "host", "memory", "timestamp"}
        assert found["cpu"][0]["cpu"] == 0
        assert found["cpu_times"][0]["cpu"] == "cpu0"
        assert {"user", "system", "idle"} <= set(found["cpu_times"][0])
        assert {"hostname", "uptime", "bootTime", "procs"} <= set(found["host"])
        assert 0 < found["memory"]["available"] < found["memory"]["total"]
        assert found["timestamp"].startswith("2026-11-21T")
        await one.refused("GET", "sys/host-info", token="", status=403)


@pytest.mark.parametrize("query", ["log_level=loud", "log_format=xml"])
async def test_monitor_refuses_what_it_does_not_know(query: str) -> None:
    """An unknown level or form is the client's fault, and no stream."""
    async with live() as one:
        await one.refused("GET", f"sys/monitor?{query}", status=400)


async def test_monitor_streams() -> None:
    """Lines come as they are written; whoever hangs up is forgotten."""
    from node.logs import LOGGING

    async with live() as one:
        answer = await ask(one.core, "sys/monitor?log_level=info", token=ROOT)
        assert answer.stream is not None
        first = asyncio.ensure_future(anext(answer.stream))
        await asyncio.sleep(0)
        await one.write("sys/loggers/core", level="info")
        assert b"the level of the logger core is info" in await asyncio.wait_for(first, 10)
        await answer.stream.aclose()  # type: ignore[attr-defined]
        assert LOGGING._watchers == []


async def test_a_listener_that_allows_nothing_else() -> None:
    """The permissions are for reading these two paths: nothing else is open by them."""
    async with live() as one:
        listener = open_to_anybody(one.core)
        for path in ("sys/host-info", "sys/monitor", "sys/mounts", "secret/data/a"):
            assert (await ask(one.core, path, listener=listener)).status == 403
        wire = WireRequest(
            method="POST", path="/v1/sys/metrics", query="", headers={}, body=b"{}", client_address="192.0.2.1"
        )
        assert (await dispatch(one.core, listener, wire)).status in (403, 405)
