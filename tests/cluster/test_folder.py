"""Whose data folder it is, and who may use it."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from cluster.errors import DataFolderRefused
from cluster.folder import open_folder


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask is; the node id stays."""
    before = os.umask(0)
    try:
        folder = open_folder(tmp_path / "data", None)
    finally:
        os.umask(before)
    uuid.UUID(folder.node_id)
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    folder.close()
    again = open_folder(tmp_path / "data", folder.node_id)
    assert again.node_id == folder.node_id
    again.close()


def test_another_node_is_refused(tmp_path: Path) -> None:
    """A folder that names another node than the configuration is not touched."""
    open_folder(tmp_path / "data", "n1").close()
    with pytest.raises(DataFolderRefused, match=r"belongs to node 'n1'.*configured as 'n2'.*Correct node_id"):
        open_folder(tmp_path / "data", "n2")
    (tmp_path / "data" / "node-id").write_text("")
    with pytest.raises(DataFolderRefused, match="is empty"):
        open_folder(tmp_path / "data", "n1")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o770])
@pytest.mark.parametrize("part", ["", "node-id", "raft"])
def test_loose_permissions_are_refused(tmp_path: Path, mode: int, part: str) -> None:
    """Anything that the group or others may do is refused, with the command that mends it."""
    open_folder(tmp_path / "data", "n1").close()
    (tmp_path / "data" / part).chmod(mode)
    with pytest.raises(DataFolderRefused, match=rf"open to other users \(mode 0{mode:o}\)\. Run: chmod -R go= "):
        open_folder(tmp_path / "data", "n1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_owner_is_refused(tmp_path: Path) -> None:
    """A folder of another user is refused, even to root, who could read it."""
    open_folder(tmp_path / "data", "n1").close()
    os.chown(tmp_path / "data", 12345, -1)
    with pytest.raises(DataFolderRefused, match="belongs to user 12345"):
        open_folder(tmp_path / "data", "n1")


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    """The second process is refused while the first runs, and welcome once it has ended."""
    script = (
        "import sys; from pathlib import Path; from cluster.folder import open_folder\n"
        "open_folder(Path(sys.argv[1]), 'n1'); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(DataFolderRefused, match="in use by another running process"):
            open_folder(tmp_path / "data", "n1")
        first.kill()
    open_folder(tmp_path / "data", "n1").close()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    """A path that is a file, or below one, is refused with words."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataFolderRefused):
            open_folder(path, None)
