"""Listening sockets: files with their mode and owner, and addresses."""

import os
import socket
import stat
from pathlib import Path

import pytest

from node.config.listeners import Listener
from node.sockets import bound_sockets
from tests.node.edges import listening


def unix(path: Path, **settings: object) -> Listener:
    return Listener(type="unix", address=str(path), **settings)  # type: ignore[arg-type]


async def test_a_unix_socket_serves(tmp_path: Path) -> None:
    """Requests come over the file, from nobody with an address; it goes with the listener."""
    path = tmp_path / "s.sock"
    group = os.getgid()
    async with listening(unix(path, socket_mode=0o660, socket_group=str(group), socket_user=str(os.getuid()))) as rig:
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (os.getuid(), group)
        seen = await rig.get()
        assert (seen.client_address, seen.client_port) == ("", 0)
    assert not path.exists()


def test_its_file_is_taken_over_only_from_the_dead(tmp_path: Path) -> None:
    """The socket of a process that has ended is replaced; one in use, and any other file, is left alone."""
    path = tmp_path / "s.sock"
    (first,) = bound_sockets(unix(path))
    first.listen()
    with pytest.raises(OSError, match="in use"):
        bound_sockets(unix(path))
    first.close()
    (second,) = bound_sockets(unix(path))
    second.close()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(OSError, match="no socket"):
        bound_sockets(unix(path))
    assert path.read_text() == "a file"


@pytest.mark.parametrize("settings", [{"socket_user": "no-such-user"}, {"socket_group": "no-such-group"}])
def test_an_unknown_owner(tmp_path: Path, settings: dict[str, str]) -> None:
    """It is an error, and leaves no file behind."""
    with pytest.raises(OSError, match="not known on this machine"):
        bound_sockets(unix(tmp_path / "s.sock", **settings))
    assert not list(tmp_path.iterdir())


def test_every_address_of_a_name() -> None:
    """An empty host is every interface, IPv6 included where there is any."""
    sockets = bound_sockets(Listener(type="tcp", address=":0"))
    assert socket.AF_INET in {sock.family for sock in sockets}
    for sock in sockets:
        sock.close()
