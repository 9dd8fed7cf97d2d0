"""engines/database/paths.py: configurations and roles, as the API documents them."""

import orjson
import pytest

from engines.common.errors import InvalidRequest, NotFound, OutsideFailed
from engines.common.frame import Operation
from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres
from tests.engines.database.rig import DatabaseRig, database_mount, with_postgresql
from tests.processes.cluster import free_ports


async def test_a_configuration_is_shown_without_its_password(rig: DatabaseRig, pg: Postgres) -> None:
    """Neither where it is a setting, nor where somebody wrote it into the URL."""
    shown = await rig.read("config/pg")
    assert shown == {
        "allowed_roles": ["*"],
        "connection_details": {"connection_url": pg.template, "username": ADMIN},
        "password_policy": "",
        "plugin_name": "postgresql-database-plugin",
        "plugin_version": "",
        "root_credentials_rotate_statements": [],
    }
    for url in (
        f"postgresql://{ADMIN}:{PASSWORD}@127.0.0.1:{pg.port}/myapp",
        f"host=127.0.0.1 port={pg.port} dbname=myapp user={ADMIN} password={PASSWORD}",
        f"host=127.0.0.1 port={pg.port} dbname=myapp user={ADMIN} password='{PASSWORD}'",
        f"postgresql://127.0.0.1:{pg.port}/myapp?user={ADMIN}&password={PASSWORD}",
    ):
        await rig.write("config/pg", connection_url=url)
        assert PASSWORD not in orjson.dumps(await rig.read("config/pg")).decode(), url


async def test_what_a_configuration_does_not_say_again_stays(rig: DatabaseRig) -> None:
    """The password as well: a change of allowed_roles needs none."""
    await rig.write("config/pg", allowed_roles="a,b", max_open_connections="2")
    shown = await rig.read("config/pg")
    assert shown["allowed_roles"] == ["a", "b"] and shown["connection_details"]["max_open_connections"] == 2
    assert await rig.exists("config/pg") and not await rig.exists("config/other")
    assert await rig.list("config") == ["pg"]


async def test_the_connection_is_checked_unless_told_otherwise(rig: DatabaseRig, pg: Postgres) -> None:
    """Wrong password, unreachable host, no such database: a clear error, nothing stored, no secret in it."""
    (closed,) = free_ports(1)
    wrong = [
        ({"password": "Wr0ng-pass"}, "password authentication failed"),
        ({"connection_url": pg.template.replace(str(pg.port), str(closed))}, "refused"),
        ({"connection_url": pg.template.replace("/myapp", "/nothing")}, "does not exist"),
        ({"connection_url": pg.template.replace("sslmode=disable", "sslmode=require")}, "SSL"),
        ({"connection_url": pg.template.replace(str(pg.port), "x")}, "connection_url has a parameter"),
        ({"connection_url": "postgresql://[" + PASSWORD}, "not a PostgreSQL connection URL"),
    ]
    before = await rig.read("config/pg")
    for change, says in wrong:
        with pytest.raises(InvalidRequest) as refusal:
            await rig.write("config/pg", **change)
        assert says in str(refusal.value)
        assert PASSWORD not in str(refusal.value) and "Wr0ng-pass" not in str(refusal.value)
    assert await rig.read("config/pg") == before
    await rig.write("config/pg", password="Wr0ng-pass", verify_connection=False)
    with pytest.raises(OutsideFailed, match="password authentication failed"):
        await rig.creds("app")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plugin_name": "oracle"}, "unknown plugin"),
        ({"username_template": "{{nothing}}"}, "username_template"),
        ({"password_authentication": "md5"}, "password_authentication"),
        ({"max_open_connections": 100_000}, "max_open_connections"),
        ({"connection_url": ""}, "connection_url cannot be empty"),
        ({"root_rotation_statements": 7}, "statements"),
    ],
)
async def test_configurations_that_cannot_be(rig: DatabaseRig, change: dict[str, object], says: str) -> None:
    """Each is refused with what is wrong, verified or not."""
    with pytest.raises(InvalidRequest, match=says):
        await rig.write("config/pg", verify_connection=False, **change)


async def test_only_allowed_roles_use_a_connection(rig: DatabaseRig) -> None:
    """An empty list allows none; a star stands for any rest."""
    for allowed, is_good in (("", False), ("other", False), ("ap", False), ("app", True), ("other,a*", True)):
        await rig.write("config/pg", allowed_roles=[one for one in allowed.split(",") if one])
        if is_good:
            await rig.creds("app")
            continue
        with pytest.raises(InvalidRequest, match="is not an allowed role"):
            await rig.creds("app")


async def test_a_role_is_shown_as_it_was_given(rig: DatabaseRig) -> None:
    """With every list of statements and lifetimes in seconds; a change keeps the rest."""
    await rig.write("roles/app", revocation_statements='["A", "B"]', renew_statements=["C"], max_ttl="48h")
    assert await rig.read("roles/app") == {
        "creation_statements": [CREATION],
        "credential_type": "password",
        "db_name": "pg",
        "default_ttl": 3600,
        "max_ttl": 172800,
        "renew_statements": ["C"],
        "revocation_statements": ['["A", "B"]'],
        "rollback_statements": [],
    }
    assert await rig.list("roles") == ["app"]
    assert await rig.exists("roles/app") and not await rig.exists("roles/other")
    await rig.delete("roles/app")
    with pytest.raises(NotFound):
        await rig.read("roles/app")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"db_name": ""}, "empty database name"),
        ({"db_name": "pg", "default_ttl": "2h", "max_ttl": "1h"}, "greater than max_ttl"),
        ({"db_name": "pg", "default_ttl": "-1h"}, "negative"),
        ({"db_name": "pg", "credential_type": "client_certificate"}, "unsupported credential_type"),
        ({"db_name": "pg", "creation_statements": {"a": 1}}, "statements"),
    ],
)
async def test_roles_that_cannot_be(rig: DatabaseRig, body: dict[str, object], says: str) -> None:
    """Each is refused with what is wrong."""
    with pytest.raises(InvalidRequest, match=says):
        await rig.write("roles/new", **body)


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "-a", "a" * 300, "é;"])
async def test_names_are_words(rig: DatabaseRig, name: str) -> None:
    """Of connections, roles and static roles."""
    for path in ("config", "roles", "static-roles"):
        with pytest.raises(InvalidRequest):
            await rig.write(f"{path}/{name}", db_name="pg", username="u", rotation_period=60)


async def test_what_is_missing_is_said(rig: DatabaseRig) -> None:
    """A role that does not exist, a connection that does not exist, a role without statements."""
    with pytest.raises(InvalidRequest, match="unknown role: nobody"):
        await rig.creds("nobody")
    await rig.write("roles/lost", db_name="gone", creation_statements=CREATION)
    with pytest.raises(InvalidRequest, match='"gone" does not exist'):
        await rig.creds("lost")
    await rig.write("roles/empty", db_name="pg")
    with pytest.raises(InvalidRequest, match="empty creation statements"):
        await rig.creds("empty")
    assert await rig.intents() == []
    for path in ("config/x", "roles/x", "static-roles/x"):
        with pytest.raises(NotFound):
            await rig.read(path)


async def test_reset_and_reload_open_the_connections_anew(rig: DatabaseRig, pg: Postgres) -> None:
    """The sessions of before are gone, and the next request works."""
    await rig.creds("app")
    for path in ("reset/pg", "reload/postgresql-database-plugin"):
        assert rig.ctx.out.held.names() == ["database/pg"]
        answer = await rig.write(path)
        assert answer == (None if path.startswith("reset") else {"connections": ["pg"], "count": 1})
        assert rig.ctx.out.held.names() == []
        await rig.creds("app")
    with pytest.raises(NotFound):
        await rig.write("reset/other")


async def test_deleting_a_connection_closes_it() -> None:
    """And a list of none is a 404, as everywhere."""
    async with database_mount() as rig:
        with pytest.raises(NotFound):
            await rig.answer(Operation.LIST, "config")


async def test_the_driver_is_loaded_when_first_needed(pg: Postgres) -> None:
    """A missing one gives a clear error, and nothing is stored."""
    async with database_mount() as rig:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("sys").modules, "psycopg", None)
            with pytest.raises(InvalidRequest, match=r"not installed: add the package psycopg\[binary\]"):
                await with_postgresql(rig, pg)
        with pytest.raises(NotFound):
            await rig.read("config/pg")
