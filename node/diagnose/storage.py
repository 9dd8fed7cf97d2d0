"""The data folder: whose it is, what is in it, how fast it is."""

import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from cluster import swap
from cluster.errors import ClusterError, DataFolderRefused
from cluster.folder import require_private
from cluster.peers import Peer, decode_peers
from cluster.table import Table
from node.config.storage import RaftStorage, Storage
from node.diagnose.report import Finding, failure, group, ok, skipped, warning

SLOW_S: Final = 0.1
TOO_SLOW_S: Final = 30.0
SYNCS: Final = 20
SYNC_BYTES: Final = 512
# Twelve of these are one write of one client (docs/performance.md); above this, the disk is what it waits for.
SYNC_SLOW_S: Final = 0.010


def check_storage(storage: Storage) -> Finding:
    """All of it. Nothing is created in a folder that is not there yet, and nothing stays behind in one that is."""
    name = "Check Storage"
    if not isinstance(storage, RaftStorage):
        return group(
            name, [warning("Create Storage Backend", "inmem storage: everything is gone when the process ends.")]
        )
    path = Path(storage.path)
    if not path.exists():
        return group(
            name, [warning("Check Raft Folder Permissions", f"{path} is not there yet; the first start creates it.")]
        )
    found = [check_permissions(path), check_ownership(path)]
    if found[0].own < found[0].own.FAILURE:
        found += [check_peers(path), check_access(path), check_disk_speed(path)]
    return group(name, found)


def check_permissions(path: Path) -> Finding:
    """As the server itself does at start."""
    name = "Check Raft Folder Permissions"
    try:
        require_private(path)
    except DataFolderRefused as error:
        return failure(name, str(error))
    except OSError as error:
        return failure(name, f"{path} cannot be looked into: {error.strerror}")
    if path.is_symlink():
        return warning(name, f"{path} is a symbolic link.", "Name the folder that it leads to.")
    return ok(name, f"{path} is open to its owner alone ({stat.S_IMODE(path.stat().st_mode):04o}).")


def check_ownership(path: Path) -> Finding:
    """The server needs no rights beyond its folder."""
    name = "Check Raft Folder Ownership"
    if path.stat().st_uid == 0:
        return warning(name, f"{path} belongs to root.", "Run the server as a user of its own (deploy/systemd).")
    return ok(name)


def check_peers(path: Path) -> Finding:
    """An even number of voters survives no more than one fewer would."""
    name = "Check For Raft Quorum"
    with _locked(path) as is_ours:
        if not is_ours:
            return skipped(name, "The folder is in use by a running server; ask it: operator raft list-peers.")
        if not (path / swap.CURRENT).exists():
            return warning(name, "The folder holds no cluster yet.")
        try:
            voters = sum(peer.voter for peer in _peers(path))
        except (ClusterError, ValueError) as error:
            return failure(name, f"The state cannot be read: {error}")
    if voters == 0:
        return warning(name, "The folder belongs to no cluster yet.")
    if voters % 2 == 0:
        return warning(
            name, f"There are {voters} voters.", "An even number survives no more losses than one voter fewer would."
        )
    return ok(name, f"There are {voters} voters.")


def check_access(path: Path) -> Finding:
    """Write a value, read it, take it away again."""
    name = "Check Storage Access"
    value = os.urandom(SYNC_BYTES)
    file = path / f"diagnose-latency-{uuid.uuid4()}"
    began = time.monotonic()
    try:
        with open(file, "xb") as opened:
            opened.write(value)
            opened.flush()
            os.fsync(opened.fileno())
        same = file.read_bytes() == value
    except OSError as error:
        return failure(name, f"{path} cannot be written: {error.strerror}")
    finally:
        file.unlink(missing_ok=True)
    took_s = time.monotonic() - began
    if not same:
        return failure(name, "What was read is not what was written.", "Do not trust this disk.")
    if took_s > TOO_SLOW_S:
        return failure(name, f"Writing and reading a value took {took_s:.0f} s.")
    if took_s > SLOW_S:
        return warning(name, f"Writing and reading a value took {took_s * 1000:.0f} ms.", "100 ms should be plenty.")
    return ok(name)


def check_disk_speed(path: Path) -> Finding:
    """The median fdatasync after an append: what each write of a client waits for."""
    name = "Check Disk Speed"
    file = path / f"diagnose-speed-{uuid.uuid4()}"
    spans: list[float] = []
    try:
        with open(file, "xb", buffering=0) as opened:
            for _ in range(SYNCS):
                opened.write(bytes(SYNC_BYTES))
                began = time.perf_counter()
                os.fdatasync(opened.fileno())
                spans.append(time.perf_counter() - began)
    except OSError as error:
        return failure(name, f"{path} cannot be written: {error.strerror}")
    finally:
        file.unlink(missing_ok=True)
    told = f"A {SYNC_BYTES}-byte append is on the disk after {median(spans) * 1000:.1f} ms (median of {SYNCS})."
    if median(spans) > SYNC_SLOW_S:
        return warning(name, told, "Each write of a client waits for this on two nodes; a local SSD needs under 1 ms.")
    return ok(name, told)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the folder is ours while this lasts: no server uses it."""
    try:
        fd = os.open(path / "lock", os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def _peers(path: Path) -> list[Peer]:
    table = Table(path / swap.CURRENT)
    try:
        packed = table.meta().peers
    finally:
        table.close()
    return decode_peers(packed) if packed else []
