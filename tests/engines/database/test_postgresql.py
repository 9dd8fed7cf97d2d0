"""engines/database/plugins/postgresql against a real server, through the engine."""

import asyncio
import time
from datetime import UTC, datetime

import psycopg
import pytest

from engines.common.errors import InvalidRequest
from engines.database import ENGINE
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from tests.databases.postgresql import CREATION, Postgres
from tests.engines.database.rig import DatabaseRig


async def test_a_user_can_do_what_it_was_granted_and_no_more(rig: DatabaseRig, pg: Postgres) -> None:
    """It logs in, reads, and may not drop the table; VALID UNTIL is the end of the lease and 5 s."""
    user = await rig.creds("app")
    assert user.username.startswith("v-root-app-")
    pg.ask("SELECT * FROM orders", user=user.username, password=user.password)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pg.ask("DROP TABLE orders", user=user.username, password=user.password)
    ((until,),) = pg.ask(f"SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{user.username}'")
    assert until == datetime.fromtimestamp(rig.sources.now_ms() // 1000 + 3605, UTC)
    await rig.revoke(user)
    assert pg.users() == set()
    await rig.revoke(user)  # again is no error


async def test_renewing_moves_the_end(rig: DatabaseRig, pg: Postgres) -> None:
    """The database is told the lease's new end, by the role's own statements if it has any."""
    user = await rig.creds("app")
    assert ENGINE.renew is not None
    for statements, more_s in (("", 5), ("ALTER ROLE \"{{name}}\" VALID UNTIL '2030-01-01 00:00:00+0000'", None)):
        await rig.write("roles/app", renew_statements=statements)
        lease = (await ENGINE.renew(user.internal, rig.ctx)).answer.lease
        assert lease is not None and lease.extend is not None and (lease.ttl_s, lease.max_ttl_s) == (3600, 86400)
        await lease.extend(1_800_000_000_000)
        ((until,),) = pg.ask(f"SELECT rolvaliduntil FROM pg_roles WHERE rolname = '{user.username}'")
        due = datetime(2030, 1, 1, tzinfo=UTC)
        assert until == (due if more_s is None else datetime.fromtimestamp(1_800_000_000 + more_s, UTC))
    await rig.delete("roles/app")
    with pytest.raises(InvalidRequest, match="could not find role"):
        await ENGINE.renew(user.internal, rig.ctx)


async def test_statements_that_fail_half_way_leave_nothing(rig: DatabaseRig, pg: Postgres) -> None:
    """They are one transaction, across the statements of a list as well; the error holds no password."""
    await rig.write("roles/app", creation_statements=[CREATION, 'GRANT nobody_knows TO "{{name}}"'])
    with pytest.raises(DatabaseRefused, match="nobody_knows"):
        await rig.creds("app")
    assert pg.users() == set()
    await rig.tend()
    assert await rig.intents() == []


async def test_rollback_statements_run_after_a_failure(rig: DatabaseRig, pg: Postgres) -> None:
    """For what a transaction cannot take back."""
    pg.ask("CREATE TABLE IF NOT EXISTS failures (name text)")
    await rig.write(
        "roles/app",
        creation_statements='CREATE USER "{{name}}"; SELECT 1/0',
        rollback_statements="INSERT INTO failures VALUES ('{{name}}')",
    )
    with pytest.raises(DatabaseRefused, match="division by zero"):
        await rig.creds("app")
    assert pg.ask("SELECT count(*) FROM failures WHERE name LIKE 'v-root-app-%'") == [(1,)]


async def test_a_syntax_error_never_quotes_the_password(rig: DatabaseRig) -> None:
    """Whatever the database says about the place of the fault."""
    await rig.write("roles/app", creation_statements="CREATE USR \"{{name}}\" PASSWORD '{{password}}'")
    with pytest.raises(DatabaseRefused) as refusal:
        await rig.creds("app")
    assert str(refusal.value) == "syntax error (SQLSTATE 42601)"


async def test_the_default_revocation_takes_what_the_user_owns(rig: DatabaseRig, pg: Postgres) -> None:
    """Privileges in any schema go, tables it made go to the administrator, its sessions end."""
    pg.ask("CREATE SCHEMA IF NOT EXISTS other; CREATE TABLE IF NOT EXISTS other.t (id int)")
    await rig.write(
        "roles/app",
        creation_statements=CREATION + ' GRANT ALL ON SCHEMA other TO "{{name}}"; GRANT ALL ON other.t TO "{{name}}"',
    )
    user = await rig.creds("app")
    pg.ask("CREATE TABLE other.made AS SELECT 1 AS one", user=user.username, password=user.password)
    open_session = psycopg.connect(
        host="127.0.0.1", port=pg.port, user=user.username, password=user.password, dbname="myapp"
    )
    await rig.revoke(user)
    assert pg.users() == set()
    assert pg.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'made'") == [("admin",)]
    with pytest.raises(psycopg.OperationalError):
        open_session.execute("SELECT 1")
    open_session.close()
    pg.ask("DROP TABLE other.made")


async def test_an_administrator_who_is_no_superuser_suffices(rig: DatabaseRig, pg: Postgres) -> None:
    """CREATEROLE is enough to make users, and to drop them with what they own."""
    pg.ask("CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker-1'; GRANT CREATE ON SCHEMA public TO maker")
    await rig.write("config/pg", username="maker", password="maker-1")
    await rig.write(
        "roles/app", creation_statements='CREATE USER "{{name}}" PASSWORD \'{{password}}\'; GRANT maker TO "{{name}}"'
    )
    with pytest.raises(DatabaseRefused):
        await rig.creds("app")  # it may not grant itself
    await rig.write("roles/app", creation_statements="CREATE USER \"{{name}}\" PASSWORD '{{password}}'")
    user = await rig.creds("app")
    pg.ask(f'GRANT CREATE ON SCHEMA public TO "{user.username}"')
    pg.ask("CREATE TABLE hers (id int)", user=user.username, password=user.password)
    pg.ask(f'REVOKE CREATE ON SCHEMA public FROM "{user.username}"')
    await rig.revoke(user)
    assert pg.users() == {"maker"}
    pg.ask("DROP TABLE hers")


async def test_scram_sends_the_server_a_verifier(rig: DatabaseRig, pg: Postgres) -> None:
    """password_authentication=scram-sha-256: the user logs in, and the server was never told the password."""
    await rig.write("config/pg", password_authentication="scram-sha-256")
    pg.ask("CREATE TABLE IF NOT EXISTS seen (what text)")
    told = "INSERT INTO seen VALUES ('{{name}} {{password}}')"
    await rig.write("roles/app", creation_statements=[CREATION, told])
    user = await rig.creds("app")
    ((what,),) = pg.ask(f"SELECT what FROM seen WHERE what LIKE '{user.username} %'")
    assert what.split()[1].startswith("SCRAM-SHA-256$4096:") and user.password not in what
    assert pg.ask("SELECT 1", user=user.username, password=user.password) == [(1,)]


async def test_many_at_once_share_a_bounded_number_of_connections(rig: DatabaseRig, pg: Postgres) -> None:
    """Thirty requests that grant on the same table, three connections: none fails, and all users go again."""
    await rig.write("config/pg", max_open_connections=3)
    users = await asyncio.gather(*(rig.creds("app") for _ in range(30)))
    assert pg.users() == {user.username for user in users}
    ((count,),) = pg.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom'")
    assert count <= 3
    await asyncio.gather(*(rig.revoke(user) for user in users))
    assert pg.users() == set()


async def test_what_collided_does_not_wait_behind_those_who_come_later(rig: DatabaseRig, pg: Postgres) -> None:
    """On a server whose commits are slow, each user is made or dropped after a few attempts at most.

    Grants on one table exclude each other. Let on beside the winner, the losers of each round met the next ones again,
    until one of them had no answer within 10 s.
    """
    pg.ask("ALTER SYSTEM SET commit_delay = 20000")
    pg.ask("ALTER SYSTEM SET commit_siblings = 0")
    pg.ask("SELECT pg_reload_conf()")
    log = pg.folder / "server.log"
    try:
        already = log.read_text().count("concurrently updated")
        users = await asyncio.gather(*(rig.creds("app") for _ in range(40)))
        await asyncio.gather(*(rig.revoke(user) for user in users))
        assert log.read_text().count("concurrently updated") - already < 20
    finally:
        pg.ask("ALTER SYSTEM RESET ALL")
        pg.ask("SELECT pg_reload_conf()")


async def test_one_user_dropped_twice_at_once(rig: DatabaseRig, pg: Postgres) -> None:
    """By this leader, and by a statement that the one before has left with the server: both say yes."""
    users = [await rig.creds("app") for _ in range(5)]
    other = rig.next_leader()
    await asyncio.gather(*(one.revoke(user) for user in users for one in (rig, other)))
    assert pg.users() == set()
    await other.ctx.out.held.close()


async def test_connections_that_a_restart_has_cut_are_replaced(rig: DatabaseRig, pg: Postgres) -> None:
    """Nobody sees the idle ones that the database has closed."""
    user = await rig.creds("app")
    pg.stop()
    with pytest.raises(DatabaseUnreachable):
        await rig.revoke(user)
    pg.start()
    await rig.revoke(user)
    assert pg.users() == set()


async def test_a_database_that_hangs_ends_its_requests_in_time(
    rig: DatabaseRig, pg: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request gives up at the limit, others go on meanwhile, and once the database goes on nothing is left in it."""
    await rig.creds("app")
    monkeypatch.setattr("engines.database.pool.OPERATION_S_MAX", 1.0)
    pg.freeze()
    try:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(rig.creds("app") for _ in range(6)), return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnreachable) for outcome in outcomes), outcomes
        assert time.monotonic() - began < 8
    finally:
        pg.thaw()
    rig.sources.advance_s(61)
    async with asyncio.timeout(30):
        while await rig.intents():
            await rig.tend()
            rig.sources.advance_s(61)
            await asyncio.sleep(0.05)
    assert len(pg.users()) == 1  # the first
