"""The server that kills itself at a named step: `python -m tests.processes.dying_server server -config=...`.

The step is named by a file, whose path is in DIES_AT; it is removed first, so that the process lives after a restart.
"""

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import node.snapshots
from cluster.disk import RealDisk
from cluster.raft_store import RaftStore
from cluster.restore_transfer import RestoreReceiver
from cluster.state import State
from cluster.table import Table
from node.cli.main import main
from node.snapshots import Snapshots
from node.storage import RaftStorage
from tests.processes.cluster import Node

BEFORE: Final = "before"
AFTER: Final = "after"

# In the order in which they come. Another node takes the stream and stages it between two of the leader's.
STEPS: Final[dict[str, tuple[Any, str, str]]] = {
    "save: not spooled": (Snapshots, "_spool", BEFORE),
    "save: spooled": (Snapshots, "_spool", AFTER),
    "receiving": (Snapshots, "_require_room", BEFORE),
    "received": (node.snapshots, "unpack", BEFORE),
    "unpacked": (node.snapshots, "unpack", AFTER),
    "checked": (Snapshots, "_kept_authority", AFTER),
    "index reserved": (RaftStore, "reserve_index", AFTER),
    "rewritten": (Snapshots, "_rewrite", AFTER),
    "staging": (Table, "load", AFTER),
    "staged": (RaftStore, "stage_restore", AFTER),
    "staged by all": (RaftStore, "restore", BEFORE),
    "applying": (State, "apply_restore", BEFORE),
    "applied": (State, "apply_restore", AFTER),
    "committed": (RaftStorage, "restore", AFTER),
    "taking the stream": (RestoreReceiver, "_take", AFTER),
}
SENDING: Final = "save: being sent"
RENAMING: Final = "between the renames"


def mortal(where: Node) -> None:
    """Let a node run this program; `doom` then tells it when to die."""
    where.program = (sys.executable, "-m", "tests.processes.dying_server")
    where.environment["DIES_AT"] = str(_order(where))


def doom(where: Node, step: str) -> None:
    """Let it die the next time that it comes to this step."""
    _order(where).write_text(step)


def spare(where: Node) -> None:
    """Let it live after all."""
    _order(where).unlink(missing_ok=True)


def _order(where: Node) -> Path:
    return where.folder / f"{where.name}.dies-at"


def _reached(step: str) -> None:
    order = Path(os.environ["DIES_AT"])
    try:
        if order.read_text() != step:
            return
        order.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _guarded(step: str, work: Callable[..., Any], when: str) -> Callable[..., Any]:
    @functools.wraps(work)
    def call(*given: Any, **named: Any) -> Any:
        if when == BEFORE:
            _reached(step)
        result = work(*given, **named)
        if when == AFTER:
            _reached(step)
        return result

    @functools.wraps(work)
    async def call_async(*given: Any, **named: Any) -> Any:
        if when == BEFORE:
            _reached(step)
        result = await work(*given, **named)
        if when == AFTER:
            _reached(step)
        return result

    return call_async if inspect.iscoroutinefunction(work) else call


def _arm() -> None:
    for step, (owner, name, when) in STEPS.items():
        setattr(owner, name, _guarded(step, getattr(owner, name), when))
    pack, rename = vars(node.snapshots)["pack"], RealDisk.rename

    def dying_pack(*given: Any) -> Iterator[bytes]:
        for number, chunk in enumerate(pack(*given)):
            if number == 8:
                _reached(SENDING)
            yield chunk

    def dying_rename(self: RealDisk, old: Path, new: Path) -> None:
        rename(self, old, new)
        if new.name == "vault.db.old":
            _reached(RENAMING)

    vars(node.snapshots)["pack"] = dying_pack
    RealDisk.rename = dying_rename  # type: ignore[method-assign]


if __name__ == "__main__":
    _arm()
    sys.exit(main(sys.argv[1:]))
