"""What the active node does by itself: it ends what was begun and never finished, and rotates what has become due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engines.common.context import Context
from engines.common.errors import EngineError
from engines.common.plan import Delete
from engines.database import connections, rotation, store
from engines.database.model import Intent
from engines.database.users import ACT_MS_MAX

_BATCH: Final = 256  # intents looked at in one round
_BACKOFF_MS: Final = 1_000  # after the first failure of a database, then twice as long up to the next
_BACKOFF_MS_MAX: Final = 60_000
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Backoff:
    """Which databases failed lately, how often in a row, and when to ask them again."""

    failed: dict[str, tuple[int, int]] = field(default_factory=dict)

    def is_over(self, name: str, now_ms: int) -> bool:
        return now_ms >= self.failed.get(name, (0, 0))[1]

    def note(self, name: str, now_ms: int) -> None:
        count = self.failed.get(name, (0, 0))[0] + 1
        self.failed[name] = (count, now_ms + min(_BACKOFF_MS << min(count - 1, 10), _BACKOFF_MS_MAX))

    async def close(self) -> None:
        """Nothing is open."""


async def tend(ctx: Context) -> None:
    """One round. A database that fails is asked again later, and holds up no other."""
    backoff: _Backoff | None = ctx.out.held.get("backoff", 0)
    if backoff is None:
        backoff = _Backoff()
        ctx.out.held.put("backoff", 0, backoff)
    now_ms = ctx.sources.now_ms()
    work: dict[str, list[Coroutine[Any, Any, None]]] = {}
    for found in await _intents(ctx):
        intent = found.record
        if intent.owner == ctx.out.held.owner and now_ms < intent.begun_at_ms + ACT_MS_MAX and not intent.is_condemned:
            continue  # a request of this node is at it
        if now_ms >= intent.next_at_ms:
            work.setdefault(intent.db_name, []).append(_end(found, ctx))
    for db_name, task in await rotation.due(ctx):
        work.setdefault(db_name, []).append(task)
    await asyncio.gather(*(_guarded(name, tasks, backoff, ctx) for name, tasks in work.items()))


async def _guarded(db_name: str, tasks: list[Coroutine[Any, Any, None]], backoff: _Backoff, ctx: Context) -> None:
    if not backoff.is_over(db_name, ctx.sources.now_ms()):
        for task in tasks:
            task.close()
        return
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if not failures:
        backoff.failed.pop(db_name, None)
        return
    backoff.note(db_name, ctx.sources.now_ms())
    unforeseen = [failure for failure in failures if not isinstance(failure, EngineError)]
    if unforeseen:
        raise unforeseen[0]
    _logger.warning(
        "the database %s did not do what is due, and is asked again: %s (%d in all)",
        db_name,
        failures[0],
        len(failures),
    )


async def _intents(ctx: Context) -> list[store.Stored[Intent]]:
    names = await ctx.view.list(store.INTENTS, limit=_BATCH)
    found = [await store.read(Intent, store.INTENTS + name, ctx.view) for name in names]
    return [intent for intent in found if intent is not None]


async def _end(found: store.Stored[Intent], ctx: Context) -> None:
    """Condemn the intent, then drop its user.

    Condemned first: the request that began it, should it still be alive somewhere, can then commit no lease. Where that
    is possible at all the intent stays until it is not any more, and the user is dropped once again at its end.
    """
    async with ctx.out.held.alone(found.key):
        now = await store.read(Intent, found.key, ctx.view)
        if now is not None:
            await _end_alone(now, ctx)


async def _end_alone(found: store.Stored[Intent], ctx: Context) -> None:
    intent, index = found.record, found.index
    if not intent.is_condemned:
        settled_at_ms = intent.begun_at_ms + ACT_MS_MAX
        intent = replace(intent, is_condemned=True, settled_at_ms=settled_at_ms)
        index = await ctx.out.commit((store.put(found.key, intent, index),))
    database = await connections.database_of(intent.db_name, ctx)
    await database.drop_user(intent.username, intent.revocation)
    if ctx.sources.now_ms() >= intent.settled_at_ms:
        await ctx.out.commit((Delete(found.key, index),))
    else:
        await ctx.out.commit((store.put(found.key, replace(intent, next_at_ms=intent.settled_at_ms), index),))


async def close(ctx: Context) -> None:
    """Before the mount goes: drop every user that was begun, whoever began it. Raises what a database says."""
    async for key in ctx.view.keys(store.INTENTS):
        async with ctx.out.held.alone(key):
            found = await store.read(Intent, key, ctx.view)
            if found is None or await ctx.view.get(store.CONFIGS + found.record.db_name) is None:
                continue  # without its configuration nobody can reach the database any more
            settled = replace(found.record, is_condemned=True, settled_at_ms=0)
            index = await ctx.out.commit((store.put(key, settled, found.index),))
            await _end_alone(store.Stored(key, settled, index), ctx)
