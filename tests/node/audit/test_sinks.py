"""Where records go: files, pipes, syslog, sockets."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.audit.options import FileOptions, SocketOptions, SyslogOptions
from node.audit.sinks import File, LinesRefused, Socket, Syslog
from node.sources import FixedSources

NOON_MS = 1_893_499_200_000


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A process that begins with umask 000."""
    old = os.umask(0)
    yield
    os.umask(old)


def _file(path: Path, *forbidden: Path, mode: int | None = 0o600) -> File:
    return File(FileOptions(path=str(path), mode=mode), [folder.resolve() for folder in forbidden])


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_file_has_exactly_its_mode(tmp_path: Path, mode: int) -> None:
    """0600 or what was asked for, whatever the umask, also for a file that was there (CVE-2021-38553)."""
    path = tmp_path / "new" / "audit.log"
    for _ in range(2):
        sink = _file(path, mode=mode)
        sink.write([b"line\n"])
        sink.close()
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.chmod(0o666)
    assert path.read_bytes() == b"line\nline\n"


def test_mode_zero_keeps_the_mode(tmp_path: Path) -> None:
    """The mode of a file that exists stays when it is not to be changed."""
    path = tmp_path / "audit.log"
    path.touch()
    path.chmod(0o644)
    _file(path, mode=None).write([b"line\n"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", [0o600, None])
def test_cve_2025_6000_an_executable_file_is_refused(tmp_path: Path, mode: int | None) -> None:
    """Nothing that can run is ever appended to."""
    path = tmp_path / "plugin"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    with pytest.raises(PermissionError, match="executable"):
        _file(path, mode=mode).write([b"line\n"])
    assert path.read_text() == "#!/bin/sh\n"


def test_cve_2025_6000_the_servers_own_folders_are_refused(tmp_path: Path) -> None:
    """Not inside the data folder: neither directly, nor through "..", nor through a link to a file or folder."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    outside.mkdir()
    (outside / "folder").symlink_to(data)
    (outside / "file").symlink_to(data / "journal")
    for path in (data / "a", data / "deep" / "a", outside / ".." / "data" / "a", outside / "folder" / "a"):
        with pytest.raises(PermissionError):
            _file(path, data).write([b"line\n"])
    with pytest.raises(PermissionError):
        _file(outside / "file", data).write([b"line\n"])
    assert list(data.iterdir()) == []


def test_reopening_follows_a_rotation(tmp_path: Path) -> None:
    """After SIGHUP the old file is left alone and a new one is begun."""
    path = tmp_path / "audit.log"
    sink = _file(path)
    sink.write([b"1\n"])
    path.rename(tmp_path / "audit.log.1")
    sink.write([b"2\n"])
    sink.reopen()
    sink.write([b"3\n"])
    assert (tmp_path / "audit.log.1").read_bytes() == b"1\n2\n"
    assert path.read_bytes() == b"3\n"


def test_a_file_that_cannot_be_reopened_stays_in_use(tmp_path: Path) -> None:
    """A rotation gone wrong loses no record."""
    path = tmp_path / "logs" / "audit.log"
    sink = _file(path)
    sink.write([b"1\n"])
    path.rename(tmp_path / "kept")
    path.mkdir()
    with pytest.raises(OSError):
        sink.reopen()
    sink.write([b"2\n"])
    assert (tmp_path / "kept").read_bytes() == b"1\n2\n"


def test_a_pipe_without_a_reader_fails_at_once(tmp_path: Path) -> None:
    """Nobody waits for a reader to come; when one is there, the pipe is written."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = _file(path)
    with pytest.raises(OSError):
        sink.write([b"lost\n"])
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write([b"kept\n"])
    assert os.read(reader, 100) == b"kept\n"
    os.close(reader)


def test_a_torn_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that was cut off, the next record begins on a line of its own."""
    path = tmp_path / "audit.log"
    sink = _file(path)
    sink.open()
    real_write, calls = os.write, []

    def full_disk(descriptor: int, data: memoryview) -> int:
        calls.append(data)
        if len(calls) == 1:
            return real_write(descriptor, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        with pytest.raises(OSError):
            sink.write([b"torn line\n"])
    sink.write([b"whole\n"])
    assert path.read_bytes().splitlines() == [b"tor", b"whole"]


def test_syslog_writes_one_datagram_a_record(tmp_path: Path) -> None:
    """RFC 3164 in its local form: priority from facility and severity 6, the tag and the process."""
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(address)
        daemon.settimeout(10)
        sink = Syslog(SyslogOptions(facility=4, tag="vault"), FixedSources(NOON_MS, 1), [address])
        sink.write([b'{"a":1}\n', b'{"b":2}\n'])
        first, second = daemon.recv(1000), daemon.recv(1000)
        sink.close()
    assert first.startswith(b"<38>Jan  1 ")
    assert first.endswith(f'vault[{os.getpid()}]: {{"a":1}}'.encode())
    assert second.endswith(b'{"b":2}')


def test_a_record_too_long_for_syslog_fails_alone(tmp_path: Path) -> None:
    """The others of its batch are written."""
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(address)
        daemon.settimeout(10)
        sink = Syslog(SyslogOptions(facility=4, tag="vault"), FixedSources(NOON_MS, 1), [address])
        with pytest.raises(LinesRefused) as refused:
            sink.write([b"x" * 10_000_000 + b"\n", b"short\n"])
        assert refused.value.failed == frozenset({0})
        assert daemon.recv(1000).endswith(b"short")
        sink.close()


def test_a_lost_tcp_peer_is_connected_again() -> None:
    """When the peer ends a connection, the next write makes a new one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        host, port = server.getsockname()
        options = SocketOptions(address=f"{host}:{port}", socket_type="tcp", write_timeout_s=2)
        sink = Socket(options, FixedSources(NOON_MS, 1))
        got: list[bytes] = []

        def serve() -> None:
            first, _ = server.accept()
            got.append(first.recv(100))
            # A reset, so that the very next write learns of it.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            first.close()
            gone.set()
            second, _ = server.accept()
            got.append(second.recv(100))
            second.close()

        gone = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        sink.write([b"1\n"])
        assert gone.wait(10)
        sink.write([b"2\n"])
        thread.join(10)
        sink.close()
    assert got == [b"1\n", b"2\n"]


def test_a_refusing_peer_is_not_asked_for_every_record() -> None:
    """Within a second of a refusal, writes fail without a new attempt."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    sources = FixedSources(NOON_MS, 1)
    sink = Socket(SocketOptions(address=f"{host}:{port}", socket_type="tcp", write_timeout_s=2), sources)
    with pytest.raises(OSError):
        sink.write([b"1\n"])
    with socket.create_server((host, port)):
        with pytest.raises(OSError):
            sink.write([b"2\n"])
        sources.advance(1500)
        sink.write([b"3\n"])
    sink.close()


@pytest.mark.parametrize("kind", ["udp", "unixgram"])
def test_datagram_sockets_take_one_record_each(tmp_path: Path, kind: str) -> None:
    """A datagram is one record."""
    family = socket.AF_INET if kind == "udp" else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0) if kind == "udp" else str(tmp_path / "peer"))
        peer.settimeout(10)
        name = peer.getsockname()
        address = f"{name[0]}:{name[1]}" if kind == "udp" else name
        sink = Socket(SocketOptions(address=address, socket_type=kind, write_timeout_s=2), FixedSources(NOON_MS, 1))
        sink.write([b"1\n", b"2\n"])
        assert [peer.recv(100), peer.recv(100)] == [b"1\n", b"2\n"]
        sink.close()
