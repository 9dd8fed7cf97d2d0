"""The state machine against a plain dictionary, through flushes, restarts and a failing disk."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import DataFolderRefused
from cluster.outcome import Applied, Rejected
from cluster.state import State
from cluster.store import Check, Delete, Put, Stored, Write
from cluster.table import MAP_BYTES_MIN
from tests.cluster.turns import Turns


def opened(folder: Path) -> State:
    return State(folder, lambda call: call(), threaded=False)


def test_sets_are_all_or_nothing(tmp_path: Path) -> None:
    """A set is refused as a whole when one condition fails; later sets of an entry see what earlier ones wrote."""
    state = opened(tmp_path)
    assert state.apply(
        5, 1, [[Put("a", b"1", 0), Put("b", b"1")], [Put("a", b"2", 0)], [Check("a", 5), Delete("b", 5)]]
    ) == [
        Applied(),
        Rejected("a"),
        Applied(),
    ]
    assert (state.get("a"), state.get("b")) == (Stored(b"1", 5), None)
    assert state.apply(6, 1, [[Put("c", b"1"), Check("a", 4)], [Put("b", b"3", 0)]]) == [Rejected("a"), Applied()]
    assert (state.get("c"), state.get("b"), state.applied_index) == (None, Stored(b"3", 6), 6)
    state.close()


def test_an_entry_applies_once(tmp_path: Path) -> None:
    """Replaying the journal over what LMDB has changes nothing; what LMDB has not seen is applied again."""
    state = opened(tmp_path)
    state.apply(2, 1, [[Put("a", b"1")]])
    state.flush_now()
    state.apply(3, 1, [[Put("a", b"2")]])
    assert (state.applied_index, state.durable_index) == (3, 2)
    state.close(flush=False)

    again = opened(tmp_path)
    assert (again.get("a"), again.applied_index) == (Stored(b"1", 2), 2)
    assert again.apply(2, 1, [[Put("a", b"other", 0)]]) == [Applied()]
    assert again.get("a") == Stored(b"1", 2)
    assert again.apply(3, 1, [[Put("a", b"2")]]) == [Applied()]
    assert again.get("a") == Stored(b"2", 3)
    again.close()


def test_peers_belong_to_their_entry(tmp_path: Path) -> None:
    """Peers and the last two entries are stored with the index at which they hold."""
    state = opened(tmp_path)
    state.note_applied(1, 0)
    state.set_peers(b"n1 n2")
    state.note_applied(2, 4)
    state.close()
    again = opened(tmp_path)
    found = again.applied
    assert (again.peers(), found.index, found.raft_term, found.prev_index, found.prev_raft_term) == (
        b"n1 n2",
        2,
        4,
        1,
        0,
    )
    again.close()


def test_watchers_hear_which_keys_changed(tmp_path: Path) -> None:
    """Only sets that applied are told of, and not what they merely checked."""
    state, heard = opened(tmp_path), []
    state.watch(lambda keys: heard.append(list(keys)))
    state.apply(1, 1, [[Put("a", b""), Check("x", 0), Delete("b")], [Put("c", b"", 9)]])
    assert heard == [["a", "b"]]
    state.close()


# Keys that share beginnings around the length at which LMDB's keys end, and that order on both sides of "/".
_beginning = st.sampled_from(
    ["", "a", "a/", "b/c/", "é/", "x" * 438, "x" * 440, "x" * 441, "y/" * 220, "x" * 439 + "é", "z" * 600 + "/"]
)
_key = st.builds(lambda a, b: a + b, _beginning, st.text("ab/\0-0é", min_size=1, max_size=4))
_write: st.SearchStrategy[Write] = st.one_of(
    st.builds(Put, _key, st.binary(max_size=4), st.sampled_from([None, None, 0, 1, 2])),
    st.builds(Delete, _key, st.sampled_from([None, None, 1, 2])),
    st.builds(Check, _key, st.sampled_from([0, 0, 1])),
)
_step = st.one_of(st.lists(st.lists(_write, max_size=3), max_size=3), st.sampled_from(["flush", "reopen", "take off"]))


def names_of(model: dict[str, Stored], prefix: str) -> list[str]:
    rests = [key[len(prefix) :] for key in model if key.startswith(prefix) and key != prefix]
    return sorted({rest[: rest.index("/") + 1] if "/" in rest else rest for rest in rests}, key=str.encode)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(_step, max_size=12), prefix=_beginning, after=st.one_of(st.just(""), _key), limit=st.integers(0, 5)
)
def test_state_is_a_dictionary(steps: list[object], prefix: str, after: str, limit: int) -> None:
    """get, list and scan say what a dictionary would, wherever an entry is: in memory, on its way, or in LMDB."""
    with TemporaryDirectory() as folder:
        state, model = opened(Path(folder)), dict[str, Stored]()
        for index, step in enumerate(steps, start=1):
            if step in ("flush", "reopen") and state._flight is not None:
                state._flight.write(state._table)
            if step == "flush":
                state.flush_now()
            elif step == "reopen":
                state.close()
                state = opened(Path(folder))
            elif step == "take off":
                if state._flight is None:
                    state._take_off()  # in flight, not written: read from memory until the next flush
            elif isinstance(step, list):
                apply_to_both(state, model, index, step)
        assert dict(state.scan("")) == model
        assert list(state.scan(prefix)) == sorted(item for item in model.items() if item[0].startswith(prefix))
        folder_name = prefix if prefix.endswith("/") else ""
        names = names_of(model, folder_name)
        assert state.list(folder_name) == names
        greater = [name for name in names if name.encode() > after.encode()]
        assert state.list(folder_name, after=after, limit=limit) == greater[:limit]
        assert all(state.get(key) == stored for key, stored in model.items())
        if state._flight is not None:
            state._flight.write(state._table)
        state.close()


def apply_to_both(state: State, model: dict[str, Stored], index: int, sets: list[list[Write]]) -> None:
    outcomes = state.apply(index, 1, sets)
    for writes, outcome in zip(sets, outcomes, strict=True):
        stale = [
            w.key for w in writes if w.seen_index is not None and w.seen_index != getattr(model.get(w.key), "index", 0)
        ]
        assert outcome == (Rejected(stale[0]) if stale else Applied())
        for write in [] if stale else writes:
            if isinstance(write, Put):
                model[write.key] = Stored(write.value, index)
            elif isinstance(write, Delete):
                model.pop(write.key, None)


def test_a_large_subfolder_is_passed_over(tmp_path: Path) -> None:
    """Listing costs one seek for each name, whatever is below a folder: in LMDB and in the overlay."""
    state = opened(tmp_path)
    for flushed in (True, False):
        state.apply(
            1 + (not flushed), 1, [[Put(f"a/b/{i:06d}", b"") for i in range(5000)] + [Put("a/a", b""), Put("a/c", b"")]]
        )
        if flushed:
            state.flush_now()
    seeks = []
    find = state._first_at
    state._first_at = lambda position: seeks.append(position) or find(position)  # type: ignore[method-assign, func-returns-value]
    assert state.list("a/") == ["a", "b/", "c"]
    assert len(seeks) <= 4
    state.close()


def test_long_keys_of_64_kib(tmp_path: Path) -> None:
    """A key of 64 KiB is a key like any other."""
    state, key = opened(tmp_path), "k" * 65536
    state.apply(1, 1, [[Put(key, b"v"), Put(key[:-1] + "j", b"w")]])
    state.flush_now()
    assert (state.get(key), state.list("")) == (Stored(b"v", 1), [key[:-1] + "j", key])
    state.apply(2, 1, [[Delete(key)]])
    state.flush_now()
    assert (state.get(key), state.list("", after="k" * 65000)) == (None, [key[:-1] + "j"])
    state.close()


def test_the_map_grows(tmp_path: Path) -> None:
    """The database outgrows its first map, with a snapshot open, which is interrupted rather than left dangling."""
    state = opened(tmp_path)
    state.apply(1, 1, [[Put("first", b"")]])
    snapshot = iter(state.export())
    value = bytes(1024 * 1024)
    for index in range(2, 2 + MAP_BYTES_MIN // len(value) + 10):
        state.apply(index, 1, [[Put(f"k{index}", value)]])
    state.flush_now()
    assert state.get(f"k{index}") == Stored(value, index)
    del snapshot
    state.close()
    again = opened(tmp_path)
    assert sum(1 for _ in again.scan("")) == index
    again.close()


def test_a_map_that_is_full_after_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the room needed was underestimated, the map grows and the same transaction is written again."""
    state = opened(tmp_path)
    monkeypatch.setattr(state._table, "make_room", lambda count, size: 4096)
    value = bytes(MAP_BYTES_MIN // 2)
    for index in range(1, 5):
        state.apply(index, 1, [[Put(f"k{index}", value)]])
    state.close()
    again = opened(tmp_path)
    assert (again.applied_index, again.list("")) == (4, ["k1", "k2", "k3", "k4"])
    again.close()


async def test_flushing_happens_by_itself(tmp_path: Path) -> None:
    """Within moments an entry is in LMDB without anybody asking; flush waits for it."""
    loop = asyncio.get_running_loop()
    state = State(tmp_path, loop.call_soon_threadsafe)
    state.apply(1, 1, [[Put("a", b"1")]])
    async with asyncio.timeout(20):
        while state.durable_index < 1:
            await asyncio.sleep(0.01)
    state.apply(2, 1, [[Put("a", b"2")]])
    await state.flush()
    assert state.durable_index == 2
    for index in range(3, 40):
        state.apply(index, 1, [[Put(f"{index}/{i}", bytes(1000)) for i in range(500)]])
        await asyncio.sleep(0)
        assert state.get(f"{index}/7") == Stored(bytes(1000), index)
    await state.flush()
    assert len(list(state.scan(""))) == 37 * 500 + 1
    state.close()


def test_the_local_table(tmp_path: Path) -> None:
    """Local values are durable when put, in no listing, and independent of what is applied."""
    state = opened(tmp_path)
    state.apply(1, 1, [[Put("a", b"replicated")]])
    state.local_put("a", b"local")
    state.local_put("b", b"x")
    state.local_delete("b")
    state.close(flush=False)
    again = opened(tmp_path)
    assert (again.local_get("a"), again.local_get("b"), again.list(""), again.applied_index) == (b"local", None, [], 0)
    again.close()


def filled(folder: Path) -> Path:
    state = opened(folder)
    for index in range(1, 6):
        state.apply(index, 1, [[Put(f"{index}/{i}", bytes(300)) for i in range(1000)]])
        state.flush_now()
    state.close()
    return folder / "vault.db" / "data.mdb"


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """At whatever size the file was cut: a message, where LMDB would let the process die of SIGBUS."""
    file = filled(tmp_path)
    whole = file.read_bytes()
    script = (
        "import sys; from pathlib import Path; from cluster.state import State\n"
        "s = State(Path(sys.argv[1]), lambda call: None, threaded=False); print(sum(1 for _ in s.scan(''))); s.close()"
    )
    for size in (0, 1, 16, 4096, 4097, 8192, 12288, len(whole) // 4):
        file.write_bytes(whole[:size])
        with pytest.raises(DataFolderRefused, match=r"data\.mdb is damaged.*raft remove-peer"):
            opened(tmp_path)
    # The end of the file is spare room, so some cuts do no harm. Which ones may not be left to a signal.
    for part in range(5, 10):
        file.write_bytes(whole[: len(whole) * part // 10])
        run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
        assert run.stdout == "5000\n" or "DataFolderRefused" in run.stderr, run
    file.write_bytes(os.urandom(100_000))
    with pytest.raises(DataFolderRefused, match="not one of LMDB"):
        opened(tmp_path)
    for page in (0, 1):
        file.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
        with pytest.raises(DataFolderRefused):
            opened(tmp_path)


def test_a_full_disk_stops_the_node(tmp_path: Path) -> None:
    """What LMDB cannot write is told once as StorageFailed; applying refuses then, and a restart has the old state."""
    script = """
import resource, sys
from pathlib import Path
from cluster.errors import StorageFailed
from cluster.state import State
from cluster.store import Put
state = State(Path(sys.argv[1]), lambda call: None, threaded=False)
state.apply(1, 1, [[Put("a", b"1")]])
state.flush_now()
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
failures = []
state.on_failed = failures.append
state.apply(2, 1, [[Put(f"k{i}", bytes(1000)) for i in range(20_000)]])
for use in (lambda: state.apply(3, 1, []), state.flush_now, lambda: state.local_put("n", b"")):
    try:
        use()
    except StorageFailed as error:
        print(len(failures), "the node stops" in str(error))
print(state.get("k1").index)
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.stdout == "1 True\n" * 3 + "2\n", run.stderr
    again = opened(tmp_path)
    assert (again.get("a"), again.applied_index) == (Stored(b"1", 1), 1)
    again.close()


def test_a_slow_flush_keeps_its_overlay_readable(tmp_path: Path) -> None:
    """While the thread writes, reads find the entries, and newer ones over them."""
    turns = Turns()
    state = State(tmp_path, turns.call_soon)
    state.apply(1, 1, [[Put("a", b"1"), Put("b", b"1")]])
    state._begin_flush()
    state.apply(2, 1, [[Put("a", b"2"), Delete("b")]])
    assert (state.get("a"), state.get("b"), state.list("")) == (Stored(b"2", 2), None, ["a"])
    turns.run_until(lambda: state.durable_index == 2)
    assert (state.get("a"), state.get("b"), state.list("")) == (Stored(b"2", 2), None, ["a"])
    state.close()
