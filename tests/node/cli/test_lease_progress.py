"""node/cli/lease_progress.py: what `lease revoke -prefix -sync` shows while it waits."""

import io
import threading
from collections.abc import Mapping

import pytest

from node.cli import lease_progress
from node.cli.errors import ApiError, RemoteError
from node.cli.secret import Secret


class Server:
    """Leases that go away as they are looked at; the request is answered when `outcomes` say so."""

    def __init__(self, counts: list[int], outcomes: list[Exception | None]) -> None:
        self.counts = counts
        self.outcomes = outcomes
        self.written: list[tuple[str, object]] = []
        self.looked = threading.Event()

    def write(self, path: str, body: Mapping[str, object] | None = None) -> Secret | None:
        self.written.append((path, body))
        if self.counts:
            assert self.looked.wait(10)
            self.looked.clear()
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return None

    def list(self, path: str) -> Secret | None:
        if path == "sys/leases/lookup/db/":
            return Secret.of({"data": {"keys": ["creds/"]}})
        count = self.counts.pop(0)
        if not self.counts or count < 0:
            self.looked.set()
        if count < 0:
            count = -count
        return Secret.of({"data": {"keys": [f"l{i}" for i in range(count)]}}) if count else None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_progress, "LOOK_S", 0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_how_far_it_is() -> None:
    """In one line, which stays at the end; folders below the prefix count as well."""
    server, out = Server([300, 200, 0], [None]), Terminal()
    lease_progress.revoke_prefix(server, server, "db", out)
    assert server.written == [("sys/leases/revoke-prefix/db", {"sync": True})]
    lines = out.getvalue().split("\r")
    assert lines[1:3] == ["Revoked 0 of 300 leases ", "Revoked 100 of 300 leases "] and out.getvalue().endswith("\n")


def test_what_is_done_at_once_shows_nothing() -> None:
    """And nobody lists."""
    server, out = Server([], [None]), Terminal()
    lease_progress.revoke_prefix(server, server, "db", out)
    assert out.getvalue() == ""


def test_a_time_out_of_the_client_is_no_end() -> None:
    """It is asked again as long as leases go, and gives up once they do not."""
    late = RemoteError("timed out")
    server = Server([-300, -200, -100], [late, late, None])
    lease_progress.revoke_prefix(server, server, "db", io.StringIO())
    assert len(server.written) == 3
    server = Server([-300, -300], [late, late])
    with pytest.raises(RemoteError, match="timed out"):
        lease_progress.revoke_prefix(server, server, "db", io.StringIO())


def test_what_the_server_refuses_is_told() -> None:
    """As without progress."""
    server = Server([-300], [ApiError("PUT", "u", 400, ["failed to revoke"])])
    with pytest.raises(ApiError, match="failed to revoke"):
        lease_progress.revoke_prefix(server, server, "db", io.StringIO())
