"""Automatic snapshots in a folder of the machine.

Invariant: a file under a final name is a whole snapshot on stable storage. It is written under a temporary name that
no retention counts, synced, renamed, and the folder synced; a crash leaves at most a temporary file, which the next
attempt removes. Everything here blocks; run it in a thread.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cluster.disk import FOLDER_MODE, RealDisk, open_private, write_all
from node.autosnap.errors import AutoSnapshotFailed
from node.autosnap.model import AutoConfig

# What another node has begun in a folder that both share: it may still be at it, until it has certainly given up.
_STRANGE_S_MAX: Final = 24 * 3600
_WRITE_BYTES: Final = 1 << 20

_at_work: set[Path] = set()  # temporary files of this process that are being written, whatever the configuration
_at_work_lock: Final = threading.Lock()


class LocalFolder:
    """The folder of one configuration. `require_room` refuses what the disk has to keep free, before each write."""

    def __init__(self, config: AutoConfig, node_id: str, require_room: Callable[[Path, int], None]) -> None:
        self._config = config
        self._folder = Path(config.path_prefix)
        self._node = re.sub(r"[^A-Za-z0-9_]", "_", node_id)
        self._require_room = require_room

    def keep(self, name: str, chunks: Iterator[bytes]) -> str:
        """Write a snapshot, then remove the oldest beyond `retain`; why that could not be done, or "".

        Raises:
            AutoSnapshotFailed, OSError: There is no snapshot of this name, and the older ones are all there.
        """
        self._make_folder()
        temporary = self._folder / f".{name}.{self._node}.partial"
        with _at_work_lock:
            self._remove_leftovers()
            _at_work.add(temporary)
        try:
            self._prune()  # what a lower `retain` no longer wants need not stand in the way of the new one
            self._write(temporary, chunks)
            temporary.rename(self._folder / name)
            RealDisk().sync_folder(self._folder)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        finally:
            with _at_work_lock:
                _at_work.discard(temporary)
        try:
            self._prune()
            RealDisk().sync_folder(self._folder)
        except OSError as error:
            return f"the snapshot is complete, but older ones could not be removed: {error.strerror}"
        return ""

    def _make_folder(self) -> None:
        if self._folder.is_dir():
            return
        if not self._folder.parent.is_dir():
            # Perhaps a disk that is not mounted now: making all of the path would fill the one below it.
            raise AutoSnapshotFailed(f"the folder that holds {self._folder} does not exist on this node")
        self._folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        RealDisk().sync_folder(self._folder.parent)

    def _remove_leftovers(self) -> None:
        pattern = re.compile(r"\." + re.escape(self._config.file_prefix) + r"-\d{19}\.snap\.(\w+)\.partial", re.ASCII)
        for path in self._folder.iterdir():
            found = pattern.fullmatch(path.name)
            if found is None or path in _at_work:
                continue
            is_own = found[1] == self._node
            if is_own or path.stat(follow_symlinks=False).st_mtime < time.time() - _STRANGE_S_MAX:
                path.unlink(missing_ok=True)

    def _write(self, temporary: Path, chunks: Iterator[bytes]) -> None:
        used = sum((self._folder / name).stat().st_size for name in self._complete())
        descriptor = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            gathered = bytearray()
            for chunk in chunks:
                gathered += chunk
                if len(gathered) >= _WRITE_BYTES:
                    used += self._append(descriptor, gathered, used)
                    gathered = bytearray()
            self._append(descriptor, gathered, used)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, data: bytearray, used: int) -> int:
        if used + len(data) > self._config.local_max_space:
            raise AutoSnapshotFailed(
                "local_max_space leaves no room for another snapshot beside those that are kept until it is complete"
            )
        self._require_room(self._folder, len(data))
        write_all(descriptor, bytes(data))
        return len(data)

    def _prune(self) -> None:
        for name in self._complete()[: -self._config.retain]:
            (self._folder / name).unlink(missing_ok=True)

    def _complete(self) -> list[str]:
        return self._config.numbered([path.name for path in self._folder.iterdir()])
