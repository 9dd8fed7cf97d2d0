"""sys/loggers: read, set and revert the levels of all loggers or of one."""

from collections.abc import Iterator

import pytest

from node.logs import LOGGING, PARTS, Levels
from tests.node.live import live


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before, LOGGING.levels = LOGGING.levels, Levels()
    yield
    LOGGING.levels = before
    LOGGING.apply()


async def test_all_and_one() -> None:
    """A level holds until it is reverted to the configured one."""
    async with live() as one:
        assert set(await one.read("sys/loggers")) == set(PARTS)
        await one.write("sys/loggers", level="debug")
        assert set((await one.read("sys/loggers")).values()) == {"debug"}
        await one.write("sys/loggers/audit", level="TRACE")
        assert await one.read("sys/loggers/audit") == {"audit": "trace"}
        await one.delete("sys/loggers/audit")
        assert await one.read("sys/loggers/audit") == {"audit": "info"}
        assert await one.read("sys/loggers/core") == {"core": "debug"}
        await one.delete("sys/loggers")
        assert set((await one.read("sys/loggers")).values()) == {"info"}


async def test_refusals() -> None:
    """Unknown levels and names, and whoever has no right."""
    async with live() as one:
        await one.refused("POST", "sys/loggers", {"level": "loud"}, status=400)
        await one.refused("POST", "sys/loggers/core", {}, status=400)
        await one.refused("GET", "sys/loggers/nothing", status=404)
        await one.refused("POST", "sys/loggers/nothing", {"level": "info"}, status=404)
        await one.refused("POST", "sys/loggers", {"level": "info"}, token="", status=403)
