"""Commits whose outcome got lost, and what is found out of it."""

from collections.abc import Sequence

import pytest

from cluster.errors import Conflict, NoLeader, OutcomeUnknown
from cluster.inmem import InmemStore
from cluster.store import Put, Write
from node.certain import commit_certainly

WITNESS = Put("a", b"mine", 0)
WRITES: list[Write] = [WITNESS, Put("b", b"2", 0)]


class Faulty(InmemStore):
    """Loses the outcome of some commits: each of `faults` says whether that commit is done, and what is said of it."""

    def __init__(self, *faults: tuple[bool, Exception]) -> None:
        super().__init__()
        self.faults = list(faults)

    async def commit(self, writes: Sequence[Write]) -> int:
        if not self.faults:
            return await super().commit(writes)
        is_done, error = self.faults.pop(0)
        if is_done:
            await super().commit(writes)
        raise error


async def test_a_commit_that_succeeds_is_done_once() -> None:
    """Nothing is looked for."""
    store = InmemStore()
    assert await commit_certainly(store, WRITES, WITNESS) is True
    assert store.applied_index == 1


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_lost_outcome_is_found_out(is_done: bool) -> None:
    """Whether the first commit took effect or not, in the end it has, once."""
    store = Faulty((is_done, OutcomeUnknown("lost")), (False, OutcomeUnknown("lost")), (False, NoLeader("none")))
    assert await commit_certainly(store, WRITES, WITNESS, look_s=10) is True
    assert store.applied_index == 1 and store.get("b") is not None


async def test_a_lost_outcome_that_took_effect_during_the_second_attempt() -> None:
    """The second commit is refused because the first one is there: that is success."""
    store = Faulty((False, OutcomeUnknown("lost")))
    original = store.commit

    async def late(writes: Sequence[Write]) -> int:
        if not store.faults and store.get("a") is None:
            await InmemStore.commit(store, WRITES)
        return await original(writes)

    store.commit = late  # type: ignore[method-assign]
    assert await commit_certainly(store, WRITES, WITNESS, look_s=10) is True
    assert store.applied_index == 1


async def test_what_certainly_did_not_happen_is_raised() -> None:
    """No leader at first, or somebody else's change instead of this one."""
    with pytest.raises(NoLeader):
        await commit_certainly(Faulty((False, NoLeader("none"))), WRITES, WITNESS)
    for faults in ([], [(False, OutcomeUnknown("lost"))]):
        store = Faulty()
        await store.commit([Put("a", b"theirs", 0)])
        store.faults = list(faults)
        with pytest.raises(Conflict):
            await commit_certainly(store, WRITES, WITNESS, look_s=10)


async def test_what_cannot_be_found_out_is_said() -> None:
    """No leader for as long as is looked: it may yet take effect, and the caller is told that nobody knows."""
    store = Faulty((False, OutcomeUnknown("lost")), *[(False, NoLeader("none"))] * 100)
    assert await commit_certainly(store, WRITES, WITNESS, look_s=0.3) is False
