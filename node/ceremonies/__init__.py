"""Key ceremonies: what a quorum of key holders decides together, share by share, on the active node.

Invariant: progress is in the memory of the active node alone and bound to the term in which it leads. When another
node becomes active, or this one seals, every ceremony is over, its shares are gone, and what was valid before still is.
There is at most one of each kind, and what one holds is bounded: some shares, some public keys.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from engines.common.errors import InvalidRequest
from node.ceremonies.ceremony import Ceremony
from node.ceremonies.generation import Generation
from node.ceremonies.rekey import Answered, Rekey, Target

T = TypeVar("T")

ENDED: Final = "a ceremony ends when another node becomes active or this one seals: start again"


@dataclass(slots=True)
class Ceremonies:
    """Those under way on this node. `lock` is held by whoever changes one, over every await.

    `answered` holds the results of rekeys for those who may not have got them. `working` are steps that go on though
    nobody waits for them any more.
    """

    rekeys: dict[Target, Rekey] = field(default_factory=dict, repr=False)
    generation: Generation | None = field(default=None, repr=False)
    answered: dict[Target, Answered] = field(default_factory=dict, repr=False)
    working: set[asyncio.Task[Any]] = field(default_factory=set, repr=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def end_all(self) -> None:
        """Drop everything: this node is no longer the one that holds ceremonies."""
        self.rekeys.clear()
        self.answered.clear()
        self.generation = None

    def end_of_other_terms(self, raft_term: int) -> None:
        """Drop what began in another term of leadership, though nobody has told this node of the change yet."""
        for target in [target for target, rekey in self.rekeys.items() if rekey.raft_term != raft_term]:
            del self.rekeys[target]
        if self.generation is not None and self.generation.raft_term != raft_term:
            self.generation = None

    async def to_its_end(self, step: Coroutine[Any, Any, T]) -> T:
        """Do a step of a ceremony, also when the request that asked for it is cut off in the middle.

        What it may have committed by then has a result, which must be kept for whoever asks again.
        """
        task = asyncio.get_running_loop().create_task(step)
        self.working.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.working.discard(task)
        if not task.cancelled():
            task.exception()  # told to the request, if that still waits

    def rekey(self, target: Target) -> Rekey:
        """The rekey under way. Raises InvalidRequest."""
        if target not in self.rekeys:
            raise InvalidRequest(f"no rekey in progress; {ENDED}")
        return self.rekeys[target]

    def root_generation(self) -> Generation:
        """The generation of a root token under way. Raises InvalidRequest."""
        if self.generation is None:
            raise InvalidRequest(f"no root generation in progress; {ENDED}")
        return self.generation


__all__ = ["Ceremonies", "Ceremony", "Generation", "Rekey", "Target"]
