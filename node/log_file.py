"""The log file: lines in the order they were logged, from a thread of its own, so that a slow disk delays no request.

The file in use keeps its name. Once it is too large or too old it is renamed to hold the moment, as in
`vault-1767225600000000000.log`, and a new one is begun. Files are made with mode 0600. A line that cannot be written is
dropped and counted; the server goes on.
"""

import contextlib
import logging
import os
import queue
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.cli.server_options import ServerOptions
from node.config.model import Config
from node.errors import ConfigError

logger = logging.getLogger(__name__)

DEFAULT_NAME: Final = "vault.log"  # as documented, so that what reads logs finds them
LINES_MAX: Final = 10_000  # that wait for the disk: some MB. What is beyond is dropped and counted
END_S_MAX: Final = 5.0  # for what is waiting when the process ends
_NOT_ROTATED: Final = "the log file cannot be rotated"
_NOT_WRITTEN: Final = "the log file cannot be written, and lacks lines from now on"
_NANOS: Final = 1_000_000_000
# O_NONBLOCK: a named pipe nobody reads is refused at once, and does not stop the start.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a new file is begun, 0 is never; and how many old ones are kept: 0 is all, -1 none."""

    bytes_max: int = 0
    duration_s: int = 0
    files_max: int = 0


class LogFile:
    """The file itself. Moments are Unix seconds, those of the lines: this reads no clock."""

    def __init__(self, path: Path, rotation: Rotation) -> None:
        """Open it, or make it. Raises OSError."""
        self.path = path
        self._rotation = rotation
        self._fd = _open(path)
        self._begun_s: float | None = None  # known from the first line on

    def write(self, line: bytes) -> None:
        """Append a line as a whole, or raise OSError and leave the file as it was."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            if written:
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise

    def rotate_if_due(self, line_bytes: int, at_s: float) -> None:
        """Begin a new file if a line of this size and moment belongs into one. Raises OSError; a file stays in use."""
        size = os.fstat(self._fd).st_size  # asked each time, because others may have cut it (logrotate's copytruncate)
        if not size or self._begun_s is None:
            self._begun_s = at_s
            is_old = False
        else:
            is_old = 0 < self._rotation.duration_s <= at_s - self._begun_s
        if size and (is_old or 0 < self._rotation.bytes_max < size + line_bytes):
            self._rotate(at_s)

    def _rotate(self, at_s: float) -> None:
        number = int(at_s * _NANOS)
        while (old := self.path.with_stem(f"{self.path.stem}-{number:019d}")).exists():
            number += 1
        with contextlib.suppress(FileNotFoundError):  # somebody has moved it away: then it needs no other name
            self.path.rename(old)
        try:
            opened = _open(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                old.rename(self.path)
            raise
        os.close(self._fd)
        self._fd, self._begun_s = opened, at_s
        self._prune()

    def _prune(self) -> None:
        if not self._rotation.files_max:
            return
        name = re.compile(rf"{re.escape(self.path.stem)}-(\d{{19}}){re.escape(self.path.suffix)}")
        old = sorted(found[1] for each in self.path.parent.iterdir() if (found := name.fullmatch(each.name)))
        for number in old[: len(old) - max(0, self._rotation.files_max)]:
            self.path.with_stem(f"{self.path.stem}-{number}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close it. Nothing can be written any more."""
        os.close(self._fd)


class FileLines(logging.Handler):
    """Hands lines to the thread that writes them. `close`, which the interpreter's end calls too, writes what waits."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file
        self._lines: queue.Queue[tuple[bytes, float] | None] = queue.Queue(LINES_MAX)
        self._counting = threading.Lock()
        self._dropped = 0
        self._told: set[str] = set()  # what goes wrong and was said
        self._is_closed = False
        self._thread = threading.Thread(target=self._write, name="log-file", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a line, without the handler's lock.

        The queue orders the lines. And the interpreter's end waits in `close` for the thread while it holds the lock.
        """
        admitted = self.filter(record)
        if admitted:
            self.emit(record)
        return admitted

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_closed:
            return
        try:
            # A path may hold bytes that are no text.
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
        except Exception:
            self.handleError(record)
            return
        try:
            self._lines.put_nowait((line, record.created))
        except queue.Full:
            self._drop()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=END_S_MAX)
                self._thread.join(END_S_MAX)
        super().close()

    def _write(self) -> None:
        while (entry := self._lines.get()) is not None:
            line, at_s = entry
            try:
                self._file.rotate_if_due(len(line), at_s)
                self._told.discard(_NOT_ROTATED)
            except OSError as error:
                self._tell(_NOT_ROTATED, error)
            try:
                self._file.write(line)
            except OSError as error:
                self._drop()
                self._tell(_NOT_WRITTEN, error)
                continue
            self._told.discard(_NOT_WRITTEN)
            self._tell_of_dropped()
        self._file.close()

    def _drop(self) -> None:
        with self._counting:
            self._dropped += 1

    def _tell(self, what: str, error: OSError) -> None:
        """Once until it works again: the line itself comes here too."""
        if what not in self._told:
            self._told.add(what)
            logger.error("%s: %s", what, error.strerror)

    def _tell_of_dropped(self) -> None:
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            logger.warning("%d lines are missing in the log file", dropped)


def log_file_of(config: Config, options: ServerOptions) -> LogFile | None:
    """The file that is asked for, opened; a flag beats the configuration files. Raises ConfigError."""
    text = options.log_file or config.log_file
    if not text:
        return None
    rotation = Rotation(
        bytes_max=_chosen(options.log_rotate_bytes, config.log_rotate_bytes),
        duration_s=_chosen(options.log_rotate_duration_s, config.log_rotate_duration_s),
        files_max=_chosen(options.log_rotate_max_files, config.log_rotate_max_files),
    )
    if rotation.bytes_max < 0 or rotation.duration_s < 0 or rotation.files_max < -1:
        raise ConfigError("the size and the age of a log file cannot be negative, nor the number of old ones under -1")
    path = _path(text)
    try:
        return LogFile(path, rotation)
    except OSError as error:
        raise ConfigError(
            f"cannot write to the log file {path}: {error.strerror}. "
            "Change log_file, or make its folder and let this process write there"
        ) from None


def _chosen(flag: int | None, configured: int) -> int:
    return configured if flag is None else flag


def _path(text: str) -> Path:
    path = Path(text)
    if text.endswith("/") or path.is_dir():
        return path / DEFAULT_NAME
    return path if path.suffix else path.with_name(f"{path.name}.log")


def _open(path: Path) -> int:
    opened = os.open(path, _FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(0, "not a regular file")
    return opened
