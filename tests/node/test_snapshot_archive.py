"""The archive: what it holds, and that nothing cut off, altered or foreign passes for one."""

import gzip
import io
import random
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from cluster.errors import SnapshotDamaged, SnapshotRefused
from node.cli.snapshot_file import check_complete
from node.snapshot_archive import META, SEALED_SUMS, STATE, SUMS, Unpacked, pack, sums_of, unpack

META_JSON = b'{"Index":1}\n'
CONTENT = random.Random(1).randbytes(700_000)
SUMS_TEXT = sums_of(META_JSON, sha256(CONTENT).hexdigest())


def packed() -> bytes:
    return b"".join(pack(META_JSON, io.BytesIO(CONTENT), len(CONTENT), SUMS_TEXT, b"sealed", 1))


def unpacked(folder: Path, archive: bytes, limit: int = 1 << 30) -> Unpacked:
    file, state = folder / "archive", folder / "state"
    file.write_bytes(archive)
    state.unlink(missing_ok=True)
    return unpack(file, state, limit, lambda size: None)


def test_round_trip(tmp_path: Path) -> None:
    """Every member comes back, and the command line's own check agrees."""
    found = unpacked(tmp_path, packed())
    assert (found.meta, found.sums, found.sealed_sums) == (META_JSON, SUMS_TEXT, b"sealed")
    assert found.state.read_bytes() == CONTENT
    assert found.state.stat().st_mode & 0o777 == 0o600
    check_complete(tmp_path / "archive")
    for line, content in zip(SUMS_TEXT.splitlines(), (META_JSON, CONTENT), strict=True):
        assert line.split()[0].decode() == sha256(content).hexdigest()


def test_an_archive_packed_by_other_tools(tmp_path: Path) -> None:
    """The order of members and the compression are free, as long as the content is right."""
    members = {STATE: CONTENT, SEALED_SUMS: b"s", SUMS: SUMS_TEXT, META: META_JSON}
    assert unpacked(tmp_path, tar_of(members)).state.read_bytes() == CONTENT


def tar_of(members: dict[str, bytes], *more: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in (*members.items(), *more):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(made.getvalue())


def test_damage_at_random_bytes(tmp_path: Path) -> None:
    """A flipped bit anywhere is refused, or changed nothing that was packed (gzip has bits without a meaning)."""
    archive, rng = packed(), random.Random(7)
    for at in [
        *range(40),
        *(rng.randrange(len(archive)) for _ in range(150)),
        *range(len(archive) - 600, len(archive), 7),
    ]:
        damaged = bytearray(archive)
        damaged[at] ^= 1 << rng.randrange(8)
        try:
            found = unpacked(tmp_path, bytes(damaged))
        except SnapshotDamaged:
            continue
        assert (found.meta, found.sums, found.sealed_sums) == (META_JSON, SUMS_TEXT, b"sealed")
        assert found.state.read_bytes() == CONTENT


def test_truncation(tmp_path: Path) -> None:
    """Cut off anywhere, down to the last byte, it is refused; so is one with something behind it."""
    archive, rng = packed(), random.Random(8)
    for size in [
        0,
        1,
        9,
        600,
        *(rng.randrange(len(archive)) for _ in range(60)),
        *range(len(archive) - 20, len(archive)),
    ]:
        with pytest.raises(SnapshotDamaged):
            unpacked(tmp_path, archive[:size])
    with pytest.raises(SnapshotDamaged):
        unpacked(tmp_path, archive + b"x")
    with pytest.raises(SnapshotDamaged):
        unpacked(tmp_path, archive + archive)


def test_foreign_members(tmp_path: Path) -> None:
    """Missing, doubled, unknown, oversized members, links and paths are refused; nothing is written beside the file."""
    members = {META: META_JSON, STATE: CONTENT, SUMS: SUMS_TEXT, SEALED_SUMS: b"s"}
    for name in members:
        with pytest.raises(SnapshotDamaged):
            unpacked(tmp_path, tar_of({key: value for key, value in members.items() if key != name}))
        with pytest.raises(SnapshotDamaged):
            unpacked(tmp_path, tar_of(members, (name, members[name])))
    for name in ("../evil", "/tmp/evil", "other"):
        with pytest.raises(SnapshotDamaged):
            unpacked(tmp_path, tar_of(members, (name, b"")))
    with pytest.raises(SnapshotDamaged):
        unpacked(tmp_path, tar_of({**members, META: bytes(2 << 20)}))
    with pytest.raises(SnapshotDamaged, match="larger"):
        unpacked(tmp_path, packed(), limit=len(CONTENT) - 1)
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "state"}


def test_no_room(tmp_path: Path) -> None:
    """The room that the archive announces is asked for before anything is written."""

    def refuse(size: int) -> None:
        assert size == len(CONTENT)
        raise SnapshotRefused("no room")

    (tmp_path / "archive").write_bytes(packed())
    with pytest.raises(SnapshotRefused):
        unpack(tmp_path / "archive", tmp_path / "state", 1 << 30, refuse)
    assert not (tmp_path / "state").exists()
