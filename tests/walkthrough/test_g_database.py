"""Walkthrough G: credentials of a real PostgreSQL from a cluster of three nodes, whose leader dies in between.

What counts is seen from inside the database: who is in pg_roles, or mysql.user.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.databases.mariadb import CREATION as MYSQL_CREATION
from tests.databases.mariadb import NEEDS_MARIADB, mariadb
from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres
from tests.processes.cluster import Cluster, Node, cluster, wait_until
from tests.walkthrough.documented import commands_of
from tests.walkthrough.kit import Cli, cli_for

pytestmark = pytest.mark.processes

ROLE = "database/creds/myapp-role"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("g")) as running:
        yield running


@pytest.fixture
def sr(three: Cluster) -> Cli:
    leader = three.wait_leader()
    return cli_for(leader.folder / "home", leader.address, three.root_token)


@pytest.fixture
def database(three: Cluster, sr: Cli, pg: Postgres) -> Iterator[Cli]:
    """The steps of the walkthrough up to the first credentials."""
    try:
        _configure(sr, pg)
        yield sr
        reply = three.call("DELETE", "sys/mounts/database")
        assert reply.status == 204, reply.body
        assert pg.users() == set()
    finally:
        _as_at_first(three, pg)


def _as_at_first(three: Cluster, pg: Postgres) -> None:
    """What the next test begins with, however this one ended: all nodes, no mount and no user."""
    for node in three.nodes:
        if node.process is None:
            node.start()
    three.call("PUT", "sys/leases/revoke-force/database")
    three.call("DELETE", "sys/mounts/database")
    for user in pg.users():
        pg.ask(f'DROP OWNED BY "{user}"; DROP ROLE "{user}"')


def _configure(sr: Cli, pg: Postgres, **role: str) -> None:
    sr.ok("secrets", "enable", "database")
    sr.ok(
        *("write", "database/config/myapp-pg", "plugin_name=postgresql-database-plugin", "allowed_roles=myapp-role"),
        *(f"connection_url={pg.template}", f"username={ADMIN}", f"password={PASSWORD}"),
    )
    settings = {"default_ttl": "1h", "max_ttl": "24h", **role}
    sr.ok(
        *("write", "database/roles/myapp-role", "db_name=myapp-pg", f"creation_statements={CREATION}"),
        *(f"{name}={value}" for name, value in settings.items()),
    )


def _creds(sr: Cli) -> Any:
    return sr.ok("read", "-format=json", ROLE).json


def _kill_leader(three: Cluster) -> None:
    leader = three.wait_leader()
    leader.kill()
    three.wait_leader()


def test_credentials_as_written(database: Cli, pg: Postgres) -> None:
    """Read, use, look up, renew, revoke one, revoke all: the columns and texts of the walkthrough."""
    sr = database
    rows = sr.ok("read", ROLE).rows
    assert rows["lease_id"].startswith(f"{ROLE}/") and rows["lease_duration"] == "1h"
    assert rows["lease_renewable"] == "true" and rows["username"].startswith("v-root-myapp-ro-")
    pg.ask("INSERT INTO orders VALUES (1, 'a')", user=rows["username"], password=rows["password"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pg.ask("DELETE FROM orders", user=rows["username"], password=rows["password"])
    assert sr.ok("lease", "lookup", rows["lease_id"]).rows["id"] == rows["lease_id"]
    query = f"SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{rows['username']}'"
    before = pg.ask(query)
    sr.ok("lease", "renew", "-increment=2h", rows["lease_id"])
    assert pg.ask(query) > before
    sr.ok("lease", "revoke", rows["lease_id"])
    wait_until(lambda: pg.users() == set(), "the user of the revoked lease is gone")
    for _ in range(3):
        _creds(sr)
    assert len(pg.users()) == 3
    out = sr.ok("lease", "revoke", "-prefix", ROLE).out
    assert "All revocation operations queued successfully!" in out
    wait_until(lambda: pg.users() == set(), "the users of the prefix are gone")
    for _ in range(3):
        _creds(sr)
    assert "Success! Revoked any leases with prefix" in sr.ok("lease", "revoke", "-prefix", "-sync", ROLE).out
    assert pg.users() == set()


def test_a_user_goes_at_its_end_although_the_leader_died(database: Cli, three: Cluster, pg: Postgres) -> None:
    """Issued by one leader, ended by the next."""
    database.ok("write", "database/roles/myapp-role", "default_ttl=4s")
    users = {_creds(database)["data"]["username"] for _ in range(3)}
    assert users & pg.users()
    _kill_leader(three)
    wait_until(lambda: pg.users() == set(), "the new leader has ended the leases", 30)


def test_a_leader_killed_while_it_issues_leaves_no_user_without_a_lease(
    database: Cli, three: Cluster, pg: Postgres
) -> None:
    """Killed in the midst of many requests: afterwards the users in the database are those of the leases."""

    def issue(_: int) -> str:
        try:
            reply = three.nodes[1].call("GET", ROLE, token=three.root_token, timeout_s=30)
        except OSError:
            return ""
        return reply.json["data"]["username"] if reply.status == 200 else ""

    with ThreadPoolExecutor(8) as pool:
        issued = [pool.submit(issue, i) for i in range(120)]
        wait_until(lambda: len(pg.users()) > 20, "some are issued")
        leader = three.wait_leader()
        leader.kill()
        told = {name for future in issued if (name := future.result())}
    three.wait_leader()

    def users_are_leased() -> bool:
        listed = three.call("LIST", f"sys/leases/lookup/{ROLE}/").json["data"]["keys"]
        return len(listed) == len(pg.users())

    wait_until(users_are_leased, "each user has a lease and each lease a user", 120)
    if leader is not three.nodes[1]:
        assert told <= pg.users(), "a user that was handed out is there"


def test_revocation_waits_for_a_database_that_is_down(database: Cli, three: Cluster, pg: Postgres) -> None:
    """Nothing is forgotten: it is tried again, and counted, across a change of leader."""
    lease_id = _creds(database)["lease_id"]
    pg.stop()
    try:
        reply = three.call("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})
        assert reply.status == 400 and "refused" in reply.json["errors"][0], reply.body
        _kill_leader(three)
    finally:
        pg.start()
    assert len(pg.users()) == 1
    wait_until(lambda: pg.users() == set(), "the retry has dropped the user", 60)


def test_rotate_root(three: Cluster, sr: Cli, pg: Postgres) -> None:
    """From then on nobody but the server knows the password; another node does, too."""
    pg.ask("CREATE USER keeper SUPERUSER PASSWORD 'known'")
    sr.ok("secrets", "enable", "-path=rooted", "database")
    sr.ok(
        *("write", "rooted/config/pg", "plugin_name=postgresql-database-plugin", "allowed_roles=*"),
        *(f"connection_url={pg.template}", "username=keeper", "password=known"),
    )
    sr.ok("write", "rooted/roles/r", "db_name=pg", f"creation_statements={CREATION}")
    sr.ok("write", "-f", "rooted/rotate-root/pg")
    with pytest.raises(psycopg.OperationalError):
        pg.ask("SELECT 1", user="keeper", password="known")
    _kill_leader(three)
    creds = three.call("GET", "rooted/creds/r").json
    assert creds["data"]["username"] in pg.users()
    assert three.call("DELETE", "sys/mounts/rooted").status == 204
    assert pg.users() == {"keeper"}
    pg.ask("DROP OWNED BY keeper; DROP ROLE keeper")
    for node in three.nodes:
        if node.process is None:
            node.start()


def test_the_documented_commands(dev: Node, tmp_path: Path, pg: Postgres) -> None:
    """docs/secrets/database.md: each command succeeds, in order, on a mount of its own."""
    sr = cli_for(tmp_path / "home", dev.address, "root")
    pg.ask("CREATE USER worker")
    commands = commands_of("secrets/database.md")
    assert len(commands) >= 10
    for words in commands:
        sr.ok(*(word.replace(":5432", f":{pg.port}") for word in words))
    assert pg.users() == {"worker"}
    pg.ask("DROP USER worker")


@pytest.mark.slow
def test_a_thousand_leases_end_and_no_user_is_left(database: Cli, three: Cluster, pg: Postgres) -> None:
    """All end within the same seconds, after the leader died: the database sets the pace, not a pause of ours."""
    database.ok("write", "database/config/myapp-pg", "max_open_connections=8")
    database.ok("write", "database/roles/myapp-role", "default_ttl=40s")
    leader = three.wait_leader()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: leader.call("GET", ROLE, token=three.root_token), range(1000)))
    assert {reply.status for reply in replies} == {200}
    assert len(pg.users()) == 1000
    _kill_leader(three)
    wait_until(lambda: not pg.users(), "all users are gone", 120)
    wait_until(lambda: three.call("LIST", f"sys/leases/lookup/{ROLE}/").status == 404, "all leases are gone", 10)


@NEEDS_MARIADB
def test_mysql_users_go_as_well(three: Cluster, sr: Cli) -> None:
    """The same with MariaDB: issued, the leader killed, ended by the next, seen in mysql.user."""
    with mariadb() as server:
        sr.ok("secrets", "enable", "-path=my", "database")
        sr.ok(
            *("write", "my/config/shop", "plugin_name=mysql-database-plugin", "allowed_roles=*"),
            *(f"connection_url={server.template}", "username=admin", "password=admin123"),
        )
        sr.ok("write", "my/roles/r", "db_name=shop", f"creation_statements={MYSQL_CREATION}", "default_ttl=4s")
        made = sr.ok("read", "-format=json", "my/creds/r").json["data"]
        assert server.log_in(made["username"], made["password"], "SELECT 1").stdout == "1\n"
        _kill_leader(three)
        wait_until(lambda: server.users() == set(), "the new leader has ended the lease", 30)
        assert three.call("DELETE", "sys/mounts/my").status == 204
