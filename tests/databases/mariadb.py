"""A MariaDB server from Debian's package mariadb-server, which .ci/run installs."""

import getpass
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes.cluster import free_ports, wait_until

SERVER, INSTALL, CLIENT = (
    shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    for name in ("mariadbd", "mariadb-install-db", "mariadb")
)
NEEDS_MARIADB = pytest.mark.skipif(
    not (SERVER and INSTALL and CLIENT), reason="MariaDB is not installed: apt-get install mariadb-server"
)
ADMIN, PASSWORD = "admin", "admin123"
CREATION = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON shop.* TO '{{name}}'@'%';"


@dataclass
class Mariadb:
    """A server with the account `admin`, which may do everything, and the database `shop`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def template(self) -> str:
        """The connection_url of a configuration."""
        return f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{self.port})/"

    def start(self) -> None:
        """Start the server; returns once it answers."""
        assert SERVER is not None
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    SERVER,
                    "--no-defaults",
                    f"--user={getpass.getuser()}",
                    f"--datadir={self.folder / 'data'}",
                    f"--socket={self.folder / 's'}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--pid-file={self.folder / 'pid'}",
                    "--skip-name-resolve",
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_until(lambda: self._as_root("SELECT 1").returncode == 0, "MariaDB answers", 60)

    def stop(self) -> None:
        """End the server; its data stay."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            process.wait(60)

    def _as_root(self, query: str) -> "subprocess.CompletedProcess[str]":
        assert CLIENT is not None
        words = [CLIENT, "--no-defaults", f"--socket={self.folder / 's'}", f"--user={getpass.getuser()}"]
        return subprocess.run([*words, "-N", "-B", "-e", query], capture_output=True, text=True)

    def run(self, query: str) -> list[str]:
        """The lines that a query of the server's owner gives."""
        done = self._as_root(query)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def users(self) -> set[str]:
        """Every account for any host, but for the administrator."""
        return set(self.run("SELECT User FROM mysql.user WHERE Host = '%'")) - {ADMIN}

    def log_in(self, user: str, password: str, query: str) -> "subprocess.CompletedProcess[str]":
        """A query of somebody else."""
        assert CLIENT is not None
        words: list[Any] = [CLIENT, "--no-defaults", "--host=127.0.0.1", f"--port={self.port}", f"--user={user}"]
        return subprocess.run([*words, f"--password={password}", "-N", "-e", query], capture_output=True, text=True)


@contextmanager
def mariadb() -> Iterator[Mariadb]:
    """A running server."""
    assert INSTALL is not None
    folder = Path(tempfile.mkdtemp(prefix="mysql-"))
    (port,) = free_ports(1)
    server = Mariadb(folder, port)
    try:
        owner = getpass.getuser()
        words = [INSTALL, "--no-defaults", f"--datadir={folder / 'data'}", f"--user={owner}", "--skip-test-db"]
        made = subprocess.run(
            [*words, "--auth-root-authentication-method=socket", f"--auth-root-socket-user={owner}"],
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        server.start()
        server.run(f"CREATE USER '{ADMIN}'@'%' IDENTIFIED BY '{PASSWORD}'")
        server.run(f"GRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION; CREATE DATABASE shop")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
