"""What clients did and saw: each operation with its beginning and end on one clock."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

NEVER_NS: Final = 1 << 62  # the end of an operation of which nobody learned the outcome


class Kind(StrEnum):
    """What a client asks of one key."""

    READ = "read"
    PUT = "put"
    CAS = "cas"
    DELETE = "delete"


class Outcome(StrEnum):
    """What a client knows afterwards. MISMATCH is an answer too: it says that the version was another one."""

    OK = "ok"
    MISMATCH = "mismatch"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of one client on one key. Times are nanoseconds of one monotonic clock.

    `value` is what it writes, or what it read (None: nothing). `version` is what the answer said, 0 without one.
    """

    client: int
    node: str
    kind: Kind
    key: str
    start_ns: int
    end_ns: int
    outcome: Outcome
    value: str | None = None
    version: int = 0
    expected: int = 0  # of a check-and-set: the version that it asks for
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """As it is written to a file."""
        return asdict(self)


class History:
    """Operations by key, recorded by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[str, list[Operation]] = defaultdict(list)
        self.counts: dict[str, int] = defaultdict(int)

    def add(self, operation: Operation) -> None:
        """Record one operation."""
        with self._lock:
            self._by_key[operation.key].append(operation)
            self.counts[f"{operation.kind} {operation.outcome}"] += 1

    def by_key(self) -> Mapping[str, list[Operation]]:
        """Everything recorded so far, by key."""
        with self._lock:
            return {key: list(operations) for key, operations in self._by_key.items()}

    def unexpected(self) -> list[Operation]:
        """Operations with an answer that no client should ever get."""
        return [o for operations in self.by_key().values() for o in operations if o.outcome is Outcome.UNEXPECTED]


def that_count(operations: Iterable[Operation]) -> list[Operation]:
    """Those that say something: what was never done, and reads without an answer, say nothing."""
    kept = []
    for operation in operations:
        if operation.outcome in (Outcome.NOT_DONE, Outcome.UNEXPECTED):
            continue
        if operation.outcome is Outcome.UNKNOWN and operation.kind is Kind.READ:
            continue
        kept.append(operation)
    return kept
