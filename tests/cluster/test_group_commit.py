"""Gathering writes into entries."""

import asyncio
from collections.abc import Callable

import pytest

from cluster.entry import decode
from cluster.errors import NoLeader, OutcomeUnknown
from cluster.group_commit import AppliedEntry, GroupCommit
from cluster.outcome import APPLIED
from cluster.pysyncobj_seams import Refusal
from cluster.raft_settings import RaftSettings
from cluster.store import Put


class Proposed:
    """What reached the log, and the answers it waits for."""

    def __init__(self, **settings: float) -> None:
        self.entries: list[tuple[int, Callable[[object], None]]] = []
        self.bodies: list[bytes] = []
        self.group = GroupCommit(RaftSettings(**settings), self._propose, self._wake)  # type: ignore[arg-type]

    def _propose(self, body: bytes, done: Callable[[object], None]) -> None:
        self.entries.append((len(decode(body)), done))
        self.bodies.append(body)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self.group.collect)

    def write(self, value: bytes = b"v") -> asyncio.Task[int]:
        return asyncio.ensure_future(self.group.commit([Put("key", value)]))


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_what_comes_in_one_turn_shares_an_entry() -> None:
    """Ten writers of one turn cost one entry, and each gets its index."""
    log = Proposed()
    writes = [log.write() for _ in range(10)]
    await turn()
    ((sets, done),) = log.entries
    assert sets == 10
    done(AppliedEntry(7, [APPLIED] * 10))
    assert await asyncio.gather(*writes) == [7] * 10


async def test_own_sets_are_those_of_the_entry() -> None:
    """While an entry is on its way its sets are known, just as decoding gives them; not before, and not afterwards."""
    log = Proposed()
    writes = [log.write(value) for value in (b"a", b"b")]
    await turn()
    (body,) = log.bodies
    assert log.group.own_sets(body) == decode(body)
    assert log.group.own_sets(body + b"x") is None
    log.entries[0][1](AppliedEntry(1, [APPLIED] * 2))
    assert log.group.own_sets(body) is None
    await asyncio.gather(*writes)


async def test_an_entry_is_bounded() -> None:
    """Sets that do not fit into one entry are spread; what may not be on its way yet waits."""
    log = Proposed(max_entry_size=1000)
    writes = [log.write(b"x" * 400) for _ in range(6)]
    await turn()
    assert [sets for sets, _ in log.entries] == [2, 2]
    log.entries[0][1](AppliedEntry(1, [APPLIED] * 2))
    await turn()
    assert [sets for sets, _ in log.entries] == [2, 2, 2]
    for write in writes:
        write.cancel()


async def test_refusals_become_errors() -> None:
    """Never appended is safe to repeat, unknown is not."""
    for refusal, error in ((Refusal.NEVER, NoLeader), (Refusal.UNKNOWN, OutcomeUnknown)):
        log = Proposed()
        write = log.write()
        await turn()
        log.entries[0][1](refusal)
        with pytest.raises(error):
            await write


async def test_time_runs_out() -> None:
    """A write that was sent is of unknown outcome; one that still gathers never happens, and is not sent later."""
    log = Proposed(commit_timeout_s=0.05)
    sent = [log.write()]
    await turn()
    sent.append(log.write())
    await turn()
    gathered = log.write()
    for write in sent:
        with pytest.raises(OutcomeUnknown):
            await write
    with pytest.raises(NoLeader):
        await gathered
    log.entries[0][1](AppliedEntry(1, [APPLIED]))
    await turn()
    assert len(log.entries) == 2


async def test_memory_is_bounded() -> None:
    """Who comes when too much waits is turned away."""
    log = Proposed(gathered_bytes_max=1000)
    first = log.write(b"x" * 600)
    second = log.write(b"x" * 600)
    with pytest.raises(NoLeader):
        await second
    first.cancel()


async def test_a_set_that_cannot_be_encoded_harms_no_other() -> None:
    """An empty key is its writer's error alone."""
    log = Proposed()
    good = log.write()
    bad = asyncio.ensure_future(log.group.commit([Put("", b"")]))
    await turn()
    log.entries[0][1](AppliedEntry(1, [APPLIED]))
    assert await good == 1
    with pytest.raises(ValueError, match="key"):
        await bad
