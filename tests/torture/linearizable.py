"""Whether the history of one key is linearizable: Wing and Gong's search with Lowe's memory of what was tried.

Sources: Wing and Gong, "Testing and Verifying Concurrent Objects", JPDC 17 (1993); Lowe, "Testing for
linearizability", Concurrency and Computation 29 (2017). No maintained Python package does this.

The object is one secret of KV version 2: the number of its newest version, and that version's value (None: deleted, or
never written). Every write's value is unique and every answer names its version, so that few orders are possible.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.torture.history import NEVER_NS, Kind, Operation, Outcome, that_count

STEPS_MAX: Final = 5_000_000

State = tuple[int, str | None]
START: Final[State] = (0, None)


class Undecided(Exception):
    """The search was given up; the history is neither shown right nor wrong."""


def after(state: State, operation: Operation) -> State | None:
    """The state after the operation took effect, or None if it cannot have answered so in this state."""
    version = state[0]
    known = operation.outcome is not Outcome.UNKNOWN
    match operation.kind:
        case Kind.READ:
            return state if (operation.version, operation.value) == state else None
        case Kind.DELETE:
            return (version, None)
        case Kind.PUT:
            pass
        case Kind.CAS:
            matches = operation.expected == version
            if operation.outcome is Outcome.MISMATCH:
                return None if matches else state
            if not matches:
                return None if known else state
    if known and operation.version != version + 1:
        return None
    return (version + 1, operation.value)


@dataclass(slots=True, eq=False)
class _Event:
    """A beginning or an end, in a list linked both ways, so that taking out and putting back is cheap."""

    number: int
    operation: Operation
    end: "_Event | None"  # of a beginning; None marks an end
    before: "_Event | None" = None
    behind: "_Event | None" = None

    def lift(self) -> None:
        """Take a beginning and its end out of the list."""
        assert self.end is not None
        for event in (self, self.end):
            assert event.before is not None
            event.before.behind = event.behind
            if event.behind is not None:
                event.behind.before = event.before

    def unlift(self) -> None:
        """Put them back, in the reverse order."""
        assert self.end is not None
        for event in (self.end, self):
            assert event.before is not None
            event.before.behind = event
            if event.behind is not None:
                event.behind.before = event


def _linked(operations: Iterable[Operation]) -> tuple[_Event, int]:
    times: list[tuple[int, int, _Event]] = []
    count = 0
    for number, operation in enumerate(operations):
        unknown = operation.outcome is Outcome.UNKNOWN
        end = _Event(number, operation, None)
        begin = _Event(number, operation, end)
        # At one instant a beginning comes first: both were there at that time.
        times.append((operation.start_ns, 0, begin))
        times.append((NEVER_NS if unknown else operation.end_ns, 1, end))
        count += 1
    times.sort(key=lambda row: row[:2])
    head = last = _Event(-1, times[0][2].operation, None)
    for _, _, event in times:
        last.behind, event.before = event, last
        last = event
    return head, count


class _Hints:
    """What the answers of a whole history say beforehand. It only ever leaves out orders that cannot explain them.

    Versions never go back, so what an answer says of a version must take effect while that is the newest; and an
    operation of unknown outcome need not take effect where nobody saw it.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._writer: dict[int, int] = {}  # version -> the operation whose answer names it
        self._seen: dict[int, set[str | None]] = defaultdict(set)  # version -> values that were read
        self._seen_at: dict[str, int] = {}  # value -> the version at which it was read
        self._within: dict[int, int] = defaultdict(int)  # version -> bits of what must be done before the next one
        for number, operation in enumerate(operations):
            if operation.outcome is not Outcome.OK or operation.kind is Kind.DELETE:
                continue
            self._within[operation.version] |= 1 << number
            if operation.kind is not Kind.READ:
                self._writer[operation.version] = number
                continue
            self._seen[operation.version].add(operation.value)
            if operation.value is not None:
                self._seen_at[operation.value] = operation.version

    def rule_out(self, state: State, following: State, number: int, operation: Operation, done: int) -> bool:
        """Whether this operation cannot, or need not, be the next one."""
        if operation.outcome is Outcome.UNKNOWN and not self._shows(state, following, operation):
            return True
        if following[0] == state[0]:
            return False
        missing = self._within[state[0]] & ~done
        return missing != 0 or self._writer.get(following[0], number) != number

    def _shows(self, state: State, following: State, operation: Operation) -> bool:
        version, value = following
        if operation.kind is Kind.DELETE:
            return state[1] is not None and None in self._seen[version]
        if following == state:
            return False
        if self.is_seen(operation):
            return self._seen_at[operation.value or ""] == version
        return not self._seen[version] - {None, value}

    def is_seen(self, operation: Operation) -> bool:
        """Whether somebody read what it wrote."""
        return operation.value in self._seen_at


def is_linearizable(history: Iterable[Operation], *, steps_max: int = STEPS_MAX) -> bool:
    """Whether some order of the operations explains every answer and keeps what ended before what began later.

    Operations of unknown outcome may take effect at any time from their beginning on, or never.
    Raises Undecided after `steps_max` steps.
    """
    operations = that_count(history)
    if not operations:
        return True
    hints = _Hints(operations)
    head, count = _linked(operations)
    state: State = START
    done = 0  # a bit for each operation that has taken effect
    tried = {(done, state)}
    path: list[tuple[_Event, State]] = []
    must = sum(1 << n for n, o in enumerate(operations) if o.outcome is not Outcome.UNKNOWN)
    alike: set[Kind] = set()  # kinds of unseen unknown operations that were looked at in this place
    event = head.behind
    for _ in range(steps_max):
        if done & must == must:
            return True
        assert event is not None  # the end of an operation that must be done comes before the list's
        if event.end is None:
            # An operation ends here and nothing that began before explains it: go back one decision.
            if not path:
                return False
            event, state = path.pop()
            done &= ~(1 << event.number)
            event.unlift()
            alike = {event.operation.kind} if _is_like_others(event.operation, hints) else set()
            event = event.behind
            continue
        following = _next_state(event, state, done, hints, alike)
        bits = done | 1 << event.number
        if following is None or (bits, following) in tried:
            event = event.behind
            continue
        done = bits
        tried.add((done, following))
        path.append((event, state))
        state = following
        event.lift()
        alike = set()
        event = head.behind
    raise Undecided(f"{count} operations")


def _next_state(event: _Event, state: State, done: int, hints: _Hints, alike: set[Kind]) -> State | None:
    operation = event.operation
    following = after(state, operation)
    if following is None or hints.rule_out(state, following, event.number, operation, done):
        return None
    if _is_like_others(operation, hints):
        # They never end, so those of one kind are interchangeable: the first that began can stand for all.
        if operation.kind in alike:
            return None
        alike.add(operation.kind)
    return following


def _is_like_others(operation: Operation, hints: _Hints) -> bool:
    return operation.outcome is Outcome.UNKNOWN and not hints.is_seen(operation)
