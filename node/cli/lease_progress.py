"""`lease revoke -prefix -sync`: how far a revocation is that takes its time, as seen by listing what is left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from node.cli.errors import ApiError, CliError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.cli.secret import Secret

LOOK_S: Final = 1.0  # between two looks; what is done before the first one has no progress to show
_LINE_LOOKS: Final = 5  # looks between two lines where stderr is no terminal


class Asks(Protocol):
    """The client, as far as it is needed here."""

    def write(self, path: str, body: Mapping[str, object] | None = None) -> Secret | None:
        """PUT."""

    def list(self, path: str) -> Secret | None:
        """LIST; None when there is nothing."""


class _Revocation(threading.Thread):
    """The request itself, beside which the main thread looks how far it is."""

    def __init__(self, client: Asks, path: str) -> None:
        super().__init__(daemon=True)  # an interrupted command ends; the server goes on
        self._client = client
        self._path = path
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._client.write(self._path, {"sync": True})
        except BaseException as error:
            self.error = error  # raised in the main thread, also what only says how the request would look


class Progress:
    """Shows how many leases are left below a prefix."""

    def __init__(self, client: Asks, prefix: str, out: TextIO) -> None:
        self._client = client
        self._prefix = prefix.strip("/")
        self._out = out
        self._most = 0
        self._looks = 0

    def left(self) -> int | None:
        """How many leases there are; None for who may not list them."""
        folders, count = [f"sys/leases/lookup/{self._prefix}/"], 0
        while folders:
            folder = folders.pop()
            try:
                found = self._client.list(folder)
            except RemoteError:
                return None
            keys = (found.data or {}).get("keys") if found is not None else None
            for key in keys if isinstance(keys, list) else ():
                if isinstance(key, str) and key.endswith("/"):
                    folders.append(folder + key)
                else:
                    count += 1
        return count

    def show(self, left: int) -> None:
        """One look's result: in place on a terminal, else a line every few looks."""
        self._most = max(self._most, left)
        self._looks += 1
        text = f"Revoked {self._most - left:,} of {self._most:,} leases"
        if self._out.isatty():
            self._out.write(f"\r{text} ")
            self._out.flush()
        elif self._looks % _LINE_LOOKS == 1:
            self._out.write(text + "\n")

    def end(self) -> None:
        """Leave the line that was written in place."""
        if self._looks and self._out.isatty():
            self._out.write("\n")


def revoke_prefix(client: Asks, watcher: Asks, prefix: str, out: TextIO) -> None:
    """Revoke and wait. `watcher` looks meanwhile, by another connection.

    A server that is still at it when the client's time-out ends is asked again, for as long as leases go: it goes on
    with what is left.
    """
    progress = Progress(watcher, prefix, out)
    before: int | None = None
    while True:
        request = _Revocation(client, f"sys/leases/revoke-prefix/{prefix}")
        request.start()
        left = _watched(request, progress)
        error = request.error
        if error is None:
            return
        is_slow = isinstance(error, RemoteError) and not isinstance(error, ApiError)
        if not is_slow or left is None or (before is not None and left >= before):
            raise error if isinstance(error, Exception) else CliError("interrupted")
        before = left


def _watched(request: _Revocation, progress: Progress) -> int | None:
    left: int | None = None
    request.join(LOOK_S)
    while request.is_alive():
        left = progress.left()
        if left is not None and request.is_alive():
            progress.show(left)
        request.join(LOOK_S)
    progress.end()
    return left
