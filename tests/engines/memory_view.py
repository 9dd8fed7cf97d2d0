"""What engine tests run on: storage in memory that keeps the rules of the real one, a clock and randomness to turn.

`Rig` takes a request through an engine as the pipeline does: match, decode, handle, commit, and again when a race was
lost. Its answers are what a client would find under `data`, after JSON.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from engines.common.context import Caller, Context, MountInfo, Outside, Seen
from engines.common.frame import Engine, Operation
from engines.common.plan import Answer, Delete, Plan, Put, Write

NOW_MS = 1_795_291_200_123


class FixedSources:
    """A clock that stands until it is moved, and randomness that a seed decides."""

    def __init__(self, now_ms: int = NOW_MS, seed: int = 0) -> None:
        self.at_ms = now_ms
        self._random = random.Random(seed)

    def now_ms(self) -> int:
        return self.at_ms

    def random(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def advance_s(self, seconds: float) -> None:
        self.at_ms += int(seconds * 1000)


class LostRaceError(Exception):
    """A plan was based on a record that has changed since; nothing of it was written."""


class MemoryView:
    """The storage of one mount. `reads` counts gets."""

    def __init__(self) -> None:
        self.records: dict[str, Seen] = {}
        self.index = 0
        self.reads = 0

    async def get(self, key: str) -> Seen | None:
        _require_canonical(key)
        self.reads += 1
        return self.records.get(key)

    async def has_any(self, prefix: str) -> bool:
        return bool(await self.list(prefix, limit=1))

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        assert prefix == "" or prefix.endswith("/")
        names = set()
        for key in self.records:
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names.add(name + slash)
        return sorted(name for name in names if name > after)[:limit]

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        for key in sorted(self.records):
            if key.startswith(prefix):
                yield key

    def commit(self, writes: tuple[Write, ...]) -> None:
        """All writes under one index, or LostRaceError and none."""
        touched = [write.key for write in writes]
        assert len(touched) == len(set(touched)), "a plan writes each key once"
        for write in writes:
            _require_canonical(write.key)
            found = self.records.get(write.key)
            if write.seen_index is not None and write.seen_index != (found.index if found else 0):
                raise LostRaceError(write.key)
        self.index += 1
        for write in writes:
            if isinstance(write, Put):
                self.records[write.key] = Seen(write.key, write.value, self.index)
            elif isinstance(write, Delete):
                self.records.pop(write.key, None)


def _require_canonical(key: str) -> None:
    assert key, "a key is never empty"
    assert not key.startswith("/"), "a key never starts with a slash"
    assert not key.endswith("/"), "a key never ends with a slash"


@dataclass
class Rig:
    """One mount of an engine and a caller of it."""

    engine: Engine
    view: MemoryView = field(default_factory=MemoryView)
    sources: FixedSources = field(default_factory=FixedSources)
    caller: Caller = field(default_factory=lambda: Caller(token_key="token-1"))
    mount: MountInfo = field(
        default_factory=lambda: MountInfo(
            path="secret/",
            uuid="8f2c",
            accessor="kv_1",
            type="kv",
            options={},
            default_ttl_s=2_764_800,
            max_ttl_s=2_764_800,
        )
    )

    outside: Outside | None = None

    @property
    def ctx(self) -> Context:
        return Context(view=self.view, mount=self.mount, caller=self.caller, sources=self.sources, outside=self.outside)

    def as_caller(self, caller: Caller) -> Rig:
        """The same mount for another caller."""
        return replace(self, caller=caller)

    def with_engine(self, engine: Engine) -> Rig:
        """The same storage run by another engine, as after a change of the mount's options."""
        return replace(self, engine=engine)

    async def plan(self, operation: Operation, path: str, body: Mapping[str, object] | None = None) -> Plan:
        """What the engine would do."""
        match = self.engine.table.match(operation, path)
        return await match.route.handler(match.decode(body or {}), self.ctx)

    async def answer(self, operation: Operation, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """The answer of a request whose writes were committed."""
        while True:
            plan = await self.plan(operation, path, body)
            try:
                if plan.writes:
                    self.view.commit(plan.writes)
            except LostRaceError:
                continue
            return plan.answer

    async def exists(self, path: str, body: Mapping[str, object] | None = None) -> bool:
        """Whether a write to the path needs update (True) or create."""
        match = self.engine.table.match(Operation.UPDATE, path)
        assert match.route.exists is not None
        return await match.route.exists(match.decode(body or {}), self.ctx)

    async def read(self, path: str, /, **query: object) -> Any:
        return data_of(await self.answer(Operation.READ, path, query))

    async def list(self, path: str) -> list[str]:
        keys: list[str] = data_of(await self.answer(Operation.LIST, path))["keys"]
        return keys

    async def write(self, path: str, /, **body: object) -> Any:
        return data_of(await self.answer(Operation.UPDATE, path, body))

    async def patch(self, path: str, /, **body: object) -> Any:
        return data_of(await self.answer(Operation.PATCH, path, body))

    async def delete(self, path: str) -> Any:
        return data_of(await self.answer(Operation.DELETE, path))


def data_of(answer: Answer | None) -> Any:
    """The data member as a client decodes it; None when there is none (204)."""
    assert answer is not None
    return None if answer.data is None else orjson.loads(orjson.dumps(answer.data))
