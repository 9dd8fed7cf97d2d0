"""engines/database/batches.py: what waits together is one transaction, and each job has its own outcome."""

from __future__ import annotations

import asyncio

import pytest

from engines.database.batches import Batches, Job
from engines.database.errors import Collided, DatabaseRefused, DatabaseUnreachable
from engines.database.pool import Pool, PoolLimits


class FakeSession:
    def is_usable(self) -> bool:
        return True

    def hang_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


class FakeDatabase:
    """Runs texts one after the other; `refuses` and `collides` are words that a text must not have."""

    def __init__(self, connections: int = 1) -> None:
        self.texts: list[str] = []
        self.refuses = "no-such-word"
        self.collisions = 0
        self.is_down = False
        self.pool = Pool(self._connect, PoolLimits(connections, connections, 0))
        self.batches = Batches(self.pool, self._execute, ";")

    async def _connect(self) -> FakeSession:
        if self.is_down:
            raise DatabaseUnreachable("down")
        return FakeSession()

    async def _execute(self, session: FakeSession, text: str, secret: str) -> None:
        await asyncio.sleep(0)
        self.texts.append(text)
        if self.collisions:
            self.collisions -= 1
            raise Collided("concurrently")
        if self.refuses in text:
            raise DatabaseRefused(f"{self.refuses} is refused")

    async def run(self, *words: str) -> list[BaseException | None]:
        jobs = [self.batches.run(Job(lambda _, word=word: word)) for word in words]  # type: ignore[misc]
        return await asyncio.gather(*jobs, return_exceptions=True)


async def test_what_waits_together_is_one_transaction() -> None:
    """At most sixteen of them, in the order in which they came."""
    database = FakeDatabase()
    words = [f"w{i}" for i in range(20)]
    assert await database.run(*words) == [None] * 20
    assert [text.split(";") for text in database.texts] == [words[:16], words[16:]]


async def test_connections_share_what_waits() -> None:
    """Two connections, half each: a database works on as many at once as it has processors."""
    database = FakeDatabase(connections=2)
    await database.run(*(f"w{i}" for i in range(8)))
    assert sorted(len(text.split(";")) for text in database.texts) == [4, 4]


async def test_a_refusal_is_of_one_job_alone() -> None:
    """The others of its transaction, which was rolled back, are done again by themselves."""
    database = FakeDatabase()
    database.refuses = "bad"
    outcomes = await database.run("a", "bad", "b")
    assert [type(outcome) for outcome in outcomes] == [type(None), DatabaseRefused, type(None)]
    assert database.texts == ["a;bad;b", "a", "bad", "b"]


async def test_after_a_collision_the_same_jobs_are_tried_again() -> None:
    """None is lost, and none done twice."""
    database = FakeDatabase()
    database.collisions = 2
    assert await database.run("a", "b") == [None, None]
    assert database.texts == ["a;b"] * 3


async def test_a_database_that_is_down_is_told_to_everybody() -> None:
    """And once it is back, it is used."""
    database = FakeDatabase()
    database.is_down = True
    outcomes = await database.run("a", "b", "c")
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnreachable] * 3
    database.is_down = False
    assert await database.run("d") == [None]


async def test_a_job_that_nobody_waits_for_any_more_is_not_begun() -> None:
    """As when its client has gone while it waited for a connection."""
    database = FakeDatabase()
    first = asyncio.create_task(database.run("a"))
    await asyncio.sleep(0)
    gone = asyncio.create_task(database.batches.run(Job(lambda _: "gone")))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await first
    await database.run("b")
    assert "gone" not in ";".join(database.texts)
