"""The server with one of its promises taken out: `python -m tests.torture.broken_server MUTANT server -config=...`.

The checkers must find each of these, or their silence about the real server means nothing.
"""

import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import node.serve
from cluster.errors import NoLeader, OutcomeUnknown
from cluster.group_commit import GroupCommit
from cluster.outcome import Outcome
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from cluster.state import State
from cluster.store import Write
from engines.common.errors import EngineError
from node.cli.main import main
from node.core import Core
from node.identify import Identified
from node.request import Request, WireRequest
from node.response import Response
from node.unsealed import Unsealed
from node.view import OpenedStore

SHARE: Final = 0.1  # of the times that a mutant misbehaves, where always would keep the cluster from starting


def _never_step_down() -> None:
    """A leader without followers goes on for half a minute, as the consensus library does by itself."""
    RaftSettings.fallback_s = property(lambda self: 30.0)  # type: ignore[assignment,method-assign]


def serve_without_lease() -> None:
    """Read the state without asking whether this node still leads."""
    _never_step_down()
    RaftStore.require_lease = lambda self, since=None: None  # type: ignore[method-assign]


def refuse_without_lease() -> None:
    """Ask for answers, and not for refusals: what the torture test found first."""
    _never_step_down()
    ask = RaftStore.require_lease

    def require_lease(self: RaftStore, since: int | None = None) -> None:
        if not isinstance(sys.exc_info()[1], EngineError):
            ask(self, since)

    RaftStore.require_lease = require_lease  # type: ignore[method-assign]


def acknowledge_before_commit() -> None:
    """Say that a write is true once it is proposed."""
    propose = GroupCommit.collect

    def collect(self: GroupCommit) -> None:
        gathered = list(self._gathered)
        propose(self)
        for waiting in gathered:
            is_secret = any("/metadata/" in write.key for write in waiting.writes)
            if is_secret and waiting.is_sent and not waiting.answer.done():
                waiting.answer.set_result(1)

    GroupCommit.collect = collect  # type: ignore[method-assign]


def forward_again() -> None:
    """Send a write to the next leader after the last one was lost with it, whatever became of it there."""
    forward = Core._forward

    async def forward_each(self: Core, wire: WireRequest, request_id: str) -> Response:
        try:
            return await forward(self, wire, request_id)
        except OutcomeUnknown:
            raise NoLeader("the leader was lost") from None

    Core._forward = forward_each  # type: ignore[method-assign]


def keep_cached_entries() -> None:
    """Forget to drop a changed entry from the cache, sometimes."""
    drop = OpenedStore._changed

    def changed(self: OpenedStore, keys: Collection[str]) -> None:
        if not keys or not any("/metadata/" in key for key in keys) or random.random() >= SHARE:
            drop(self, keys)

    OpenedStore._changed = changed  # type: ignore[method-assign]


def skip_an_entry() -> None:
    """Leave out a write of a secret when it is applied, on this node alone."""
    apply = State.apply

    def some_apply(self: State, index: int, term: int, sets: Iterable[Sequence[Write]]) -> list[Outcome]:
        kept = [[] if _is_unlucky(writes) else writes for writes in sets]
        return apply(self, index, term, kept)

    State.apply = some_apply  # type: ignore[method-assign]


def _is_unlucky(writes: Sequence[Write]) -> bool:
    return any("/metadata/set-" in write.key for write in writes) and random.random() < SHARE


def give_uses_away() -> None:
    """Look at the uses of a token and do not take one."""

    async def identify(unsealed: Unsealed, request: Request) -> Identified:
        return replace(await unsealed.identify(request), use_writes=())

    vars(node.serve)["_identify"] = identify


MUTANTS: Final[Mapping[str, Callable[[], Any]]] = {
    "serve without lease": serve_without_lease,
    "refuse without lease": refuse_without_lease,
    "acknowledge before commit": acknowledge_before_commit,
    "forward again": forward_again,
    "keep cached entries": keep_cached_entries,
    "skip an entry": skip_an_entry,
    "give uses away": give_uses_away,
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(main())
