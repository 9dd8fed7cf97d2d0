"""The listening sockets of a listener."""

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.config.listeners import Listener

BACKLOG: Final = 1024


def bound_sockets(listener: Listener) -> list[socket.socket]:
    """One socket per address of the listener, bound and not listening yet. Raises OSError, which says why not."""
    if listener.is_unix:
        return [_unix_socket(listener)]
    at = listener.host_port
    found = socket.getaddrinfo(at.host or None, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:
                continue  # no IPv6 on this machine
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
            sock.bind(address)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return sockets


def _unix_socket(listener: Listener) -> socket.socket:
    """A socket file with the listener's owner, group and mode before anybody can connect to it."""
    path = listener.address
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        user = _number_of(listener.socket_user, lambda name: pwd.getpwnam(name).pw_uid)
        group = _number_of(listener.socket_group, lambda name: grp.getgrnam(name).gr_gid)
        if user >= 0 or group >= 0:
            os.chown(path, user, group)
        if listener.socket_mode is not None:
            Path(path).chmod(listener.socket_mode)
    except BaseException:
        sock.close()
        Path(path).unlink(missing_ok=True)
        raise
    return sock


def _number_of(name: str, look_up: Callable[[str], int]) -> int:
    """The number of a user or group that is named or numbered; -1 for none given."""
    if not name:
        return -1
    if name.isdecimal():
        return int(name)
    try:
        return look_up(name)
    except KeyError:
        raise OSError(errno.EINVAL, "socket_user or socket_group is not known on this machine") from None


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that has ended. Raises OSError for one in use and for any other file."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
