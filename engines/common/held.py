"""What a mount keeps open towards the outside on this node: connections, and who may work on what at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class Closable(Protocol):
    """Something that must be let go."""

    async def close(self) -> None:
        """Let go of it. Never raises; what is in use ends with its use."""


@dataclass(slots=True)
class _Turns:
    """Who works on something, and how many want to, whoever does included."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


class Held:
    """Made when this node begins to serve a mount, closed when it seals or no longer leads.

    `owner` names this one stay: a record that carries another was written before a crash or a change of leader. What
    is kept here can be made again from storage at any moment, so it says nothing that storage does not.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._kept: dict[str, tuple[int, Closable]] = {}
        self._turns: dict[str, _Turns] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def get(self, name: str, version: int) -> Any:
        """What is kept under this name as of this version of its settings, or None."""
        found = self._kept.get(name)
        return found[1] if found is not None and found[0] == version else None

    def put(self, name: str, version: int, thing: Closable) -> None:
        """Keep it, in the place of an older version, which is closed."""
        old = self._kept.pop(name, None)
        if old is not None:
            self._later(old[1])
        if self._is_closed:
            self._later(thing)
        else:
            self._kept[name] = (version, thing)

    def _later(self, thing: Closable) -> None:
        task = asyncio.get_running_loop().create_task(thing.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def drop(self, name: str) -> None:
        """Close what is kept under this name."""
        found = self._kept.pop(name, None)
        if found is not None:
            await found[1].close()

    def names(self) -> list[str]:
        """Under which names something is kept."""
        return sorted(self._kept)

    @contextlib.asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Hold the only right to work on something of this name in this process."""
        turns = self._turns.setdefault(name, _Turns())
        turns.wanted += 1
        try:
            async with turns.lock:
                yield
        finally:
            turns.wanted -= 1
            if not turns.wanted:
                del self._turns[name]

    async def close(self) -> None:
        """Close everything; what is put from now on is closed at once."""
        self._is_closed = True
        kept, self._kept = self._kept, {}
        for _, thing in kept.values():
            await thing.close()
