"""engines/database/plugins/redis against a real Redis, through the engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from engines.common.errors import InvalidRequest
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from tests.databases.redis_server import ADMIN, NEEDS_REDIS, RedisServer, redis_server
from tests.engines.database.rig import DatabaseRig, database_mount

pytestmark = NEEDS_REDIS


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
async def rd(server: RedisServer) -> AsyncIterator[DatabaseRig]:
    async with database_mount() as rig:
        await rig.write("config/rd", allowed_roles="*", **server.config)
        await rig.write("roles/app", db_name="rd", creation_statements='["~app:*", "+@read", "+@write"]')
        yield rig
    with server.as_user(ADMIN, "admin123") as client:
        for user in server.users():
            client.acl_deluser(user)


async def test_a_user_is_made_and_goes_with_its_sessions(rd: DatabaseRig, server: RedisServer) -> None:
    """It does what its rules let it and no more; revoking ends its session, and again is no error."""
    user = await rd.creds("app")
    assert user.username.startswith("V_ROOT_APP_") and server.users() == {user.username}
    with server.as_user(user.username, user.password) as client:
        assert client.set("app:1", "a") and client.get("app:1") == "a"
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("ACL", "LIST")
        await rd.revoke(user)
        with pytest.raises(redis.ConnectionError):
            client.get("app:1")
    assert server.users() == set()
    await rd.revoke(user)


async def test_without_rules_a_user_only_reads(rd: DatabaseRig, server: RedisServer) -> None:
    """The documented default; a list in base64, and one rule to a statement, are read as well."""
    await rd.write("roles/reader", db_name="rd")
    user = await rd.creds("reader")
    with server.as_user(user.username, user.password) as client:
        assert client.get("any") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("any", "a")
    for given in ("WyJ+KiIsICIrQGFsbCJd", ["~*", "+@all"]):
        await rd.write("roles/writer", db_name="rd", creation_statements=given)
        user = await rd.creds("writer")
        with server.as_user(user.username, user.password) as client:
            assert client.set("any", "a")


async def test_rules_that_redis_refuses_leave_nothing(rd: DatabaseRig, server: RedisServer) -> None:
    """A user is one command, wholly or not at all; the error has no password."""
    await rd.write("roles/app", creation_statements='["~*", "+@nonsense"]')
    with pytest.raises(DatabaseRefused, match="ACL SETUSER") as caught:
        await rd.creds("app")
    assert server.users() == set() and ">" not in str(caught.value)
    await rd.write("roles/app", creation_statements='{"a": 1}')
    with pytest.raises(InvalidRequest, match="JSON list"):
        await rd.creds("app")
    await rd.tend()
    assert await rd.intents() == []


async def test_hostile_names_are_only_names(rd: DatabaseRig, server: RedisServer) -> None:
    """A command is words, not text: a name with quotes and line ends is a name, one that Redis cannot have an error."""
    await rd.write("config/rd", username_template="a'\"+@all%s{{random 4}}")
    user = await rd.creds("app")
    assert server.users() == {user.username}
    await rd.revoke(user)
    await rd.write("config/rd", username_template="a on nopass{{random 4}}")
    with pytest.raises(DatabaseRefused):
        await rd.creds("app")
    assert server.users() == set()


async def test_the_next_leader_drops_a_user_without_a_lease(rd: DatabaseRig, server: RedisServer) -> None:
    """Intent, act, result, as with PostgreSQL."""
    await rd.creds_plan("app")
    assert len(server.users()) == 1
    await rd.next_leader().tend()
    assert server.users() == set()


async def test_root_and_static_passwords_rotate(rd: DatabaseRig, server: RedisServer) -> None:
    """Only the new password holds; a static role of a user that is not there makes none."""
    with server.as_user(ADMIN, "admin123") as client:
        client.execute_command("ACL", "SETUSER", "keeper", "on", ">known", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "worker", "on", ">first", "~*", "+@read")
    await rd.write("config/rd", username="keeper", password="known")
    await rd.write("rotate-root/rd")
    with pytest.raises(redis.exceptions.AuthenticationError):
        server.as_user("keeper", "known").ping()
    await rd.write("static-roles/w", db_name="rd", username="worker", rotation_period=60)
    creds = await rd.read("static-creds/w")
    assert server.as_user("worker", creds["password"]).get("x") is None
    with pytest.raises(redis.exceptions.AuthenticationError):
        server.as_user("worker", "first").get("x")
    with pytest.raises(DatabaseRefused, match="no user"):
        await rd.write("static-roles/n", db_name="rd", username="nobody", rotation_period=60)
    assert "nobody" not in server.users()


async def test_configurations_that_cannot_be(
    rd: DatabaseRig, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told without the password: missing fields, a port that is none, a wrong password, nobody there."""
    monkeypatch.setattr("engines.database.plugins.redis.database.OPERATION_S_MAX", 1.0)
    for change, says in (
        ({"host": ""}, "host cannot be empty"),
        ({"port": 70000}, "port must be"),
        ({"tls": True, "ca_cert": "x"}, "ca_cert"),
        ({"password": "wrong-word"}, "error verifying connection"),
        ({"port": 1}, "error verifying connection"),
        ({"tls": True}, "error verifying connection"),
    ):
        with pytest.raises(InvalidRequest, match=says) as caught:
            await rd.write("config/other", **{**server.config, **change})
        assert "wrong-word" not in str(caught.value) and "admin123" not in str(caught.value)
    assert "password" not in (await rd.read("config/rd"))["connection_details"]


async def test_a_key_is_no_credential_of_redis(rd: DatabaseRig) -> None:
    """It is told when credentials are asked for, as the connection may come after the role."""
    await rd.write("roles/keyed", db_name="rd", credential_type="rsa_private_key")
    with pytest.raises(InvalidRequest, match="no credential_type rsa_private_key"):
        await rd.creds("keyed")


async def test_many_at_once_share_connections_and_outlive_a_restart(rd: DatabaseRig, server: RedisServer) -> None:
    """At most four connections; after a restart new ones are opened, and users that it forgot count as dropped."""
    users = await asyncio.gather(*(rd.creds("app") for _ in range(30)))
    with server.as_user(ADMIN, "admin123") as client:
        ours = [one for one in client.client_list() if one["name"] == "strongroom"]
    assert len(ours) <= 4 and len(server.users()) == 30
    server.stop()
    with pytest.raises(DatabaseUnreachable):
        await rd.revoke(users[0])
    server.start()
    await asyncio.gather(*(rd.revoke(user) for user in users))
    assert server.users() == set()
