"""The log file: rotation, pruning, a disk that is full, and the last lines. The server with one: tests/processes."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.cli.server_options import ServerOptions
from node.config.load import load
from node.config.model import Config
from node.errors import ConfigError
from node.log_file import FileLines, LogFile, Rotation, log_file_of
from tests.processes.cluster import wait_until
from tests.processes.small_disk import fill, mounted, required

NEW_YEAR_S = 1_767_225_600.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "a.hcl"
    file.write_text('storage "inmem" {}\nlistener "tcp" {\n tls_disable = true\n}\n')
    return load([file], {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder / "vault.log"


@pytest.fixture
def said() -> Iterator[logging.Logger]:
    """A logger that writes to nothing else."""
    logger = logging.getLogger("test.log_file")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers.clear()


def put(file: LogFile, text: str, at_s: float = NEW_YEAR_S) -> None:
    line = f"{text}\n".encode()
    file.rotate_if_due(len(line), at_s)
    file.write(line)


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_mode_and_appending(path: Path) -> None:
    """A file is made for its owner alone, also after rotation, and what is there already is kept."""
    before = os.umask(0)
    try:
        path.write_text("before\n")
        file = LogFile(path, Rotation(bytes_max=4))
        put(file, "one")
        put(file, "two")
        assert path.read_text() == "two\n"
        assert path.stat().st_mode & 0o777 == 0o600
        old = path.with_name("vault-1767225600000000000.log")
        assert old.read_text() == "before\n"
        assert path.with_name("vault-1767225600000000001.log").read_text() == "one\n"
        file.close()
    finally:
        os.umask(before)


def test_size(path: Path) -> None:
    """A file never grows beyond its size, except by a single line that is larger; each line is there once, in order."""
    file = LogFile(path, Rotation(bytes_max=8))
    for text in ("abc", "def", "g", "a long line", "h"):
        put(file, text)
    file.close()
    old = [each for each in names(path) if each != "vault.log"]
    assert [(path.parent / each).read_text() for each in old] == ["abc\ndef\n", "g\n", "a long line\n"]
    assert path.read_text() == "h\n"


def test_age(path: Path) -> None:
    """The age counts from the first line of this process in the file. An empty file is not rotated."""
    file = LogFile(path, Rotation(duration_s=60))
    put(file, "a", NEW_YEAR_S)
    put(file, "b", NEW_YEAR_S + 59)
    assert names(path) == ["vault.log"]
    put(file, "c", NEW_YEAR_S + 60)
    assert names(path) == ["vault-1767225660000000000.log", "vault.log"]
    path.write_text("")
    put(file, "d", NEW_YEAR_S + 500)
    put(file, "e", NEW_YEAR_S + 559)
    assert len(names(path)) == 2
    assert path.read_text() == "d\ne\n"
    file.close()


@pytest.mark.parametrize(("files_max", "left"), [(0, 5), (2, 2), (-1, 0)])
def test_pruning(path: Path, files_max: int, left: int) -> None:
    """The newest stay; 0 keeps all, -1 none. Files of others are left alone, however alike their names are."""
    others = ["vault-1.log", "vault-audit.log", "vault-1767225600000000000.log.gz", "xvault-1767225600000000000.log"]
    for other in others:
        path.with_name(other).write_text("")
    file = LogFile(path, Rotation(bytes_max=1, files_max=files_max))
    for number in range(6):
        put(file, str(number), NEW_YEAR_S + number)
    file.close()
    old = [each for each in names(path) if each not in (*others, "vault.log")]
    assert [(path.parent / each).read_text() for each in old] == [f"{n}\n" for n in range(5)][5 - left :]
    assert set(others) < set(names(path))
    assert path.read_text() == "5\n"


def test_beside_logrotate(path: Path) -> None:
    """copytruncate leaves no hole; a file that was moved away is written on until the server's own rotation."""
    file = LogFile(path, Rotation(bytes_max=6))
    put(file, "one")
    os.truncate(path, 0)
    put(file, "two")
    assert path.read_text() == "two\n"
    path.rename(path.with_name("moved"))
    put(file, "2")
    put(file, "three")
    assert path.with_name("moved").read_text() == "two\n2\n"
    assert path.read_text() == "three\n"
    assert names(path) == ["moved", "vault.log"]
    file.close()


def test_rotation_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a new file the old one stays in use, under its name."""
    file = LogFile(path, Rotation(bytes_max=1))
    put(file, "one")
    monkeypatch.setattr("node.log_file._open", failing(errno.EMFILE))
    with pytest.raises(OSError, match="Too many"):
        file.rotate_if_due(4, NEW_YEAR_S)
    file.write(b"two\n")
    assert names(path) == ["vault.log"]
    assert path.read_text() == "one\ntwo\n"
    file.close()


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


def test_all_lines_in_order(path: Path, said: logging.Logger) -> None:
    """What was logged before the end is in the file then, in order; afterwards nothing is taken and nothing fails."""
    handler = FileLines(LogFile(path, Rotation()))
    said.addHandler(handler)
    for number in range(3000):
        said.info("%d", number)
    # Not through the logger: pytest would hand it on, and cannot.
    handler.handle(logging.makeLogRecord({"msg": "\udcff", "created": NEW_YEAR_S}))
    handler.close()
    handler.close()
    said.info("late")
    assert path.read_text().split() == [*map(str, range(3000)), "\\udcff"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "node.log_file"]


def test_full_disk(
    path: Path, said: logging.Logger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lines are dropped and no half line stays; that is told once, and what is missing once there is room."""
    real, left = os.write, 8

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if fd != file._fd:
            return real(fd, data)
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(fd, data[:left])
        left -= count
        return count

    file = LogFile(path, Rotation())
    handler = FileLines(file)
    said.addHandler(handler)
    monkeypatch.setattr(os, "write", write)
    for text in ("first", "second", "third"):
        said.info(text)
    wait_until(lambda: handler._dropped == 2, "two lines are dropped")
    left = 1_000_000
    said.info("fourth")
    handler.close()
    assert path.read_text() == "first\nfourth\n"
    assert told(caplog) == [
        "the log file cannot be written, and lacks lines from now on: No space left on device",
        "2 lines are missing in the log file",
    ]


def test_a_disk_that_is_really_full(tmp_path: Path, said: logging.Logger) -> None:
    """As above, on a file system of a megabyte; the last line before is whole, and so is the first one after."""
    with mounted(tmp_path / "disk", 1) as disk:
        path = required(disk) / "vault.log"
        handler = FileLines(LogFile(path, Rotation(bytes_max=2_000_000, files_max=-1)))
        said.addHandler(handler)
        said.info("before")
        wait_until(lambda: path.read_text() == "before\n", "the first line is written")
        ballast = fill(path.parent)
        for _ in range(3):
            said.info("x" * 6000)
        wait_until(lambda: handler._dropped > 0, "lines are dropped")
        wait_until(handler._lines.empty, "nothing waits")
        ballast.unlink()
        said.info("after")
        handler.close()
        lines = path.read_text().splitlines()
        assert (lines[0], lines[-1]) == ("before", "after")
        assert set(lines[1:-1]) <= {"x" * 6000}


def test_a_disk_that_hangs(
    path: Path, said: logging.Logger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever logs does not wait for it: lines wait within a bound, and what is beyond is dropped and counted."""
    goes_on, real = threading.Event(), os.write

    def write(fd: int, data: bytes) -> int:
        assert fd != file._fd or goes_on.wait(60)
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr("node.log_file.LINES_MAX", 3)
    file = LogFile(path, Rotation())
    handler = FileLines(file)
    said.addHandler(handler)
    said.info("0")
    wait_until(handler._lines.empty, "the thread has taken the first line")
    for number in range(1, 6):
        said.info("%d", number)
    goes_on.set()
    handler.close()
    assert path.read_text().split() == ["0", "1", "2", "3"]
    assert told(caplog) == ["2 lines are missing in the log file"]


def test_what_is_asked_for(config: Config, tmp_path: Path) -> None:
    """A flag beats the file, also with a value that is the default; a folder gets vault.log, a bare name its .log."""
    configured = replace(
        config, log_file=f"{tmp_path}/", log_rotate_bytes=5, log_rotate_duration_s=7, log_rotate_max_files=3
    )

    def asked(**flags: Any) -> tuple[str, Rotation]:
        file = log_file_of(configured, ServerOptions(**flags))
        assert file is not None
        file.close()
        return file.path.name, file._rotation

    assert log_file_of(config, ServerOptions()) is None
    assert asked() == ("vault.log", Rotation(bytes_max=5, duration_s=7, files_max=3))
    assert asked(log_file=str(tmp_path))[0] == "vault.log"
    assert asked(log_file=str(tmp_path / "node"))[0] == "node.log"
    named = asked(
        log_file=str(tmp_path / "a.txt"), log_rotate_bytes=0, log_rotate_duration_s=0, log_rotate_max_files=-1
    )
    assert named == ("a.txt", Rotation(files_max=-1))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"log_file": "{}/none/vault.log"},
            "cannot write to the log file .*/none/vault.log: No such file or directory. ",
        ),
        ({"log_file": "{}/pipe.log"}, "pipe.log: No such device or address"),
        ({"log_file": "{}", "log_rotate_bytes": -1}, "cannot be negative"),
        ({"log_file": "{}", "log_rotate_max_files": -2}, "under -1"),
    ],
)
def test_refusals(config: Config, tmp_path: Path, flags: dict[str, Any], said: str) -> None:
    """What cannot be written is told at once in one line, and a pipe that nobody reads does not stop the start."""
    os.mkfifo(tmp_path / "pipe.log")
    with pytest.raises(ConfigError, match=said) as raised:
        log_file_of(config, ServerOptions(**{**flags, "log_file": flags["log_file"].format(tmp_path)}))
    assert "\n" not in str(raised.value)


def test_a_device_is_no_log_file() -> None:
    """It could not be rotated."""
    with pytest.raises(OSError, match="not a regular file"):
        LogFile(Path("/dev/null"), Rotation())
