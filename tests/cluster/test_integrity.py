"""Bit rot, misdirected and lost writes in the state file: refused, or without effect; never a key lost in silence."""

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.errors import DataFolderRefused, StorageFailed
from cluster.integrity import check_file
from cluster.lmdb_check import FileDamaged, newest_transaction
from cluster.lmdb_walk import Walk
from cluster.snapshot import records, verify
from cluster.state import State
from cluster.store import Delete, Put, Stored, Write
from cluster.table import Table

PAGE_BYTES = 4096
Contents = dict[str, Stored]


def opened(folder: Path) -> State:
    return State(folder, lambda call: call(), threaded=False)


def contents(state: State) -> Contents:
    """Everything, by walking; and by its key, and by its name in its folder: the ways in which a key could be lost."""
    found = dict(state.scan(""))
    assert all(state.get(key) == stored for key, stored in found.items())
    names = {folder + name for folder in {key[: key.rindex("/") + 1] for key in found} for name in state.list(folder)}
    assert set(found) <= names
    return found


@dataclass
class Filled:
    """A state after many flushes: what it held after each of them, and the file as it was then."""

    folder: Path
    by_index: dict[int, Contents]
    images: list[bytes]

    @property
    def file(self) -> Path:
        return self.folder / "vault.db" / "data.mdb"


def fill(folder: Path, rng: random.Random, flushes: int) -> Filled:
    state = opened(folder)
    filled = Filled(folder, {}, [])
    state.set_peers(b"the peers")
    for index in range(1, flushes + 1):
        sets: list[list[Write]] = []
        for _ in range(rng.choice((1, 30, 60))):
            key = f"logical/{rng.randrange(4)}/{rng.randrange(400):06d}"
            if rng.random() < 0.03:
                key += "/" + "long" * rng.randrange(20, 300)
            size = rng.choice((0, 50, 300, 300, 300, 2500, 6000))
            sets.append([Delete(key) if rng.random() < 0.3 else Put(key, rng.randbytes(size))])
        state.apply(index, 1, sets)
        state.flush_now()
        if index % 10 == 0:
            state.local_put(f"local/{index % 40}", rng.randbytes(60))
        filled.by_index[index] = contents(state)
        filled.images.append(filled.file.read_bytes())
    state.close()
    filled.images[-1] = filled.file.read_bytes()
    return filled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(tmp_path_factory.mktemp("state"), random.Random(20), 60)


def flip(rng: random.Random, image: bytearray, filled: Filled) -> None:
    """One bit."""
    image[rng.randrange(len(image))] ^= 1 << rng.randrange(8)


def flip_in_use(rng: random.Random, image: bytearray, filled: Filled) -> None:
    """One bit in the header of a page, or among the offsets of its nodes."""
    image[rng.randrange(len(image) // PAGE_BYTES) * PAGE_BYTES + rng.randrange(64)] ^= 1 << rng.randrange(8)


def garbage(rng: random.Random, image: bytearray, filled: Filled) -> None:
    """A sector of zeros or of noise."""
    at = rng.randrange(len(image) // 512) * 512
    image[at : at + 512] = bytes(512) if rng.random() < 0.5 else rng.randbytes(512)


def misdirect(rng: random.Random, image: bytearray, filled: Filled) -> None:
    """A page that was written to the place of another one."""
    there, here = (rng.randrange(len(image) // PAGE_BYTES) * PAGE_BYTES for _ in range(2))
    image[here : here + PAGE_BYTES] = image[there : there + PAGE_BYTES]


def lose(rng: random.Random, image: bytearray, filled: Filled) -> None:
    """A page, or a sector, that was never written: what it was in an earlier version of the file."""
    old = rng.choice(filled.images[-8:-1])
    size = rng.choice((512, PAGE_BYTES))
    differs = [
        at
        for at in range(0, min(len(old), len(image)) - size + 1, size)
        if old[at : at + size] != image[at : at + size]
    ]
    at = rng.choice(differs)
    image[at : at + size] = old[at : at + size]


KINDS = (flip, flip_in_use, garbage, misdirect, lose)
# How many of the damages must be found at least: the others hit pages that are free, or room that nothing uses.
FOUND_MIN = {flip: 0.3, flip_in_use: 0.1, garbage: 0.3, misdirect: 0.3, lose: 0.3}


def damage_many_times(filled: Filled, kind: Callable[..., None], rounds: int) -> None:
    found = 0
    last = max(filled.by_index)
    folder = filled.folder.parent / f"damaged-{kind.__name__}"
    shutil.copytree(filled.folder, folder)
    for seed in range(rounds):
        rng = random.Random(f"{kind.__name__} {seed}")
        image = bytearray(filled.images[-1])
        kind(rng, image, filled)
        (folder / "vault.db" / "data.mdb").write_bytes(image)
        try:
            state = opened(folder)
        except DataFolderRefused as error:
            assert "is damaged" in str(error), f"{kind.__name__} {seed}"
            assert "raft remove-peer" in str(error), f"{kind.__name__} {seed}"
            found += 1
            continue
        # A meta page that is lost leaves the state of the transaction before: the journal has what follows.
        assert contents(state) == filled.by_index[state.applied_index], f"{kind.__name__} {seed}"
        assert state.applied_index >= last - 8, f"{kind.__name__} {seed}"
        # And what LMDB does on these pages from now on is right too.
        state.apply(last + 1, 1, [[Put(f"new/{at}", rng.randbytes(300)) for at in range(50)]])
        state.flush_now()
        state.close()
        check_file(folder / "vault.db" / "data.mdb")
    shutil.rmtree(folder)
    assert found >= rounds * FOUND_MIN[kind], f"{kind.__name__}: {found} of {rounds}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damage_is_refused_or_has_no_effect(filled: Filled, kind: Callable[..., None]) -> None:
    """Whatever happened to the file: the node refuses to start, or holds exactly what it held."""
    damage_many_times(filled, kind, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damage_is_refused_or_has_no_effect_at_length(filled: Filled, kind: Callable[..., None]) -> None:
    """The same, many more times."""
    damage_many_times(filled, kind, 1000)


def test_a_file_that_was_put_together_well_is_accepted(tmp_path: Path) -> None:
    """After each of many flushes the file passes: none of what LMDB does looks like damage. It owns every page once."""
    rng = random.Random(5)
    state = opened(tmp_path)
    file = tmp_path / "vault.db" / "data.mdb"
    for index in range(1, 80):
        keys = [f"k/{rng.randrange(3000)}" for _ in range(rng.choice((1, 100, 400)))]
        share = 0.2 if index % 40 < 25 else 0.8
        state.apply(
            index,
            1,
            [
                [Delete(key) if rng.random() < share else Put(key, bytes(rng.choice((10, 400, 2030, 9000))))]
                for key in keys
            ],
        )
        state.flush_now()
        check_file(file)
    state.close()
    fd = os.open(file, os.O_RDONLY)
    walk = Walk(fd, newest_transaction(fd))
    walk.free_pages()
    for table in walk.databases().values():
        for _ in walk.rows(table):
            pass
    os.close(fd)
    assert all(walk._owned)


def rot(file: Path, value: bytes) -> None:
    """Flip one bit of this value, wherever it is in the file."""
    data = file.read_bytes()
    at = data.index(value)
    with file.open("r+b") as damaged:
        damaged.seek(at)
        damaged.write(bytes((data[at] ^ 1,)))


def worn(tmp_path: Path) -> tuple[State, list[StorageFailed]]:
    """A running state in whose file a bit has rotted."""
    state = State(tmp_path, asyncio.get_running_loop().call_soon_threadsafe)
    failures: list[StorageFailed] = []
    state.on_failed = failures.append
    state.apply(1, 1, [[Put(f"k/{at}", b"value %d" % at * 20) for at in range(500)]])
    state.flush_now()
    rot(tmp_path / "vault.db" / "data.mdb", b"value 77value 77")
    return state, failures


async def test_a_running_node_that_finds_damage_stops(tmp_path: Path) -> None:
    """The check beside the work tells it as a failure of the storage, with the remedy; nothing is taken after it."""
    state, failures = worn(tmp_path)
    await state.check()
    assert len(failures) == 1
    assert "is damaged: a record is damaged; the node stops" in str(failures[0])
    assert "raft remove-peer" in str(failures[0])
    with pytest.raises(StorageFailed):
        state.apply(2, 1, [])
    state.close()


async def test_the_check_goes_on_beside_writes(tmp_path: Path) -> None:
    """What is written during a check, also over the pages it reads, does not look like damage."""
    state = State(tmp_path, asyncio.get_running_loop().call_soon_threadsafe)
    failures: list[StorageFailed] = []
    state.on_failed = failures.append
    index = 0
    for _ in range(4):
        state.apply(index := index + 1, 1, [[Put(f"k/{at}", bytes(600)) for at in range(4000)]])
        state.flush_now()
    check = asyncio.ensure_future(state.check())
    while not check.done():
        state.apply(index := index + 1, 1, [[Put(f"k/{at}", os.urandom(600)) for at in range(index % 7, 4000, 7)]])
        await state.flush()
    await check
    await state.check()
    assert (failures, index > 6) == ([], True)
    state.close()


async def test_a_check_ends_with_its_view(tmp_path: Path) -> None:
    """Where the map has to grow, the check is given up, and what it may have seen by then counts for nothing."""
    state, _ = worn(tmp_path)
    seen = state._table.begin_check()
    with pytest.raises(FileDamaged):
        seen.run()
    seen.close()
    unseen = state._table.begin_check()
    state._views.add(unseen)
    state._grow()
    unseen.run()
    state.close()


async def test_a_damaged_state_is_not_handed_on(tmp_path: Path) -> None:
    """A snapshot of a damaged state does not come to its end, for a follower or a backup, and the node stops."""
    state, failures = worn(tmp_path)
    reader = state.export()
    with pytest.raises(StorageFailed, match="is damaged"):
        list(reader)
    reader.close()
    await asyncio.sleep(0)
    assert len(failures) == 1
    state.close()


def test_a_snapshot_keeps_the_sum(tmp_path: Path) -> None:
    """What is read in from a stream has the fingerprints of what was written, long keys too."""
    (tmp_path / "one").mkdir()
    filled = fill(tmp_path / "one", random.Random(3), 20)
    state = opened(filled.folder)
    stream = tmp_path / "stream"
    with state.export() as reader:
        stream.write_bytes(b"".join(reader))
    state.close()
    assert verify(stream).index == 20
    assert len(list(records(stream))) == len(filled.by_index[20])
    (tmp_path / "two").mkdir()
    other, first = opened(tmp_path / "two"), opened(filled.folder)
    other.import_from(stream)
    assert contents(other) == filled.by_index[20]
    assert other._table._sum == first._table._sum
    other.close()
    first.close()
    check_file(tmp_path / "two" / "vault.db" / "data.mdb")


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a newer program has written is refused with that reason, before anything is changed."""
    state = opened(tmp_path)
    state.apply(1, 1, [[Put("a", b"1")]])
    with monkeypatch.context() as newer:
        newer.setattr("cluster.integrity._VERSION_BYTE", b"\x02")
        state.close()
    with pytest.raises(DataFolderRefused, match="another format than this version"):
        opened(tmp_path)


def test_a_rotten_local_record_is_refused(tmp_path: Path) -> None:
    """The local table has fingerprints of its own."""
    state = opened(tmp_path)
    state.local_put("join", b"what the leader gave")
    assert state.local_get("join") == b"what the leader gave"
    state.close()
    rot(tmp_path / "vault.db" / "data.mdb", b"what the leader gave")
    with pytest.raises(DataFolderRefused, match="local table"):
        opened(tmp_path)


def test_lmdb_is_not_asked_about_a_file_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB may answer damage with a signal: it maps the file only once that has been read without it."""
    opened(tmp_path).close()
    file = tmp_path / "vault.db" / "data.mdb"
    data = bytearray(file.read_bytes())
    root = newest_transaction(fd := os.open(file, os.O_RDONLY)).names.root
    os.close(fd)
    data[root * PAGE_BYTES + 16] ^= 0xFF  # where the first node is
    file.write_bytes(data)
    monkeypatch.setattr(Table, "__init__", lambda *arguments: pytest.fail("it was opened"))
    with pytest.raises(DataFolderRefused, match="names nodes outside itself"):
        opened(tmp_path)
    with pytest.raises(FileDamaged):
        check_file(file)
