"""The server with one of its promises taken out: `python -m tests.torture.broken_server MUTANT server -config=...`.

The checkers must find each of these, or their silence about the real server means nothing.
"""

import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import node.serve
from cluster import group_commit
from cluster.errors import NoLeader
from cluster.group_commit import GroupCommit
from cluster.outcome import Outcome
from cluster.raft_store import RaftStore
from cluster.state import State
from cluster.store import Write
from engines.common.errors import EngineError
from node.cli.main import main
from node.identify import Identified
from node.request import Request
from node.unsealed import Unsealed
from node.view import OpenedStore

SHARE: Final = 0.1  # of the times that a mutant misbehaves, where always would keep the cluster from starting


def serve_without_lease() -> None:
    """Read the state without asking whether this node still leads."""

    def require_lease(self: RaftStore, since: int | None = None) -> None:
        pass

    RaftStore.require_lease = require_lease  # type: ignore[method-assign]


def refuse_without_lease() -> None:
    """Ask for answers, and not for refusals: what the torture test found first."""
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
            if waiting.is_sent and not waiting.answer.done():
                waiting.answer.set_result(1)

    GroupCommit.collect = collect  # type: ignore[method-assign]


def retry_unknown_outcomes() -> None:
    """Say of a write that may still happen that it never will: whoever asked it does it again."""
    vars(group_commit)["OutcomeUnknown"] = NoLeader


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
    "retry unknown outcomes": retry_unknown_outcomes,
    "keep cached entries": keep_cached_entries,
    "skip an entry": skip_an_entry,
    "give uses away": give_uses_away,
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    sys.exit(main())
