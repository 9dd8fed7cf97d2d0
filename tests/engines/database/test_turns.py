"""engines/database/turns.py: bounded, in order, and one at a time when asked to."""

from __future__ import annotations

import asyncio

from engines.database.turns import Turns


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_turns_come_in_order_and_never_more_than_the_width() -> None:
    """Two of four work at once; the rest follow as they came."""
    turns, began, go = Turns(2), list[int](), [asyncio.Event() for _ in range(4)]

    async def work(number: int) -> None:
        await turns.acquire()
        began.append(number)
        await go[number].wait()
        turns.release()

    tasks = [asyncio.create_task(work(number)) for number in range(4)]
    await _settled()
    assert began == [0, 1]
    go[1].set()
    await _settled()
    assert began == [0, 1, 2]
    for event in go:
        event.set()
    await asyncio.gather(*tasks)
    assert began == [0, 1, 2, 3]


async def test_narrow_lets_one_work_once_the_others_have_ended() -> None:
    """What was at work goes on; nobody begins beside the next one."""
    turns = Turns(3)
    await turns.acquire()
    await turns.acquire()
    turns.narrow(60)
    waiting = [asyncio.create_task(turns.acquire()) for _ in range(2)]
    turns.release()
    await _settled()
    assert not waiting[0].done()
    turns.release()
    await _settled()
    assert waiting[0].done() and not waiting[1].done()
    turns.release()
    await asyncio.gather(*waiting)


async def test_the_width_is_back_when_the_time_is_over() -> None:
    """At the next turn that ends, all who wait may go."""
    turns = Turns(3)
    turns.narrow(0.01)
    await turns.acquire()
    waiting = [asyncio.create_task(turns.acquire()) for _ in range(3)]
    await asyncio.sleep(0.02)
    turns.release()
    await asyncio.gather(*waiting)


async def test_who_stops_waiting_takes_no_turn_with_them() -> None:
    """Cancelled while waiting, and cancelled at the moment in which the turn was given."""
    turns = Turns(1)
    await turns.acquire()
    early, late = asyncio.create_task(turns.acquire()), asyncio.create_task(turns.acquire())
    await _settled()
    early.cancel()
    turns.release()
    late.cancel()
    await asyncio.gather(early, late, return_exceptions=True)
    async with asyncio.timeout(5):
        await turns.acquire()
