"""The server as a later version might be: `python -m tests.processes.next_version WHAT server -config=...`.

WHAT is what that version has changed: `wire`, the protocol between nodes; or `entries`, the format of log entries, of
which it reads the old one too.
"""

import sys
from collections.abc import Sequence

import cluster.dialling
import cluster.group_commit
import cluster.raft_store
from cluster.entry import FORMAT_VERSION, encode
from cluster.state_machine import StateMachine
from cluster.store import Write
from cluster.wire import PROTOCOL_VERSION
from node.cli.main import main

NEXT_ENTRY_VERSION = 9


def next_wire() -> None:
    """Another version of the protocol."""
    cluster.dialling.PROTOCOL_VERSION = PROTOCOL_VERSION + 1  # type: ignore[attr-defined]


def next_entries() -> None:
    """Another version of the entries, and nothing else about them."""
    apply_entry = StateMachine.apply_entry

    def encode_next(sets: Sequence[Sequence[Write]]) -> bytes:
        return bytes((NEXT_ENTRY_VERSION,)) + encode(sets)[1:]

    def apply_either(self: StateMachine, index: int, term: int, body: bytes) -> object:
        if body[:1] == bytes((NEXT_ENTRY_VERSION,)):
            body = bytes((FORMAT_VERSION,)) + body[1:]
        return apply_entry(self, index, term, body)

    cluster.group_commit.encode = cluster.raft_store.encode = encode_next  # type: ignore[attr-defined]
    StateMachine.apply_entry = apply_either  # type: ignore[method-assign]


if __name__ == "__main__":
    {"wire": next_wire, "entries": next_entries}[sys.argv.pop(1)]()
    sys.exit(main())
