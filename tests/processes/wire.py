"""HTTP by the byte: what no client library would send, and what comes back."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class RawReply:
    """An answer as it arrived; status 0 stands for a connection that was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


NO_ANSWER = RawReply(0, {}, b"")


class Wire:
    """One connection, and the answers on it in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._held = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; what the server does not take because it has hung up is not sent."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def receive(self, *, has_body: bool = True) -> RawReply:
        """The next answer. Raises TimeoutError when none comes."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                return NO_ANSWER
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        size = int(headers.get("content-length", "0")) if has_body and status != 100 else 0
        while len(self._held) < size:
            if not self._more():
                break
        body, self._held = self._held[:size], self._held[size:]
        return RawReply(status, headers, body)

    def is_closed(self) -> bool:
        """Wait until the server closes the connection."""
        while self._more():
            pass
        return True

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self._held += data
        return bool(data)


def head(method: str, path: str, headers: Iterable[tuple[str, str]] = (), version: str = "1.1") -> bytes:
    """A request's head, with a Host header."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (("Host", "x"), *headers))
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode("utf-8", "surrogateescape")


def ask(port: int, data: bytes, *, has_body: bool = True) -> RawReply:
    """The answer to these bytes on a connection of their own."""
    with Wire(port) as wire:
        wire.send(data)
        return wire.receive(has_body=has_body)


def rss_bytes(pid: int) -> int:
    """The memory that a process has in use now."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def trickle(wire: Wire, data: bytes, pause_s: float, seconds: float) -> bool:
    """Send byte by byte; whether the server hung up before the time was over."""
    deadline = time.monotonic() + seconds
    wire.socket.settimeout(pause_s)
    for i in range(len(data)):
        if time.monotonic() > deadline:
            return False
        try:
            wire.socket.sendall(data[i : i + 1])
            if not wire.socket.recv(1):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False
