"""The Raft log on disk: nothing durable is lost, and nothing is taken for durable that is not."""

import random
import threading
from pathlib import Path

import pytest

from cluster.disk import RealDisk
from cluster.errors import DataFolderRefused, StorageFailed
from cluster.journal import Journal
from cluster.journal_files import SEGMENT_BYTES_MAX
from cluster.journal_format import LogEntry
from tests.cluster.faulty_disk import FaultyDisk
from tests.cluster.turns import Turns

FOLDER = Path("raft")
FIRST = FOLDER / "journal" / "0000000000000001.seg"
VOTE = FOLDER / "vote"


def opened(disk: FaultyDisk) -> Journal:
    return Journal(FOLDER, disk, lambda call: call(), threaded=False)


def entries(first: int, last: int, raft_term: int = 1) -> list[LogEntry]:
    return [(f"command {index} of {raft_term}".encode(), index, raft_term) for index in range(first, last + 1)]


def fill(journal: Journal, *wanted: LogEntry) -> None:
    """One frame for each entry."""
    for entry in wanted:
        journal.add(*entry)
        journal.flush()


def written(*wanted: LogEntry) -> FaultyDisk:
    disk = FaultyDisk()
    journal = opened(disk)
    journal.setCurrentTerm(3, "n2")
    fill(journal, *wanted)
    return disk


def test_entries_survive_a_restart() -> None:
    """What was flushed is there again, with term, vote and the commit index noted along with it."""
    disk = FaultyDisk()
    journal = opened(disk)
    journal.setCurrentTerm(3, "n2")
    fill(journal, *entries(1, 3))
    journal.setRaftCommitIndex(2)
    fill(journal, *entries(4, 5))
    disk.lose_power()
    again = opened(disk)
    assert again[:] == entries(1, 5)
    assert (again[-1], again[1:3], len(again)) == (entries(5, 5)[0], entries(2, 3), 5)
    assert (again.getCurrentTerm(), again.getVotedForNodeId(), again.getRaftCommitIndex()) == (3, "n2", 2)
    assert again.synced_index == 5


def test_power_loss_drops_only_what_was_not_synced() -> None:
    """Entries that were added but not flushed are gone; synced_index never counted them."""
    disk = written(*entries(1, 3))
    journal = opened(disk)
    journal.add(*entries(4, 4)[0])
    assert journal.synced_index == 3
    disk.lose_power()
    assert opened(disk)[:] == entries(1, 3)


def test_tail_torn_at_every_byte() -> None:
    """However much of the last frame reached the disk, all earlier ones are there and the journal goes on."""
    whole = written(*entries(1, 4)).read(FIRST)
    start = len(written(*entries(1, 3)).read(FIRST))
    for size in range(start, len(whole)):
        disk = written()
        disk.put(FIRST, whole[:size])
        journal = opened(disk)
        assert journal[:] == entries(1, 3)
        fill(journal, *entries(4, 6))
        assert opened(disk)[:] == entries(1, 6)


def test_tail_of_zeros_is_torn() -> None:
    """A file whose size reached the disk but whose bytes did not is cut like a torn write."""
    disk = written(*entries(1, 3))
    disk.put(FIRST, disk.read(FIRST) + bytes(5000))
    assert opened(disk)[:] == entries(1, 3)


def test_bit_flip_anywhere_is_detected() -> None:
    """A flipped bit refuses the start and changes nothing, but in the last frame, which cannot be told from torn."""
    pristine = written(*entries(1, 4)).read(FIRST)
    last = len(written(*entries(1, 3)).read(FIRST))
    for offset in range(len(pristine)):
        disk = written()
        disk.put(FIRST, pristine)
        disk.flip(FIRST, offset, bit=offset % 8)
        damaged = disk.read(FIRST)
        if offset < last:
            with pytest.raises(DataFolderRefused, match=r"0001\.seg is damaged at offset \d+.*raft remove-peer"):
                opened(disk)
            assert disk.read(FIRST) == damaged
        else:
            assert opened(disk)[:] == entries(1, 3)


def test_after_a_clean_end_every_entry_is_proven() -> None:
    """The closing frame shows that the entries before it were synced, so damage to the last of them is detected."""
    disk = written(*entries(1, 2))
    journal = opened(disk)
    at = len(disk.read(FIRST))
    fill(journal, *entries(3, 3))
    journal._destroy()
    disk.flip(FIRST, at + 20)
    with pytest.raises(DataFolderRefused):
        opened(disk)


def test_a_damaged_older_segment_is_refused() -> None:
    """Only the last segment may end torn."""
    disk = FaultyDisk()
    journal = opened(disk)
    journal.add(b"x" * SEGMENT_BYTES_MAX, 1, 0)
    journal.flush()
    fill(journal, *entries(2, 2, 0))
    disk.put(FIRST, disk.read(FIRST)[:-1])
    with pytest.raises(DataFolderRefused, match="a later segment follows it"):
        opened(disk)


def test_a_missing_segment_is_refused() -> None:
    """A gap between segments is named."""
    disk = FaultyDisk()
    journal = opened(disk)
    for index in range(1, 4):
        journal.add(b"x" * SEGMENT_BYTES_MAX, index, 0)
        journal.flush()
    disk.remove(FOLDER / "journal" / "0000000000000002.seg")
    with pytest.raises(DataFolderRefused, match="segment 2 is missing"):
        opened(disk)


def test_a_frame_from_elsewhere_is_not_valid() -> None:
    """A value that holds a whole valid frame of this very journal does not make a torn tail look like damage."""
    disk = written(*entries(1, 2))
    frame = disk.read(FIRST)
    journal = opened(disk)
    journal.add(frame * 3, 3, 1)
    journal.flush()
    disk.put(FIRST, disk.read(FIRST)[:-1])
    assert opened(disk)[:] == entries(1, 2)


def test_an_index_already_there_overrides() -> None:
    """Raft's conflict: the new entry and what follows replace the old ones, after a restart too."""
    disk = written(*entries(1, 5))
    journal = opened(disk)
    fill(journal, *entries(3, 4, raft_term=2))
    assert journal[:] == entries(1, 2) + entries(3, 4, raft_term=2)
    assert opened(disk)[:] == journal[:]


def test_dropped_entries_stay_dropped() -> None:
    """deleteEntriesFrom, deleteEntriesTo and clear hold after a restart; synced_index falls with them at once."""
    disk = written(*entries(1, 9))
    journal = opened(disk)
    journal.deleteEntriesFrom(7)
    assert journal.synced_index == 7
    journal.deleteEntriesTo(3)
    journal.flush()
    assert opened(disk)[:] == entries(4, 7)
    journal.clear()
    journal.flush()
    assert (len(opened(disk)), journal.synced_index) == (0, 0)


def test_reset_to_a_snapshot() -> None:
    """reset_to starts over at two entries of any index, durably, and forgets the commit index of the old log."""
    disk = written(*entries(1, 9))
    journal = opened(disk)
    journal.setRaftCommitIndex(9)
    journal.reset_to(*entries(5, 6, raft_term=4))
    disk.lose_power()
    again = opened(disk)
    assert (again[:], again.getRaftCommitIndex()) == (entries(5, 6, raft_term=4), 1)
    fill(again, *entries(7, 8, raft_term=4))
    assert opened(disk)[:] == entries(5, 8, raft_term=4)


def test_a_gap_is_never_written() -> None:
    """An entry that does not follow the last one is a bug of the caller, not a record."""
    with pytest.raises(ValueError, match="does not follow"):
        opened(written(*entries(1, 2))).add(b"", 4, 1)


def test_segments_roll_and_are_deleted_oldest_first() -> None:
    """A segment goes once all its entries are below the first kept one, and never before."""
    disk = FaultyDisk()
    journal = opened(disk)
    for index in range(1, 6):
        journal.add(b"x" * SEGMENT_BYTES_MAX, index, 0)
        journal.flush()
    assert len(disk.names(FOLDER / "journal")) == 5
    journal.deleteEntriesTo(3)
    fill(journal, *entries(6, 6, 0))
    assert disk.names(FOLDER / "journal")[0] == "0000000000000004.seg"
    disk.lose_power()
    assert [entry[1] for entry in opened(disk)[:]] == [4, 5, 6]
    journal.reset_to(*entries(20, 21, 0))
    assert disk.names(FOLDER / "journal") == ["0000000000000006.seg"]


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_a_failed_write_is_final(fault: str) -> None:
    """The failure is told once, nothing is retried, everything after refuses, and what was durable is still there."""
    disk = written(*entries(1, 3))
    journal = opened(disk)
    failures: list[StorageFailed] = []
    synced: list[int] = []
    journal.on_failed, journal.on_synced = failures.append, synced.append
    if fault == "ENOSPC":
        disk.capacity = sum(len(disk.read(path)) for path in disk.paths()) + 10
    else:
        disk.fail_sync = True
    fill(journal, *entries(4, 4))
    calls = disk.sync_calls
    for use in (
        journal.flush,
        journal.sync_now,
        lambda: journal.add(b"", 5, 1),
        lambda: journal.setCurrentTerm(9, "n"),
    ):
        with pytest.raises(StorageFailed, match="the node stops"):
            use()
    assert (len(failures), synced, journal.synced_index, disk.sync_calls) == (1, [], 3, calls)
    disk.lose_power(keep_unsynced=10)
    assert opened(disk)[:] == entries(1, 3)


def test_a_commit_never_passes_what_is_durable() -> None:
    """setRaftCommitIndex syncs first when the entry is only in memory, and raises if that fails."""
    disk = written(*entries(1, 2))
    journal = opened(disk)
    journal.add(*entries(3, 3)[0])
    journal.setRaftCommitIndex(3)
    assert journal.synced_index == 3
    journal.add(*entries(4, 4)[0])
    disk.fail_sync = True
    with pytest.raises(StorageFailed):
        journal.setRaftCommitIndex(4)


def test_term_and_vote_are_durable_at_once() -> None:
    """A power loss at any moment of setCurrentTerm leaves the old vote or the new one."""
    disk = written(*entries(1, 1))
    journal = opened(disk)
    journal.setCurrentTerm(7, None)
    disk.lose_power()
    again = opened(disk)
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (7, None)
    disk.fail_sync = True
    with pytest.raises(StorageFailed):
        again.setCurrentTerm(8, "n1")
    disk.lose_power()
    assert opened(disk).getCurrentTerm() == 7


def test_a_damaged_or_missing_vote_is_refused() -> None:
    """No flipped bit, no cut and no removal of the vote is ever taken for "has not voted"."""
    good = written(*entries(1, 2)).read(VOTE)
    for offset in range(len(good)):
        for bit in range(8):
            disk = written(*entries(1, 2))
            disk.flip(VOTE, offset, bit)
            with pytest.raises(DataFolderRefused, match="vote"):
                opened(disk)
    for size in range(len(good)):
        disk.put(VOTE, good[:size])
        with pytest.raises(DataFolderRefused, match="vote"):
            opened(disk)
    disk.remove(VOTE)
    with pytest.raises(DataFolderRefused, match="missing"):
        opened(disk)


class SlowDisk(FaultyDisk):
    """Each sync of a file lasts until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Semaphore(0)
        self.on_sync = lambda: self.go.acquire(timeout=20)


def test_a_slow_disk_does_not_block() -> None:
    """flush returns while the sync is stuck; what is added meanwhile shares the next one, which starts by itself."""
    disk, turns = SlowDisk(), Turns()
    journal = Journal(FOLDER, disk, turns.call_soon)
    synced: list[int] = []
    journal.on_synced = synced.append
    for entry in entries(1, 4):
        journal.add(*entry)
        journal.flush()
    assert journal.synced_index == 0
    disk.go.release()
    turns.run_until(lambda: synced == [1])
    disk.go.release()
    turns.run_until(lambda: synced == [1, 4])
    assert disk.sync_calls == 2
    disk.go.release()
    journal._destroy()


def test_entries_dropped_while_a_sync_runs_do_not_count() -> None:
    """An entry that replaces one in flight is durable only with its own sync."""
    disk, turns = SlowDisk(), Turns()
    journal = Journal(FOLDER, disk, turns.call_soon)
    synced: list[int] = []
    journal.on_synced = synced.append
    for entry in entries(1, 3, 0):
        journal.add(*entry)
    journal.flush()
    journal.add(b"other", 2, 0)
    disk.go.release()
    turns.run_until(lambda: bool(synced))
    assert synced == [1]
    disk.go.release()
    turns.run_until(lambda: synced == [1, 2])
    disk.go.release()
    journal._destroy()
    assert opened(disk)[:] == [*entries(1, 1, 0), (b"other", 2, 0)]


def test_sync_now_waits_for_the_sync_in_flight() -> None:
    """sync_now returns with everything durable, also what a stuck sync holds, and announces it once."""
    disk, turns = SlowDisk(), Turns()
    journal = Journal(FOLDER, disk, turns.call_soon)
    synced: list[int] = []
    journal.on_synced = synced.append
    fill(journal, *entries(1, 2, 0))
    for _ in range(3):
        disk.go.release()
    journal.sync_now()
    assert journal.synced_index == 2
    turns.run_until(lambda: synced == [2])
    journal._destroy()


def test_power_cuts_at_random() -> None:
    """After any number of adds, drops, resets and power losses, the log is exactly what the last sync made durable."""
    for seed in range(60):
        rng = random.Random(seed)
        disk, model, durable = FaultyDisk(), list[LogEntry](), list[LogEntry]()
        journal = opened(disk)
        for _ in range(60):
            match rng.choice(("add", "add", "add", "conflict", "compact", "cut", "reset")):
                case "add":
                    model.append((rng.randbytes(rng.randrange(40)), model[-1][1] + 1 if model else 1, 0))
                    journal.add(*model[-1])
                case "conflict" if model:
                    at = rng.randrange(len(model))
                    model[at:] = [(b"new", model[at][1], 0)]
                    journal.add(*model[at])
                case "compact" if len(model) > 2:
                    at = rng.randrange(len(model) - 1)
                    del model[:at]
                    journal.deleteEntriesTo(at)
                case "reset" if rng.random() < 0.2:
                    model = entries(50, 51, 0)
                    durable = model[:]
                    journal.reset_to(*model)
                case "cut":
                    disk.lose_power(keep_unsynced=rng.randrange(30))
                    journal = opened(disk)
                    assert journal[:] == durable, seed
                    model = journal[:]
            if rng.random() < 0.7:
                journal.flush()
                durable = model[:]
                assert journal.synced_index == (model[-1][1] if model else 0)


def test_on_a_real_disk(tmp_path: Path) -> None:
    """The same on real files: private modes, restart, cut tail."""
    turns = Turns()
    journal = Journal(tmp_path / "raft", RealDisk(), turns.call_soon)
    journal.setCurrentTerm(1, "n1")
    fill(journal, *entries(1, 50))
    turns.run_until(lambda: journal.synced_index == 50)
    journal._destroy()
    segment = tmp_path / FIRST
    assert {oct(path.stat().st_mode & 0o777) for path in (segment, tmp_path / VOTE)} == {"0o600"}
    with segment.open("ab") as file:
        file.write(b"SRJ1 torn")
    again = Journal(tmp_path / "raft", RealDisk(), turns.call_soon)
    assert again[:] == entries(1, 50)
    again._destroy()
