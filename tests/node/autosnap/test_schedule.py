"""The schedule: what is due by the records is taken, and every outcome ends in the status."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cluster.errors import Conflict, NoLeader, OutcomeUnknown, SnapshotRefused
from engines.common.context import Context, Outside
from engines.common.held import Held
from engines.common.plan import Delete, Put, Write
from node.autosnap.model import CONFIG_PREFIX, STATUS_PREFIX, AutoConfig, AutoStatus
from node.autosnap.schedule import AutoSnapshots, status_of
from tests.engines.memory_view import FixedSources, LostRaceError, MemoryView, Rig


class FakeTaken:
    """A snapshot of a few bytes."""

    def __init__(self) -> None:
        self.chunks = iter([b"archive"])
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class FakeSnapshots:
    """Takes one each time, or fails as it is told; waits for `gate` first."""

    def __init__(self) -> None:
        self.taken: list[FakeTaken] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def take(self) -> FakeTaken:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        self.taken.append(FakeTaken())
        return self.taken[-1]


class Schedule:
    """A schedule on records in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshots = FakeSnapshots()
        self.view, self.sources = MemoryView(), FixedSources()
        self.lost = False
        core: Any = SimpleNamespace(storage=SimpleNamespace(node_id="n1"), config=SimpleNamespace(storage=None))
        self.automatic = AutoSnapshots(core, cast(Any, self.snapshots))

    @property
    def ctx(self) -> Context:
        outside = Outside(self.commit, Held(""), lambda policy: "")
        return Rig(cast(Any, None), view=self.view, sources=self.sources, outside=outside).ctx

    async def commit(self, writes: Sequence[Write]) -> int:
        if self.lost:
            raise NoLeader("another node leads")
        try:
            self.view.commit(tuple(writes))
        except LostRaceError as error:
            raise Conflict(str(error)) from None
        return self.view.index

    def configure(self, name: str = "a", **changes: object) -> None:
        base = AutoConfig(
            interval=3600, path_prefix=str(self.folder / name), storage_type="local", local_max_space=1 << 20
        )
        config = replace(base, **changes)  # type: ignore[arg-type]  # each by its own name
        self.view.commit((Put(CONFIG_PREFIX + name, config.to_bytes()),))

    def status(self, name: str = "a") -> AutoStatus:
        return status_of(self.view.records.get(STATUS_PREFIX + name))

    async def tend(self) -> None:
        async with asyncio.timeout(20):
            await self.automatic.tend(self.ctx)

    def files(self, name: str = "a") -> list[str]:
        return sorted(path.name for path in (self.folder / name).iterdir())


@pytest.fixture
async def schedule(tmp_path: Path) -> Schedule:
    return Schedule(tmp_path)


async def test_nothing_configured(schedule: Schedule) -> None:
    """Nothing is done."""
    await schedule.tend()
    assert schedule.view.index == 0


async def test_taken_when_due(schedule: Schedule) -> None:
    """At once, and again an interval after; not in between, whoever looks: what is stored decides."""
    schedule.configure()
    await schedule.tend()
    first = schedule.status()
    assert (first.failures, first.last_error, first.is_open) == (0, "", False)
    assert first.last_url == f"file://{schedule.folder}/a/{schedule.files()[0]}"
    assert all(taken.is_closed for taken in schedule.snapshots.taken)
    schedule.sources.advance_s(3599)
    await schedule.tend()
    assert schedule.status() == first
    after_restart = Schedule(schedule.folder)
    after_restart.view, after_restart.sources = schedule.view, schedule.sources
    await after_restart.tend()
    assert schedule.status() == first
    schedule.sources.advance_s(1)
    await after_restart.tend()
    assert schedule.status().start_ms == first.start_ms + 3_600_000
    assert len(schedule.files()) == 1, "one is kept"


async def test_failures(schedule: Schedule) -> None:
    """The last error is in the status; it is tried again after a while, and the older snapshot stays known."""
    schedule.configure()
    await schedule.tend()
    good = schedule.status()
    schedule.snapshots.error = SnapshotRefused("no room on the disk")
    schedule.sources.advance_s(3600)
    await schedule.tend()
    bad = schedule.status()
    assert (bad.failures, bad.last_error, bad.last_url) == (1, "no room on the disk", good.url)
    schedule.sources.advance_s(29)
    await schedule.tend()
    assert schedule.status() == bad
    schedule.sources.advance_s(1)
    await schedule.tend()
    assert schedule.status().failures == 2
    schedule.snapshots.error = OSError(28, "No space left on device")
    schedule.sources.advance_s(60)
    await schedule.tend()
    assert "No space left on device" in schedule.status().last_error
    schedule.snapshots.error = RuntimeError("quotes a secret")
    schedule.sources.advance_s(120)
    await schedule.tend()
    assert schedule.status().last_error == "an internal error; see the server's log"
    schedule.snapshots.error = None
    schedule.sources.advance_s(240)
    await schedule.tend()
    assert (schedule.status().failures, schedule.status().last_error) == (0, "")


async def test_a_mended_configuration_is_tried_at_once(schedule: Schedule) -> None:
    """A folder that cannot be made, then one that can."""
    schedule.configure(path_prefix=str(schedule.folder / "absent" / "a"))
    await schedule.tend()
    assert "does not exist on this node" in schedule.status().last_error
    schedule.configure()
    await schedule.tend()
    assert (schedule.status().failures, len(schedule.files())) == (0, 1)


async def test_an_attempt_that_was_cut_off(schedule: Schedule) -> None:
    """Its beginning without an end counts as a failure; the next leader tries again, a little later."""
    schedule.configure()
    schedule.snapshots.gate.clear()
    task = asyncio.get_running_loop().create_task(schedule.tend())
    while not schedule.snapshots.waiting:
        await asyncio.sleep(0)
    assert schedule.status().is_open
    task.cancel()
    await asyncio.wait([task])
    schedule.snapshots.gate.set()
    await schedule.tend()
    cut = schedule.status()
    assert (cut.failures, cut.is_open) == (1, False)
    assert "interrupted" in cut.last_error
    schedule.sources.advance_s(30)
    await schedule.tend()
    assert (schedule.status().failures, len(schedule.files())) == (0, 1)


async def test_leadership_is_lost_in_the_middle(schedule: Schedule) -> None:
    """What became of the attempt cannot be written down here: that is for the next leader."""
    schedule.configure()
    schedule.snapshots.gate.clear()
    task = asyncio.get_running_loop().create_task(schedule.tend())
    while not schedule.snapshots.waiting:
        await asyncio.sleep(0)
    schedule.lost = True
    schedule.snapshots.gate.set()
    with pytest.raises(NoLeader):
        await task
    assert schedule.status().is_open


async def test_an_outcome_that_cannot_be_stored(schedule: Schedule) -> None:
    """What is stored says then that the attempt was cut off, and it is tried again."""
    schedule.configure()
    commit, commits = schedule.commit, 0

    async def fails_at_the_end(writes: Sequence[Write]) -> int:
        nonlocal commits
        commits += 1
        if commits == 2:  # the first is the beginning of the attempt
            raise OutcomeUnknown("time ran out")
        return await commit(writes)

    schedule.commit = fails_at_the_end  # type: ignore[method-assign]
    await schedule.tend()
    assert (schedule.status().failures, schedule.status().is_open) == (1, False)
    assert "interrupted" in schedule.status().last_error
    schedule.sources.advance_s(30)
    await schedule.tend()
    assert schedule.status().failures == 0


async def test_a_lease_that_is_missing_for_a_moment(schedule: Schedule) -> None:
    """The node leads still, and can say so in the store: the attempt has failed, like any other."""
    schedule.configure()
    schedule.snapshots.error = NoLeader("this node is not the active node of the cluster")
    await schedule.tend()
    assert (schedule.status().failures, schedule.status().is_open) == (1, False)


async def test_a_slow_one_delays_no_other(schedule: Schedule) -> None:
    """Each has its own attempt, and none is begun twice."""
    schedule.configure("slow")
    schedule.snapshots.gate.clear()
    task = asyncio.get_running_loop().create_task(schedule.tend())
    while not schedule.snapshots.waiting:
        await asyncio.sleep(0)
    schedule.snapshots.gate = asyncio.Event()
    schedule.snapshots.gate.set()
    schedule.configure("fast")
    async with asyncio.timeout(20):
        while schedule.status("fast").last_end_ms == 0:
            await asyncio.sleep(0.05)
    assert schedule.status("slow").is_open
    assert schedule.snapshots.waiting == 1
    task.cancel()
    await asyncio.wait([task])


async def test_deleted_while_it_is_at_work(schedule: Schedule) -> None:
    """The end of the attempt does not bring its status back."""
    schedule.configure()
    schedule.snapshots.gate.clear()
    task = asyncio.get_running_loop().create_task(schedule.tend())
    while not schedule.snapshots.waiting:
        await asyncio.sleep(0)
    schedule.view.commit((Delete(CONFIG_PREFIX + "a"), Delete(STATUS_PREFIX + "a")))
    schedule.snapshots.gate.set()
    await task
    assert not schedule.view.records


async def test_changed_while_it_is_at_work(schedule: Schedule) -> None:
    """The attempt ends under the old configuration, and its outcome is known."""
    schedule.configure()
    schedule.snapshots.gate.clear()
    task = asyncio.get_running_loop().create_task(schedule.tend())
    while not schedule.snapshots.waiting:
        await asyncio.sleep(0)
    schedule.configure(interval=60)
    schedule.snapshots.gate.set()
    await task
    assert (schedule.status().is_open, schedule.status().failures) == (False, 0)
