"""Log lines: levels by part, watchers with levels and bounds of their own."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
import structlog

from node.logs import LOGGING, PARTS, TRACE, WATCHED_LINES_MAX, WATCHERS_MAX, part_of


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What the test changes of the interpreter's loggers is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], LOGGING._watchers[:] = handlers, []
    root.setLevel(level)
    structlog.reset_defaults()
    LOGGING.levels.revert()


def watch(level: str = "info", form: str = "standard") -> Any:
    """A watcher that has begun: its first line is on its way."""
    return aclosing(LOGGING.watch(level, form))


async def begun(lines: AsyncIterator[bytes]) -> "asyncio.Task[bytes]":
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    return first


@pytest.mark.parametrize(
    ("logger", "part"),
    [
        ("node.core", "core"),
        ("node.audit.channel", "audit"),
        ("node.auditor", "core"),
        ("node.leases.sweeper", "expiration"),
        ("cluster.raft", "storage.raft"),
        ("engines.kv_v2", "secrets"),
        ("another.library", "core"),
    ],
)
def test_parts(logger: str, part: str) -> None:
    """A module's lines belong to the documented name that its own begins with."""
    assert part_of(logger) == part


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    """What is less important than its part's level is not written; the other parts are as they were."""
    LOGGING.set_up("info", "json")
    logging.getLogger("node.core").debug("one")
    LOGGING.levels.change({"audit": "debug", "core": "error"})
    LOGGING.apply()
    logging.getLogger("node.core").warning("two")
    logging.getLogger("node.audit.channel").debug("three")
    logging.getLogger("cluster.raft").info("four")
    structlog.get_logger("node.leases.sweeper").info("five", key="value")
    LOGGING.levels.revert()
    LOGGING.apply()
    logging.getLogger("node.core").info("six")
    written = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in written] == ["three", "four", "five", "six"]
    assert written[0]["level"] == "debug"
    assert written[0]["logger"] == "node.audit.channel"
    assert written[2]["key"] == "value"


async def test_a_watcher_sees_more_than_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Its level is its own: what it sees besides is written nowhere else."""
    LOGGING.set_up("error", "standard")
    async with watch("trace", "json") as lines:
        first = await begun(lines)
        logging.getLogger("node.core").log(TRACE, "a trace of %s", "it")
        assert json.loads(await first)["event"] == "a trace of it"
    logging.getLogger("node.core").info("after")
    assert capsys.readouterr().err == ""
    assert logging.getLogger().level == logging.ERROR


async def test_a_slow_watcher_is_told_what_it_missed() -> None:
    """Lines beyond the bound are dropped and counted; memory is not theirs to fill."""
    LOGGING.set_up("info", "standard")
    async with watch() as lines:
        first = await begun(lines)
        for number in range(WATCHED_LINES_MAX + 10):
            logging.getLogger("node.core").info("line %d", number)
        assert b"line 0" in await first
        for _ in range(WATCHED_LINES_MAX - 1):
            await anext(lines)
        logging.getLogger("node.core").info("the next")
        told = await anext(lines)
        dropped, _, line = told.partition(b"\n")
        assert dropped.startswith(b"Monitor dropped ")
        assert b"the next" in line


async def test_too_many_watchers_end_the_oldest() -> None:
    """A client that has gone away without a word does not keep others out."""
    LOGGING.set_up("info", "standard")
    all_lines = [LOGGING.watch("info", "standard") for _ in range(WATCHERS_MAX + 1)]
    waiting = [await begun(lines) for lines in all_lines]
    await asyncio.wait([waiting[0]], timeout=10)
    assert isinstance(waiting[0].exception(), StopAsyncIteration)
    logging.getLogger("node.core").info("for the others")
    assert all(b"for the others" in line for line in await asyncio.gather(*waiting[1:]))
    for lines in all_lines[1:]:
        await lines.aclose()  # type: ignore[attr-defined]
    assert LOGGING._watchers == []


def test_every_part_is_there() -> None:
    """The parts are modules of this program, or of the library that serves HTTP."""
    import importlib

    for modules in PARTS.values():
        for module in modules:
            importlib.import_module(module)
