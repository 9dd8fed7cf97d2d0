"""engines/database/plugins/mongodb against a stand-in that speaks the wire protocol (tests/databases/mongodb.py)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pymongo
import pymongo.errors
import pytest

from engines.common.errors import InvalidRequest
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.plugins.mongodb import PLUGIN
from engines.database.plugins.mongodb.statements import creation_of, write_concern_of
from tests.databases.mongodb import ADMIN, CREATION, PASSWORD, MongodbStandIn, mongodb
from tests.engines.database.rig import DatabaseRig, database_mount


@pytest.fixture
def server() -> Iterator[MongodbStandIn]:
    with mongodb() as running:
        yield running


def _config(server: MongodbStandIn, **more: object) -> dict[str, object]:
    login = {"connection_url": server.template, "username": ADMIN, "password": PASSWORD}
    return {"plugin_name": "mongodb-database-plugin", "allowed_roles": "*", **login, **more}


@pytest.fixture
async def mg(server: MongodbStandIn) -> AsyncIterator[DatabaseRig]:
    async with database_mount() as rig:
        await rig.write("config/mg", **_config(server))
        await rig.write("roles/app.v1", db_name="mg", creation_statements=CREATION)
        yield rig


def _logs_in(server: MongodbStandIn, username: str, password: str, source: str = "admin") -> bool:
    with pymongo.MongoClient[dict[str, object]](
        "127.0.0.1",
        server.port,
        username=username,
        password=password,
        authSource=source,
        directConnection=True,
        serverSelectionTimeoutMS=10_000,
    ) as client:
        try:
            client.admin.command("ping")
        except pymongo.errors.OperationFailure:
            return False
        return True


async def test_a_user_is_made_with_its_roles_and_goes(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """In the database of the statements, with a login that works; revoking again is no error."""
    user = await mg.creds("app.v1")
    assert user.username.startswith("v-root-app-v1-")
    _, roles = server.accounts[("admin", user.username)]
    assert roles == [{"role": "readWrite", "db": "shop"}, "read"]
    assert await asyncio.to_thread(_logs_in, server, user.username, user.password)
    await mg.revoke(user)
    assert server.users() == set()
    assert not await asyncio.to_thread(_logs_in, server, user.username, user.password)
    await mg.revoke(user)


async def test_a_user_of_another_database_goes_without_statements(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """It is looked for in every database; revocation statements name one."""
    await mg.write("roles/app.v1", creation_statements='{"db": "shop", "roles": ["readWrite"]}')
    user = await mg.creds("app.v1")
    assert ("shop", user.username) in server.accounts
    await mg.revoke(user)
    assert server.users() == set()
    await mg.write("roles/app.v1", revocation_statements='{"db": "shop"}')
    await mg.revoke(await mg.creds("app.v1"))
    assert server.users() == set()


async def test_what_the_database_refuses_leaves_nothing(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """Its number is told, and no password."""
    await mg.write("roles/app.v1", creation_statements='{"roles": [{"role": "nonsense"}]}')
    with pytest.raises(DatabaseRefused, match=r"Could not find role: nonsense@admin \(31\)"):
        await mg.creds("app.v1")
    await mg.tend()
    assert server.users() == set() and await mg.intents() == []


@pytest.mark.parametrize(
    "given",
    ["", "{}", '{"roles": []}', '{"roles": [1]}', '{"roles": [{"db": "x"}]}', '{"db": 1, "roles": ["r"]}', "no"],
)
async def test_statements_that_cannot_be(given: str) -> None:
    """Only a JSON object with roles."""
    with pytest.raises(InvalidRequest):
        creation_of((given,))


async def test_statements_and_write_concern_may_be_in_base64() -> None:
    """As documented; the names of the write concern are those of the driver that the documentation names."""
    assert creation_of(("eyJyb2xlcyI6IFsicmVhZCJdfQ==",)).roles == ("read",)
    assert write_concern_of('{"wmode": "majority", "wtimeout": 5000}') == {"w": "majority", "wtimeout": 5000}
    assert write_concern_of("eyJ3IjogMX0=") == {"w": 1}
    with pytest.raises(InvalidRequest, match="write_concern"):
        write_concern_of('{"wmode": {"$where": 1}}')


async def test_the_write_concern_goes_with_every_change(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """createUser and dropUser alike."""
    await mg.write("config/mg", write_concern='{"wmode": "majority", "wtimeout": 5000}')
    await mg.revoke(await mg.creds("app.v1"))
    changes = [one for one in server.commands if "createUser" in one or "dropUser" in one]
    assert [one["writeConcern"] for one in changes] == [{"w": "majority", "wtimeout": 5000}] * 2


async def test_the_next_leader_drops_a_user_without_a_lease(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """Intent, act, result, as with PostgreSQL."""
    await mg.creds_plan("app.v1")
    assert len(server.users()) == 1
    await mg.next_leader().tend()
    assert server.users() == set()


async def test_root_and_static_passwords_rotate(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """By updateUser, in the database that the configured user logs in to, or the one of the statements."""
    server.accounts[("shop", "worker")] = ("first", [])
    await mg.write(
        "static-roles/w", db_name="mg", username="worker", rotation_period=60, rotation_statements='{"db": "shop"}'
    )
    creds = await mg.read("static-creds/w")
    assert server.accounts[("shop", "worker")][0] == creds["password"] != "first"
    await mg.write("rotate-root/mg")
    assert server.accounts[(ADMIN, ADMIN)][0] != PASSWORD
    await mg.creds("app.v1")


# With these the driver would send what this machine is known by to whatever host the configuration names.
_OF_THE_MACHINE: Final = (
    "authMechanism=MONGODB-AWS",
    "authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:k8s",
    "authmechanism=MONGODB%2DOIDC&authMechanismProperties=ENVIRONMENT:k8s",
    "authMechanism=SCRAM-SHA-256;authMechanism=MONGODB-AWS",
)


async def test_configurations_that_cannot_be(mg: DatabaseRig, server: MongodbStandIn) -> None:
    """Each is told without the password."""
    for change, says in (
        ({"connection_url": "http://x"}, "not what MongoDB takes"),
        ({"connection_url": f"mongodb://admin:admin123@127.0.0.1:{server.port}/?tls=yes"}, "true or false"),
        *(
            ({"connection_url": f"mongodb://admin:admin123@127.0.0.1:{server.port}/?{query}"}, "authMechanism must be")
            for query in _OF_THE_MACHINE
        ),
        ({"tls_ca": "x"}, "not what MongoDB takes"),
        ({"write_concern": "[]"}, "write_concern"),
        ({"password": "wrong-word"}, r"Authentication failed. \(18\)"),
    ):
        with pytest.raises(InvalidRequest, match=says) as caught:
            await mg.write("config/other", **_config(server, **change))
        assert "wrong-word" not in str(caught.value) and "admin123" not in str(caught.value)


async def test_a_server_that_hangs_or_is_not_there_is_told_in_time(
    mg: DatabaseRig, server: MongodbStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the bound that every use of a database has, and nothing is left once it goes on."""
    user = await mg.creds("app.v1")
    monkeypatch.setattr("engines.database.plugins.mongodb.database.OPERATION_S_MAX", 0.5)
    server.is_hanging = True
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseUnreachable):
            await mg.revoke(user)
    nobody = {"connection_url": "mongodb://{{username}}:{{password}}@127.0.0.1:1/?directConnection=true"}
    with pytest.raises(InvalidRequest, match="did not answer"):
        await mg.write("config/other", **_config(server, **nobody))
    server.is_hanging = False
    monkeypatch.undo()
    await mg.revoke(user)
    assert server.users() == set()


def test_what_it_never_shows() -> None:
    """Key and password."""
    assert set(PLUGIN.secret_settings) == {"password", "tls_certificate_key"}
