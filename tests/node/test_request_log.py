"""One line for each completed request, without secrets; and nothing at all while it is off."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from node.dispatch import RateGate
from node.errors import RateLimited
from node.logs import LEVELS, LOGGING
from node.quotas.verdict import Verdict
from node.request import WireRequest
from node.request_log import RequestLog
from node.response import Response
from node.sources import FixedSources
from tests.node.cores import new_core

TOKEN = "hvs.CAESIJT2KM9n2KJqg_E267-X"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What the test changes of the interpreter's loggers is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def request(path: str = "/v1/secret/data/a", address: str = "10.0.0.7", method: str = "GET") -> WireRequest:
    return WireRequest(
        method=method,
        path=path,
        query="password=query-secret",
        headers={"x-vault-token": TOKEN},
        body=b'{"a": "body-secret"}',
        client_address=address,
        client_port=50_000,
    )


class Site:
    """A request log over a handler that takes 12.5 ms."""

    def __init__(self, level: str) -> None:
        self.sources = FixedSources(1_767_225_600_000, 1)
        self.status = 200
        self.log = RequestLog(self._handle, self.sources, level)

    async def _handle(self, wire: WireRequest) -> Response:
        self.sources.advance(12)
        if not self.status:
            raise TimeoutError
        return Response(self.status, b"answer-secret")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("level", ["trace", "debug", "info", "notice", "warn", "error"])
async def test_a_line(capsys: pytest.CaptureFixture[str], level: str) -> None:
    """It says who, what, when, how long and with what outcome, at the level that was asked for."""
    LOGGING.set_up("trace", "json")
    site = Site(level)
    assert (await site.log(request())).body == b"answer-secret"
    text = capsys.readouterr().err
    assert "-secret" not in text and TOKEN not in text
    line = json.loads(text)
    assert LEVELS[{"warning": "warn"}.get(line["level"], line["level"])] == LEVELS[level]
    del line["timestamp"], line["level"]
    assert line == {
        "event": "completed_request",
        "logger": "node.request_log",
        "client_address": "10.0.0.7:50000",
        "duration": "12.000ms",
        "request_method": "GET",
        "request_path": "/v1/secret/data/a",
        "start_time": "2026-01-01T00:00:00.000000000Z",
        "status_code": 200,
    }


async def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The same fields in the other format; an address of IPv6 has its brackets, and one of a unix socket is empty."""
    LOGGING.set_up("info", "standard")
    site = Site("info")
    site.status = 404
    await site.log(request(address="::1"))
    await site.log(request(address=""))
    first, second = capsys.readouterr().err.splitlines()
    assert "completed_request" in first and "client_address=[::1]:50000" in first and "status_code=404" in first
    assert "50000" not in second


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"/v1/auth/token/renew/{TOKEN}", "/v1/auth/token/renew/<hidden>"),
        ("/v1/auth/token/renew/root", "/v1/auth/token/renew/<hidden>"),
        ("/v1/auth/token/rene%77/root", "/v1/auth/token/renew/<hidden>"),
        ("/v1/auth/token/revoke-orphan/root/x", "/v1/auth/token/revoke-orphan/<hidden>"),
        ("/v1/auth/token/lookup/root", "/v1/auth/token/lookup/<hidden>"),
        ("/v1/auth/token/lookup-self", "/v1/auth/token/lookup-self"),
        (f"/v1/secret/data/{TOKEN}/x", "/v1/secret/data/<hidden>/x"),
        ("/v1/secret/data/hv%73.abc", "/v1/secret/data/<hidden>"),
        ("/v1/auth//token/renew/root", "<hidden>"),
        ("/v1/a%0ab", "<hidden>"),
        ("/v1/a%ff", "<hidden>"),
        ("/ui/", "/ui"),
        ("/", "/"),
        ("*", "*"),
    ],
)
async def test_paths(capsys: pytest.CaptureFixture[str], path: str, shown: str) -> None:
    """A token in a path is hidden however it is spelled, and so is a path that cannot be read."""
    LOGGING.set_up("info", "json")
    await Site("info").log(request(path))
    assert [line["request_path"] for line in lines(capsys)] == [shown]


async def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the log's own level nothing is written; `take` switches while requests come; off is the handler itself."""
    LOGGING.set_up("info", "json")
    site = Site("off")
    await site.log(request())
    assert site.log._answer == site._handle
    site.log.take("debug")
    await site.log(request())
    assert lines(capsys) == []
    site.log.take("error")
    await site.log(request())
    assert [line["level"] for line in lines(capsys)] == ["error"]
    site.log.take("off")
    await site.log(request())
    assert lines(capsys) == []


async def test_without_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that was given up before its answer is logged with status 0."""
    LOGGING.set_up("info", "json")
    site = Site("info")
    site.status = 0
    with pytest.raises(TimeoutError):
        await site.log(request())
    assert [line["status_code"] for line in lines(capsys)] == [0]


async def test_rate_limited(capsys: pytest.CaptureFixture[str]) -> None:
    """What a rate limit refuses ahead of its body is a completed request too."""
    LOGGING.set_up("info", "json")
    core, site = new_core(), Site("info")
    refused = await RateGate(core, site.log).refused(request(), Verdict(RateLimited("secret/data/a")))
    assert refused.status == 429
    assert [line["status_code"] for line in lines(capsys)] == [429]
