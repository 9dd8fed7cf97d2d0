"""Snapshots in a folder: whole ones under final names only, the right ones kept, and never more than was allowed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from cluster.disk import open_private, write_all
from cluster.errors import SnapshotRefused
from node.autosnap.errors import AutoSnapshotFailed
from node.autosnap.local import LocalFolder
from node.autosnap.model import AutoConfig

CONTENT = b"0123456789abcdef" * 250_000  # 4 MB: several writes
CONFIG = AutoConfig(interval=1, retain=2, storage_type="local", local_max_space=20 * len(CONTENT))


def chunks(content: bytes = CONTENT) -> Iterator[bytes]:
    for at in range(0, len(content), 300_000):
        yield content[at : at + 300_000]


def anything_fits(folder: Path, size: int) -> None:
    """A disk without end."""


def folder(path: Path, config: AutoConfig = CONFIG, node: str = "n1") -> LocalFolder:
    return LocalFolder(replace(config, path_prefix=str(path)), node, anything_fits)


def name(number: int) -> str:
    return CONFIG.file_name(number)


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_kept_and_pruned(tmp_path: Path) -> None:
    """The content is whole, for the owner alone; the newest `retain` stay, and nobody else's files go."""
    path = tmp_path / "backup"
    others = [f"vault-snapshot-other-{1:019d}.snap", "vault-snapshot.snap", "notes.txt"]
    for number in range(1, 5):
        assert folder(path).keep(name(number), chunks()) == ""
        if number == 1:
            for other in others:
                (path / other).write_bytes(b"")
    assert names(path) == sorted([name(3), name(4), *others])
    assert (path / name(4)).read_bytes() == CONTENT
    assert (path / name(4)).stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o700


def test_the_parent_folder_must_be_there(tmp_path: Path) -> None:
    """A disk that is not mounted is not replaced by a folder on the one below it."""
    with pytest.raises(AutoSnapshotFailed, match="does not exist on this node"):
        folder(tmp_path / "mnt" / "backup").keep(name(1), chunks())
    assert names(tmp_path) == []


class Died(BaseException):
    """The process ends here."""


STEPS = {
    "node.autosnap.local.open_private": open_private,
    "node.autosnap.local.write_all": write_all,
    "os.fsync": os.fsync,
    "pathlib.Path.rename": Path.rename,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_before", [True, False])
def test_a_crash_at_each_step(tmp_path: Path, step: str, is_before: bool) -> None:
    """After each, no file under a final name is broken, the older ones are there, and the next attempt clears away."""
    folder(tmp_path).keep(name(1), chunks())
    real: Any = STEPS[step]

    def dies(*given: object) -> None:
        if is_before:
            raise Died
        real(*given)
        raise Died

    # What a process that has ended does not do either: clear away behind itself.
    with patch(step, dies), patch("pathlib.Path.unlink"), pytest.raises(Died):
        folder(tmp_path).keep(name(2), chunks())
    complete = CONFIG.numbered(names(tmp_path))
    assert complete in ([name(1)], [name(1), name(2)])
    assert all((tmp_path / each).read_bytes() == CONTENT for each in complete)
    folder(tmp_path).keep(name(3), chunks())
    assert names(tmp_path)[-1] == name(3)
    assert not [each for each in names(tmp_path) if each.endswith(".partial")]


def test_the_file_is_synced_before_it_has_its_name(tmp_path: Path) -> None:
    """fsync of the content, rename, fsync of the folder: in this order."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    with patch("os.fsync", noted_fsync), patch("pathlib.Path.rename", noted_rename):
        folder(tmp_path).keep(name(1), chunks())
    assert done[:3] == ["file", "rename", "folder"]


def broken() -> Iterator[bytes]:
    yield CONTENT
    raise SnapshotRefused("the disk that holds the data has no room")


def test_a_failed_attempt_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor fewer older ones."""
    for number in (1, 2):
        folder(tmp_path).keep(name(number), chunks())
    with pytest.raises(SnapshotRefused):
        folder(tmp_path).keep(name(3), broken())
    assert names(tmp_path) == [name(1), name(2)]


def test_temporary_files_are_not_counted_and_go(tmp_path: Path) -> None:
    """One's own at once; another node's, in a folder that both share, once it has certainly given up."""
    own, young, old = (f".{name(number)}.{node}.partial" for number, node in ((1, "n1"), (2, "n2"), (3, "n2")))
    foreign = f".other-{1:019d}.snap.n1.partial"
    for each in (own, young, old, foreign):
        (tmp_path / each).write_bytes(b"x")
    os.utime(tmp_path / old, (0, 0))
    folder(tmp_path).keep(name(9), chunks())
    assert names(tmp_path) == sorted([young, foreign, name(9)])


def test_two_configurations_with_one_folder(tmp_path: Path) -> None:
    """Neither removes what the other is writing just now."""

    def another_in_the_middle() -> Iterator[bytes]:
        yield CONTENT
        folder(tmp_path).keep(name(2), chunks())
        yield b"end"

    folder(tmp_path).keep(name(1), another_in_the_middle())
    assert names(tmp_path) == [name(1), name(2)]
    assert (tmp_path / name(1)).read_bytes() == CONTENT + b"end"


def test_the_allowance(tmp_path: Path) -> None:
    """Kept ones count until the new one is complete; a lower `retain` makes room first; nothing is lost for it."""
    room_for_three = replace(CONFIG, local_max_space=3 * len(CONTENT))
    for number in (1, 2, 3):
        folder(tmp_path, room_for_three).keep(name(number), chunks())
    assert names(tmp_path) == [name(2), name(3)]
    room_for_two = replace(CONFIG, local_max_space=2 * len(CONTENT))
    with pytest.raises(AutoSnapshotFailed, match="local_max_space"):
        folder(tmp_path, room_for_two).keep(name(4), chunks())
    assert names(tmp_path) == [name(2), name(3)]
    folder(tmp_path, replace(room_for_two, retain=1)).keep(name(5), chunks())
    assert names(tmp_path) == [name(5)]


def test_the_disk_keeps_what_the_log_needs(tmp_path: Path) -> None:
    """Every write asks first."""

    def full(path: Path, size: int) -> None:
        raise SnapshotRefused("no room")

    with pytest.raises(SnapshotRefused):
        LocalFolder(replace(CONFIG, path_prefix=str(tmp_path)), "n1", full).keep(name(1), chunks())
    assert names(tmp_path) == []


def test_old_ones_that_cannot_be_removed(tmp_path: Path) -> None:
    """The snapshot is there, and what went wrong is said."""
    for number in (1, 2):
        folder(tmp_path).keep(name(number), chunks())
    with patch("pathlib.Path.unlink", side_effect=PermissionError(1, "Operation not permitted")):
        said = folder(tmp_path).keep(name(3), chunks())
    assert "older ones could not be removed: Operation not permitted" in said
    assert names(tmp_path) == [name(1), name(2), name(3)]
