"""The checker finds what is wrong, and nothing else: histories that are known to be good or bad."""

import random
from dataclasses import replace

import pytest

from tests.torture.history import Kind, Operation, Outcome
from tests.torture.linearizable import START, State, Undecided, after, is_linearizable


def op(kind: Kind, start: int, end: int, value: str | None = None, version: int = 0, **more: object) -> Operation:
    """An operation that was answered, unless told otherwise."""
    made = Operation(
        client=0, node="n1", kind=kind, key="k", start_ns=start, end_ns=end, outcome=Outcome.OK, value=value,
        version=version,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def put(start: int, end: int, value: str, version: int) -> Operation:
    return op(Kind.PUT, start, end, value, version)


def cas(start: int, end: int, value: str, expected: int, outcome: Outcome = Outcome.OK) -> Operation:
    return op(Kind.CAS, start, end, value, expected + 1, expected=expected, outcome=outcome)


def read(start: int, end: int, value: str | None, version: int) -> Operation:
    return op(Kind.READ, start, end, value, version)


def unknown(operation: Operation) -> Operation:
    return replace(operation, outcome=Outcome.UNKNOWN, version=0)


GOOD = {
    "nothing": [],
    "one after the other": [put(0, 1, "a", 1), read(2, 3, "a", 1), put(4, 5, "b", 2), read(6, 7, "b", 2)],
    "a read beside a write sees it": [put(0, 10, "a", 1), read(2, 3, "a", 1)],
    "a read beside a write does not see it": [put(0, 10, "a", 1), read(2, 3, None, 0)],
    "the longer write came first": [put(0, 10, "a", 1), put(1, 9, "b", 2), read(11, 12, "b", 2)],
    "the shorter write came first": [put(0, 10, "a", 2), put(1, 9, "b", 1), read(11, 12, "a", 2)],
    "an unknown write that was done": [unknown(put(0, 1, "a", 0)), read(5, 6, "a", 1)],
    "an unknown write that was never done": [unknown(put(0, 1, "a", 0)), read(5, 6, None, 0)],
    "an unknown write done late": [unknown(put(0, 1, "a", 0)), read(2, 3, None, 0), read(5, 6, "a", 1)],
    "of two check-and-sets one wins": [cas(0, 5, "a", 0), cas(1, 6, "b", 0, Outcome.MISMATCH), read(7, 8, "a", 1)],
    "an unknown check-and-set that lost": [put(0, 1, "a", 1), unknown(cas(2, 3, "b", 0)), read(4, 5, "a", 1)],
    "deleted": [put(0, 1, "a", 1), op(Kind.DELETE, 2, 3), read(4, 5, None, 1), put(6, 7, "b", 2)],
    "a delete that may have happened": [put(0, 1, "a", 1), unknown(op(Kind.DELETE, 2, 3)), read(4, 5, "a", 1)],
    "a read without an answer says nothing": [put(0, 1, "a", 1), unknown(read(2, 3, "zzz", 9))],
    "what was never done says nothing": [replace(put(0, 1, "a", 1), outcome=Outcome.NOT_DONE), read(2, 3, None, 0)],
}

BAD = {
    "a stale read": [put(0, 1, "a", 1), put(2, 3, "b", 2), read(4, 5, "a", 1)],
    "a stale read of nothing": [put(0, 1, "a", 1), read(2, 3, None, 0)],
    "a lost write": [put(0, 1, "a", 1), put(2, 3, "b", 1), read(4, 5, "b", 1)],
    "a read from the future": [read(0, 1, "a", 1), put(2, 3, "a", 1)],
    "a value nobody wrote": [read(0, 1, "a", 1)],
    "two reads beside a write in the wrong order": [put(0, 10, "a", 1), read(1, 2, "a", 1), read(3, 4, None, 0)],
    "both check-and-sets won": [cas(0, 5, "a", 0), cas(1, 6, "b", 0)],
    "a check-and-set refused by a stale node": [put(0, 1, "a", 1), cas(2, 3, "b", 1, Outcome.MISMATCH)],
    "an unknown write that came and went": [unknown(put(0, 1, "a", 0)), read(2, 3, "a", 1), read(4, 5, None, 0)],
    "an unknown write done twice": [unknown(put(0, 1, "a", 0)), read(2, 3, "a", 1), read(4, 5, "a", 2)],
    "an unknown write before it began": [read(0, 1, "a", 1), unknown(put(2, 3, "a", 0))],
    "a deleted value that came back": [put(0, 1, "a", 1), op(Kind.DELETE, 2, 3), read(4, 5, "a", 1)],
    "a split brain": [
        put(0, 1, "a", 1), put(2, 10, "b", 2), put(3, 11, "c", 2), read(12, 13, "b", 2), read(14, 15, "c", 2),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name: str) -> None:
    """What a correct store may answer is accepted."""
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_found(name: str) -> None:
    """What a correct store never answers is found."""
    assert not is_linearizable(BAD[name])


def generated(rng: random.Random, count: int) -> list[Operation]:
    """A history of a correct store: each operation takes effect at one instant between its beginning and its end."""
    state: State = START
    made = []
    for number in range(count):
        at = 100 * number
        kind = rng.choice(list(Kind))
        start, end = at - rng.randrange(1, 700), at + rng.randrange(1, 700)
        value = None if kind in (Kind.READ, Kind.DELETE) else f"v{number}"
        one = op(kind, start, end, value)
        if kind is Kind.READ:
            one = replace(one, version=state[0], value=state[1])
        elif kind is Kind.CAS:
            expected = max(0, state[0] - rng.choice((0, 0, 0, 1)))
            outcome = Outcome.OK if expected == state[0] else Outcome.MISMATCH
            one = replace(one, expected=expected, version=expected + 1, outcome=outcome)
        elif kind is Kind.PUT:
            one = replace(one, version=state[0] + 1)
        is_lost = kind is not Kind.READ and rng.random() < 0.1
        if not is_lost or rng.random() < 0.5:
            following = after(state, one)
            assert following is not None
            state = following
        made.append(unknown(one) if is_lost else one)
    rng.shuffle(made)
    return made


@pytest.mark.parametrize("seed", range(30))
def test_long_generated_histories(seed: int) -> None:
    """Two hundred overlapping operations with lost answers pass; with one read's answer changed they do not."""
    rng = random.Random(seed)
    history = generated(rng, 200)
    assert is_linearizable(history)
    reads = [n for n, o in enumerate(history) if o.kind is Kind.READ]
    changed = rng.choice(reads)
    history[changed] = replace(history[changed], value=f"{history[changed].value}?")
    assert not is_linearizable(history)


def test_gives_up_loudly() -> None:
    """A search that takes too long is not called a success."""
    with pytest.raises(Undecided):
        is_linearizable(generated(random.Random(1), 50), steps_max=10)
