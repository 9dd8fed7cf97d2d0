"""engines/database/plugins/mysql against a real MariaDB, through the engine."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from engines.common.errors import InvalidRequest
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.plugins.mysql.address import address_of
from tests.databases.mariadb import ADMIN, CREATION, NEEDS_MARIADB, PASSWORD, Mariadb, mariadb
from tests.databases.stopping import stop_where_it_is
from tests.engines.database.rig import DatabaseRig, database_mount


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb() as running:
        yield running


@pytest.fixture
async def my(server: Mariadb) -> AsyncIterator[DatabaseRig]:
    async with database_mount() as rig:
        await rig.write("config/my", **_config(server))
        await rig.write("roles/app", db_name="my", creation_statements=CREATION, default_ttl="1h")
        yield rig
    for user in server.users():
        server.run(f"DROP USER '{user}'@'%'")


def _config(server: Mariadb) -> dict[str, object]:
    return {
        "plugin_name": "mysql-database-plugin",
        "allowed_roles": "*",
        "connection_url": server.template,
        "username": ADMIN,
        "password": PASSWORD,
    }


@NEEDS_MARIADB
async def test_a_user_is_made_and_goes_with_its_sessions(my: DatabaseRig, server: Mariadb) -> None:
    """It does what it was granted and no more; revoking drops it for every host, and again is no error."""
    user = await my.creds("app")
    assert len(user.username) == 32 and server.users() == {user.username}
    assert server.log_in(user.username, user.password, "SELECT 1").stdout == "1\n"
    assert "denied" in server.log_in(user.username, user.password, "CREATE DATABASE x").stderr
    server.run(f"CREATE USER '{user.username}'@'10.0.0.1'")
    await my.revoke(user)
    assert server.run(f"SELECT COUNT(*) FROM mysql.user WHERE User = '{user.username}'") == ["0"]
    await my.revoke(user)


@NEEDS_MARIADB
async def test_statements_that_fail_half_way_leave_nothing(my: DatabaseRig, server: Mariadb) -> None:
    """MySQL has no transactions for users: what was made is dropped at once. A syntax error quotes nothing."""
    for broken, says in (("GRANT nothing TO '{{name}}'@'%'", "nothing"), ("GRNT '{{password}}'", "syntax error")):
        await my.write("roles/app", creation_statements=CREATION + broken)
        with pytest.raises(DatabaseRefused, match=says):
            await my.creds("app")
        assert server.users() == set()
        await my.tend()
        assert await my.intents() == []


@NEEDS_MARIADB
@pytest.mark.parametrize("name", ["x'; DROP DATABASE shop; -- ", "a\\", 'q"`%s'])
async def test_hostile_names_are_only_names(my: DatabaseRig, server: Mariadb, name: str) -> None:
    """Quotes and backslashes of a name stay in it."""
    await my.write("config/my", username_template=name + "{{random 4}}")
    user = await my.creds("app")
    assert len(server.users()) == 1 and "shop" in server.run("SHOW DATABASES")
    assert server.log_in(user.username, user.password, "SELECT 1").stdout == "1\n"
    await my.revoke(user)
    assert server.users() == set()


@NEEDS_MARIADB
async def test_the_next_leader_drops_a_user_without_a_lease(my: DatabaseRig, server: Mariadb) -> None:
    """Intent, act, result, as with PostgreSQL."""
    await my.creds_plan("app")
    assert len(server.users()) == 1
    await my.next_leader().tend()
    assert server.users() == set()


@NEEDS_MARIADB
async def test_root_and_static_passwords_rotate(my: DatabaseRig, server: Mariadb) -> None:
    """By ALTER USER for any host."""
    server.run("CREATE USER worker IDENTIFIED BY 'first'")
    server.run("CREATE USER keeper IDENTIFIED BY 'known'")
    server.run("GRANT ALL ON *.* TO keeper WITH GRANT OPTION")
    await my.write("config/my", username="keeper", password="known")
    await my.write("rotate-root/my")
    assert server.log_in("keeper", "known", "SELECT 1").returncode != 0
    await my.write("static-roles/w", db_name="my", username="worker", rotation_period=60)
    creds = await my.read("static-creds/w")
    assert server.log_in("worker", creds["password"], "SELECT 1").stdout == "1\n"


@NEEDS_MARIADB
async def test_wrong_configurations_say_what_is_wrong(my: DatabaseRig, server: Mariadb) -> None:
    """Password, port and TLS; no secret in the text."""
    wrong = [
        ({"password": "Wr0ng-pass"}, "Access denied"),
        ({"connection_url": server.template.replace(str(server.port), "1")}, "connect"),
        ({"connection_url": server.template + "?tls=true"}, ""),
    ]
    for change, says in wrong:
        with pytest.raises(InvalidRequest, match="error verifying connection") as refusal:
            await my.write("config/my", **change)
        assert says in str(refusal.value)
        assert PASSWORD not in str(refusal.value) and "Wr0ng-pass" not in str(refusal.value)


@NEEDS_MARIADB
async def test_a_server_that_hangs_ends_its_requests_in_time(
    my: DatabaseRig, server: Mariadb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is left in it once it goes on."""
    await my.creds("app")
    monkeypatch.setattr("engines.database.pool.OPERATION_S_MAX", 1.0)
    assert server.process is not None
    stop_where_it_is([server.process.pid])
    try:
        async with asyncio.timeout(8):
            outcomes = await asyncio.gather(*(my.creds("app") for _ in range(6)), return_exceptions=True)
        assert all(isinstance(outcome, DatabaseUnreachable) for outcome in outcomes), outcomes
    finally:
        server.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):
        while await my.intents():
            my.sources.advance_s(61)
            await my.tend()
            await asyncio.sleep(0.05)
    assert len(server.users()) == 1


@pytest.mark.parametrize("url", ["", "mysql://u:p@h/db", "u:p@tcp(h:port)/db", "u:p@tcp(h:99999)/", "nothing"])
def test_urls_that_cannot_be(url: str) -> None:
    """The Go driver's form is the only one."""
    with pytest.raises(InvalidRequest, match="connection_url"):
        address_of({"connection_url": url})


def test_a_password_cannot_change_the_address() -> None:
    """Placeholders are replaced after the URL is taken apart."""
    settings = {
        "username": "a@b:c",
        "password": "p@tcp(evil:1)/",
        "connection_url": "{{username}}:{{password}}@tcp(h)/d",
    }
    assert address_of(settings).arguments == {
        "user": "a@b:c",
        "password": "p@tcp(evil:1)/",
        "host": "h",
        "port": 3306,
        "database": "d",
    }
