"""A Redis server from Debian's package redis-server, which .ci/run installs."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes.cluster import free_ports, wait_until

SERVER = shutil.which("redis-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
NEEDS_REDIS = pytest.mark.skipif(SERVER is None, reason="Redis is not installed: apt-get install redis-server")
ADMIN, PASSWORD = "admin", "admin123"

_ONCE = Retry(NoBackoff(), 0)


@dataclass
class RedisServer:
    """A server with the user `admin`, who may do everything; the default user is off."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> dict[str, object]:
        """What a configuration of it holds."""
        login = {"username": ADMIN, "password": PASSWORD}
        return {"plugin_name": "redis-database-plugin", "host": "127.0.0.1", "port": self.port, **login}

    def start(self) -> None:
        """Start the server; returns once it lets the administrator in."""
        assert SERVER is not None
        (self.folder / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\nsave ''\nuser default off\n"
            f"user {ADMIN} on >{PASSWORD} ~* &* +@all\n"
        )
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [SERVER, str(self.folder / "redis.conf")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, f"Redis answers; see {self.folder}/server.log", 30)

    def _answers(self) -> bool:
        try:
            return bool(self.as_user(ADMIN, PASSWORD).ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        """Stop the server; its users are lost but for those of its file."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(30)

    def as_user(self, username: str, password: str) -> redis.Redis:
        """A client that logs in like this."""
        return redis.Redis(port=self.port, username=username, password=password, retry=_ONCE, decode_responses=True)

    def users(self) -> set[str]:
        """Every user, but for the administrator and the one that is off."""
        with self.as_user(ADMIN, PASSWORD) as client:
            return set(client.acl_users()) - {ADMIN, "default"}


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    (port,) = free_ports(1)
    server = RedisServer(folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
