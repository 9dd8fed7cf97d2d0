"""Where the records of a device go. Sinks block; node/audit/channel.py decides on which thread they may."""

import errno
import os
import select
import socket
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from node.audit.options import FileOptions, SocketOptions, SyslogOptions
from node.sources import Sources

WRITE_TIMEOUT_S: Final = 5.0  # for one batch to a pipe whose reader is slow, and for one datagram to syslog
RETRY_AFTER_S: Final = 1.0  # a peer that refused is not asked again sooner
SYSLOG_SOCKETS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")
_INFO: Final = 6  # severity (RFC 3164, 4.1.1)


class LinesRefused(OSError):
    """Some lines of a batch could not be written, the rest was. `failed` are their places in the batch."""

    def __init__(self, error: OSError, failed: frozenset[int]) -> None:
        super().__init__(error.errno, error.strerror)
        self.failed = failed


class Sink(Protocol):
    """The far end of a device. Used by one thread at a time."""

    @property
    def may_block(self) -> bool:
        """Whether a write may take long now, so that it must not happen on the event loop."""

    def open(self) -> None:
        """Open without waiting, as far as that is possible. Raises OSError."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write whole records, each ending in a line feed; opens if need be. Raises OSError, LinesRefused."""

    def reopen(self) -> None:
        """Begin anew where rotation has moved the old file away. Raises OSError; the old one then stays in use."""

    def close(self) -> None:
        """Give the descriptor back."""


class Discard:
    """Takes everything and keeps nothing."""

    may_block = False

    def open(self) -> None: ...

    def write(self, lines: Sequence[bytes]) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class StandardOutput:
    """The process's standard output, which may be a pipe that nobody empties."""

    may_block = True

    def open(self) -> None: ...

    def write(self, lines: Sequence[bytes]) -> None:
        _write_all(1, b"".join(lines))

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class File:
    """A file that is appended to. Pipes are opened and written without blocking for ever.

    Invariant: a descriptor in use is no executable file and lies in none of the forbidden folders (CVE-2025-6000).
    """

    def __init__(self, options: FileOptions, forbidden: Sequence[Path]) -> None:
        self._options = options
        self._forbidden = forbidden
        self._descriptor = -1
        self._is_regular = False
        self._is_torn = False

    @property
    def may_block(self) -> bool:
        return not self._is_regular

    def open(self) -> None:
        if self._descriptor < 0:
            self._descriptor, self._is_regular = self._opened()

    def write(self, lines: Sequence[bytes]) -> None:
        if self._descriptor < 0:
            self.open()
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        if self._is_torn:
            data = b"\n" + data  # what a failed write left behind stays one line of its own
        try:
            _write_all(self._descriptor, data)
        except OSError as error:
            self._is_torn = True
            if error.errno == errno.EPIPE:
                self.close()  # the reader of a pipe has gone; the next one is waited for by opening again
            raise
        self._is_torn = False

    def reopen(self) -> None:
        fresh, is_regular = self._opened()
        self.close()
        self._descriptor, self._is_regular = fresh, is_regular

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._is_regular, self._is_torn = -1, False, False

    def _opened(self) -> tuple[int, bool]:
        path, mode = self._options.path, self._options.mode
        self._require_allowed(path)
        Path(path).absolute().parent.mkdir(0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            is_regular = stat.S_ISREG(status.st_mode)
            if is_regular and status.st_mode & 0o111:
                raise PermissionError(errno.EPERM, "the file is executable", path)
            if is_regular and mode is not None and stat.S_IMODE(status.st_mode) != mode:
                os.fchmod(descriptor, mode)  # whatever the umask is
            # A link may have changed since the path was looked at.
            self._require_allowed(f"/proc/self/fd/{descriptor}")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor, is_regular

    def _require_allowed(self, path: str) -> None:
        real = Path(path).resolve()
        if any(real.is_relative_to(folder) for folder in self._forbidden):
            raise PermissionError(errno.EPERM, "the server keeps its own files there", path)


class Syslog:
    """The local syslog, one datagram a record, in the local form of RFC 3164 (no host name)."""

    may_block = True

    def __init__(self, options: SyslogOptions, sources: Sources, addresses: Sequence[str] = SYSLOG_SOCKETS) -> None:
        self._head = f"<{options.facility * 8 + _INFO}>"
        self._tail = f" {options.tag}[{os.getpid()}]: "
        self._sources = sources
        self._addresses = addresses
        self._socket: socket.socket | None = None

    def open(self) -> None:
        if self._socket is not None:
            return
        problem = FileNotFoundError(errno.ENOENT, "there is no local syslog socket")
        for address in self._addresses:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.settimeout(WRITE_TIMEOUT_S)
            try:
                made.connect(address)
            except OSError as error:
                made.close()
                if not isinstance(error, FileNotFoundError):
                    problem = OSError(error.errno, error.strerror)  # type: ignore[assignment]
                continue
            self._socket = made
            return
        raise problem

    def write(self, lines: Sequence[bytes]) -> None:
        now = datetime.fromtimestamp(self._sources.now_ms() / 1000).astimezone()
        head = f"{self._head}{now:%b} {now.day:2d} {now:%H:%M:%S}{self._tail}".encode()
        _each([head + line.removesuffix(b"\n") for line in lines], self._send)

    def _send(self, datagram: bytes) -> None:
        self.open()
        assert self._socket is not None
        try:
            self._socket.send(datagram)
        except (ConnectionError, FileNotFoundError):
            # The daemon was started anew: its socket is another one now.
            self.close()
            self.open()
            self._socket.send(datagram)

    def reopen(self) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Socket:
    """A TCP, UDP or UNIX socket. A lost stream is connected again once, at once; then after RETRY_AFTER_S."""

    may_block = True

    def __init__(self, options: SocketOptions, sources: Sources) -> None:
        self._options = options
        self._sources = sources
        self._socket: socket.socket | None = None
        self._refused: OSError | None = None
        self._refused_at_s = 0.0

    @property
    def _is_datagram(self) -> bool:
        return self._options.socket_type.startswith("udp") or self._options.socket_type == "unixgram"

    def open(self) -> None:
        """Nothing: connecting may take the whole time-out, so the first write does it."""

    def write(self, lines: Sequence[bytes]) -> None:
        if self._is_datagram:
            _each(lines, self._send)
        else:
            self._send(b"".join(lines))

    def _send(self, data: bytes) -> None:
        was_connected = self._socket is not None
        try:
            self._connected().sendall(data)
        except OSError:
            self.close()
            if not was_connected:
                raise
            # The peer may have gone since the last write; on a fresh stream no record is cut in half.
            try:
                self._connected().sendall(data)
            except OSError:
                self.close()
                raise

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        now_s = self._sources.monotonic_s()
        if self._refused is not None and now_s - self._refused_at_s < RETRY_AFTER_S:
            raise OSError(self._refused.errno, self._refused.strerror or "cannot connect")
        try:
            self._socket = self._connect()
        except OSError as error:
            self._refused, self._refused_at_s = error, now_s
            raise
        self._refused = None
        return self._socket

    def _connect(self) -> socket.socket:
        options = self._options
        form = socket.SOCK_DGRAM if self._is_datagram else socket.SOCK_STREAM
        if options.socket_type.startswith("unix"):
            made = socket.socket(socket.AF_UNIX, form)
            try:
                made.settimeout(options.write_timeout_s)
                made.connect(options.address)
            except BaseException:
                made.close()
                raise
            return made
        host, _, port = options.address.rpartition(":")
        family = {"4": socket.AF_INET, "6": socket.AF_INET6}.get(options.socket_type[-1], socket.AF_UNSPEC)
        found = socket.getaddrinfo(host.strip("[]"), int(port), family, form)
        problem: OSError = OSError(errno.EHOSTUNREACH, "no address")
        for kind, style, protocol, _, address in found:
            made = socket.socket(kind, style, protocol)
            try:
                made.settimeout(options.write_timeout_s)
                made.connect(address)
            except OSError as error:
                made.close()
                problem = error
                continue
            return made
        raise problem

    def reopen(self) -> None:
        """Nothing to rotate."""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _each(datagrams: Sequence[bytes], send: "Sender") -> None:
    """Send each by itself: one that is too long for a datagram must not fail the others."""
    failed: set[int] = set()
    problem: OSError | None = None
    for place, datagram in enumerate(datagrams):
        try:
            send(datagram)
        except OSError as error:
            failed.add(place)
            problem = error
            if error.errno != errno.EMSGSIZE:
                failed.update(range(place, len(datagrams)))
                break
    if problem is not None:
        raise LinesRefused(problem, frozenset(failed))


class Sender(Protocol):
    """Sends one datagram or raises OSError."""

    def __call__(self, datagram: bytes, /) -> None: ...


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            written = os.write(descriptor, view)
            if written == len(view):
                return
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if not poll.poll(WRITE_TIMEOUT_S * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "nobody reads what is written") from None
            continue
        view = view[written:]
