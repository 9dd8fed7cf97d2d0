"""The data folder of one node: whose it is, who may see it, and that one process at a time uses it.

node-id            the name of the node in the cluster
lock               held (flock) by the running process
vault.db/          the state, in LMDB
raft/journal/      the log
raft/vote          term and vote
raft/peers.json    put there to recover from a lost quorum (cluster/recovery.py)
raft/snapshots/    snapshots being sent or received
"""

import fcntl
import os
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from cluster.disk import FOLDER_MODE, RealDisk, open_private
from cluster.errors import DataFolderRefused


@dataclass(frozen=True, slots=True)
class DataFolder:
    """An opened data folder; it is locked until `close` or the end of the process."""

    path: Path
    node_id: str
    lock_fd: int

    @property
    def state(self) -> Path:
        """Where `State` lives: it holds vault.db/ and, during an import, its successor."""
        return self.path

    @property
    def raft(self) -> Path:
        """Where `Journal` lives: it holds journal/ and vote."""
        return self.path / "raft"

    @property
    def snapshots(self) -> Path:
        """Where snapshots are kept while they are sent or received."""
        return self.path / "raft" / "snapshots"

    def last_written_ms(self) -> int:
        """When state or log were last written, in Unix milliseconds by the clock of then; 0 if they never were."""
        files = [self.path / "vault.db" / "data.mdb", *(self.raft / "journal").glob("*.seg")]
        return max((int(file.stat().st_mtime * 1000) for file in files if file.exists()), default=0)

    def close(self) -> None:
        """Unlock the folder."""
        os.close(self.lock_fd)


def open_folder(path: Path, node_id: str | None) -> DataFolder:
    """Open or create the data folder for this node.

    Args:
        node_id: The configured name; None takes the folder's own, or a new UUID for a new folder.

    Raises:
        DataFolderRefused: The folder is not this node's to use. The message names the remedy; nothing was changed.
    """
    try:
        _create(path)
        require_private(path)
        lock_fd = _lock(path)
        try:
            folder = DataFolder(path, _node_id(path, node_id), lock_fd)
            for transfer in folder.snapshots.iterdir():
                transfer.unlink()  # no transfer goes on from before a restart
            return folder
        except BaseException:
            os.close(lock_fd)
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataFolderRefused(f"the data folder {path} cannot be used: {reason}") from error


def _create(path: Path) -> None:
    if not path.exists():
        path.mkdir(mode=FOLDER_MODE, parents=True)
        path.chmod(FOLDER_MODE)
        RealDisk().sync_folder(path.parent)
    if not path.is_dir():
        raise DataFolderRefused(f"the data folder {path} is not a folder. Name another one as the storage's path")


def require_private(path: Path) -> None:
    """Refuse the folder, or a part of it, that somebody else owns or may reach. Raises DataFolderRefused, OSError."""
    for part in (path, *(path / name for name in ("node-id", "lock", "vault.db", "raft"))):
        try:
            found = part.lstat()
        except FileNotFoundError:
            continue
        if found.st_uid != os.geteuid():
            raise DataFolderRefused(
                f"{part} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}. "
                f"Run it as that user, or: chown -R {os.geteuid()} {path}"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise DataFolderRefused(
                f"{part} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}). Run: chmod -R go= {path}"
            )


def _lock(path: Path) -> int:
    fd = open_private(path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DataFolderRefused(
            f"the data folder {path} is in use by another running process. Stop that one, or give this node its own"
        ) from None
    return fd


def _node_id(path: Path, configured: str | None) -> str:
    file = path / "node-id"
    disk = RealDisk()
    for folder in (path / "raft", path / "raft" / "snapshots"):
        disk.make_folder(folder)
    if file.exists():
        return _require_same(file, file.read_text().strip(), configured)
    node_id = configured or str(uuid.uuid4())
    temporary = path / "node-id.new"
    disk.write(temporary, f"{node_id}\n".encode())
    disk.rename(temporary, file)
    disk.sync_folder(path)
    return node_id


def _require_same(file: Path, found: str, configured: str | None) -> str:
    if not found:
        raise DataFolderRefused(f"{file} is empty. Write the id of the node that this folder belongs to into it")
    if configured is not None and configured != found:
        raise DataFolderRefused(
            f"the data folder {file.parent} belongs to node {found!r}, and this node is configured as "
            f"{configured!r}. Correct node_id or path in the storage stanza"
        )
    return found
