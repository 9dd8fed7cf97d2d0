"""Export and import of the state: whole or not at all, whatever is damaged and wherever a crash cuts in."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import swap
from cluster.disk import RealDisk
from cluster.errors import SnapshotDamaged
from cluster.snapshot import CHUNK_BYTES_MAX
from cluster.state import State
from cluster.store import Delete, Put, Stored


def opened(folder: Path) -> State:
    folder.mkdir(exist_ok=True)
    return State(folder, lambda call: call(), threaded=False)


def exported(folder: Path, count: int = 300) -> Path:
    """The stream of a state at index 7, term 3."""
    state = opened(folder)
    state.apply(6, 2, [[Put(f"a/{i}", bytes(100)) for i in range(count)], [Put("long" * 500, b"v"), Put("gone", b"")]])
    state.set_peers(b"peers")
    state.apply(7, 3, [[Put("big", bytes(1_000_000)), Delete("gone")]])
    stream = folder / "snapshot"
    with state.export() as snapshot, stream.open("wb") as file:
        assert (snapshot.index, snapshot.term, snapshot.peers) == (7, 3, b"peers")
        state.apply(8, 3, [[Put("later", b"")]])
        state.flush_now()
        for chunk in snapshot:
            assert 0 < len(chunk) <= CHUNK_BYTES_MAX
            file.write(chunk)
    state.close()
    return stream


def test_round_trip(tmp_path: Path) -> None:
    """Another node has the same entries, indexes and peers after it, keeps its local table, and tells its watchers."""
    stream = exported(tmp_path / "one")
    other = opened(tmp_path / "two")
    other.apply(1, 1, [[Put("own", b"")]])
    other.local_put("name", b"local")
    heard: list[int] = []
    other.watch(lambda keys: heard.append(len(keys)))
    other.import_from(stream)
    state = other
    for restarted in (False, True):
        if restarted:
            other.close()
            state = opened(tmp_path / "two")
        entries = dict(state.scan(""))
        assert len(entries) == 302
        assert (entries["a/7"], entries["long" * 500]) == (Stored(bytes(100), 6), Stored(b"v", 6))
        assert entries["big"] == Stored(bytes(1_000_000), 7)
        assert (state.applied_index, state.durable_index, state.peers()) == (7, 7, b"peers")
        assert state.local_get("name") == b"local"
    assert heard == [0]


def test_a_damaged_stream_touches_nothing(tmp_path: Path) -> None:
    """Cut anywhere, flipped anywhere, or followed by more: refused, and the state is as it was."""
    whole = exported(tmp_path / "one", count=20).read_bytes()
    state = opened(tmp_path / "two")
    state.apply(1, 1, [[Put("own", b"1")]])
    rng = random.Random(4)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(40)] + [whole[:-1], b"", whole + b"x", whole + whole]
    for offset in [*range(60), *(rng.randrange(len(whole)) for _ in range(60)), *range(len(whole) - 20, len(whole))]:
        damaged.append(whole[:offset] + bytes((whole[offset] ^ 1 << offset % 8,)) + whole[offset + 1 :])
    stream = tmp_path / "damaged"
    for data in damaged:
        stream.write_bytes(data)
        with pytest.raises(SnapshotDamaged):
            state.import_from(stream)
    assert (state.get("own"), state.applied_index) == (Stored(b"1", 1), 1)
    assert not (tmp_path / "two" / swap.NEW).exists()
    state.close()


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 7))
def test_a_crash_between_the_steps_of_the_swap(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever rename, fsync or removal is the last to happen, the next start has the old state or the new, whole."""
    stream = exported(tmp_path / "one", count=20)
    state = opened(tmp_path / "two")
    state.apply(1, 1, [[Put("own", b"1")]])
    state.flush_now()
    state.local_put("name", b"local")
    state.prepare_import(stream)
    count = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def step_of(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise Crash
            return call(*args, **kwargs)

        return step_of

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        patch.setattr(RealDisk, "rename", counted(RealDisk.rename))
        patch.setattr(RealDisk, "sync_folder", counted(RealDisk.sync_folder))
        with pytest.raises(Crash):
            state.finish_import()
    again = opened(tmp_path / "two")
    if again.get("own") is not None:
        assert (again.applied_index, again.list("")) == (1, ["own"])
    else:
        assert (again.applied_index, len(list(again.scan("")))) == (7, 22)
    assert again.local_get("name") == b"local"
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["vault.db"]
    again.close()


def test_a_closed_snapshot_says_so(tmp_path: Path) -> None:
    """Reading on after the view was let go is an error, never a short stream that looks whole."""
    state = opened(tmp_path)
    for index in range(1, 5):
        state.apply(index, 1, [[Put(f"{index}", bytes(CHUNK_BYTES_MAX))]])
    snapshot = state.export()
    chunks = iter(snapshot)
    next(chunks)
    snapshot.close()
    with pytest.raises(SnapshotDamaged, match="interrupted"):
        for _ in chunks:
            pass
    state.close()
