"""Static roles and rotate-root: no password is ever lost, whatever step is the last one."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from engines.common.errors import InvalidRequest, NotFound, OutsideFailed
from engines.common.plan import Write
from engines.database.errors import DatabaseRefused, DatabaseUnreachable
from engines.database.model import RootRotation
from engines.database.store import decode
from tests.databases.postgresql import PASSWORD, Postgres
from tests.engines.database.rig import DatabaseRig


async def _static(rig: DatabaseRig, pg: Postgres, **body: object) -> None:
    pg.ask("CREATE USER worker PASSWORD 'first'")
    await rig.write("static-roles/w", db_name="pg", username="worker", **{"rotation_period": "1h", **body})


def _logs_in(pg: Postgres, creds: dict[str, str]) -> bool:
    return pg.ask("SELECT 1", user=creds["username"], password=creds["password"]) == [(1,)]


async def test_a_static_role_rotates_on_creation_and_when_due(rig: DatabaseRig, pg: Postgres) -> None:
    """The first password is the server's; after the period comes another; the ttl counts down."""
    await _static(rig, pg)
    first = await rig.read("static-creds/w")
    assert _logs_in(pg, first) and first["ttl"] == 3600 and first["rotation_period"] == 3600
    rig.sources.advance_s(3599)
    await rig.tend()
    assert (await rig.read("static-creds/w"))["password"] == first["password"]
    assert (await rig.read("static-creds/w"))["ttl"] == 1
    rig.sources.advance_s(1)
    await rig.tend()
    second = await rig.read("static-creds/w")
    assert second["password"] != first["password"] and _logs_in(pg, second)
    await rig.write("rotate-role/w")
    third = await rig.read("static-creds/w")
    assert third["password"] != second["password"] and _logs_in(pg, third)
    assert await rig.view.list("rotation/") == []
    assert len([key async for key in rig.view.keys("due/")]) == 1


async def test_a_static_role_is_shown_without_its_password(rig: DatabaseRig, pg: Postgres) -> None:
    """And deleting it leaves the user as it is."""
    await _static(rig, pg, rotation_statements=["ALTER USER \"{{name}}\" PASSWORD '{{password}}'"])
    creds = await rig.read("static-creds/w")
    shown = await rig.read("static-roles/w")
    assert shown["username"] == "worker" and shown["rotation_period"] == 3600 and "password" not in shown
    assert creds["password"] not in str(shown)
    assert await rig.list("static-roles") == ["w"]
    await rig.delete("static-roles/w")
    assert _logs_in(pg, creds)
    assert [key async for key in rig.view.keys("due/")] == []
    with pytest.raises(NotFound):
        await rig.read("static-roles/w")


async def test_a_schedule_rotates_at_its_times_and_within_its_window(rig: DatabaseRig, pg: Postgres) -> None:
    """What was missed by more than the window waits for the next time."""
    await _static(rig, pg, rotation_period=None, rotation_schedule="0 0 * * *", rotation_window="1h")
    before = await rig.read("static-creds/w")
    rig.sources.advance_s(before["ttl"] + 3601)
    await rig.tend()
    late = await rig.read("static-creds/w")
    assert late["password"] == before["password"] and late["rotation_window"] == 3600
    rig.sources.advance_s(late["ttl"])
    await rig.tend()
    assert (await rig.read("static-creds/w"))["password"] != before["password"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rotation_period": None}, "exactly one"),
        ({"rotation_schedule": "0 0 * * *"}, "exactly one"),
        ({"rotation_period": "4s"}, "5 seconds or more"),
        ({"rotation_period": None, "rotation_schedule": "x"}, "rotation_schedule"),
        ({"rotation_period": None, "rotation_schedule": "@daily", "rotation_window": "59m"}, "3600 seconds or more"),
        ({"rotation_window": "2h"}, "only for a rotation_schedule"),
        ({"username": ""}, "username is a required field"),
        ({"db_name": "nothing"}, "does not exist"),
        ({"credential_type": "client_certificate"}, "unsupported credential_type"),
    ],
)
async def test_static_roles_that_cannot_be(rig: DatabaseRig, body: dict[str, object], says: str) -> None:
    """Each is refused with what is wrong."""
    whole = {"db_name": "pg", "username": "worker", "rotation_period": "1h", **body}
    with pytest.raises(InvalidRequest, match=says):
        await rig.write("static-roles/w", **whole)


async def test_a_user_that_is_not_there_makes_no_static_role(rig: DatabaseRig) -> None:
    """The database's refusal is told, and nothing is stored."""
    with pytest.raises(DatabaseRefused, match="does not exist"):
        await rig.write("static-roles/w", db_name="pg", username="nobody-there", rotation_period=60)
    assert [key async for key in rig.view.keys("")] == ["config/pg", "role/app"]


async def test_a_change_keeps_the_password(rig: DatabaseRig, pg: Postgres) -> None:
    """The period changes when it is next rotated; the user name cannot change."""
    await _static(rig, pg)
    before = await rig.read("static-creds/w")
    await rig.write("static-roles/w", rotation_period="2h")
    after = await rig.read("static-creds/w")
    assert after["password"] == before["password"] and after["ttl"] == 7200
    with pytest.raises(InvalidRequest, match="cannot update static account username"):
        await rig.write("static-roles/w", username="other")
    await rig.write("static-roles/w", rotation_schedule="@daily")
    assert (await rig.read("static-roles/w"))["rotation_schedule"] == "@daily"


async def test_a_rotation_cut_off_after_the_act_is_finished_by_the_next_leader(rig: DatabaseRig, pg: Postgres) -> None:
    """The password that the database has is the one that was committed before it was told."""
    await _static(rig, pg)
    before = await rig.read("static-creds/w")
    whole = rig.commit
    commits = 0

    async def only_the_intent(writes: Sequence[Write]) -> int:
        nonlocal commits
        commits += 1
        if commits > 1:
            raise ConnectionError
        return await whole(writes)

    rig.outside = replace(rig.ctx.out, commit=only_the_intent)
    with pytest.raises(ConnectionError):
        await rig.write("rotate-role/w")
    with pytest.raises(Exception, match="authentication"):
        _logs_in(pg, before)
    leader = rig.next_leader()
    await leader.tend()
    assert _logs_in(pg, await leader.read("static-creds/w"))
    assert await leader.view.list("rotation/") == []


async def test_a_database_that_is_down_is_rotated_later(rig: DatabaseRig, pg: Postgres) -> None:
    """With the same new password, so that it does not matter whether the first attempt took effect."""
    await _static(rig, pg)
    rig.sources.advance_s(3600)
    pg.stop()
    await rig.tend()
    pg.start()
    for _ in range(4):
        rig.sources.advance_s(61)
        await rig.tend()
    creds = await rig.read("static-creds/w")
    assert _logs_in(pg, creds) and await rig.view.list("rotation/") == []


async def test_rotate_root_leaves_a_password_that_nobody_knows(rig: DatabaseRig, pg: Postgres) -> None:
    """The old one is good no more, the server goes on, and a configuration without a user is refused."""
    pg.ask("CREATE USER keeper SUPERUSER PASSWORD 'known'")
    await rig.write("config/pg", username="keeper", password="known")
    await rig.write("rotate-root/pg")
    with pytest.raises(Exception, match="password authentication failed"):
        pg.ask("SELECT 1", user="keeper", password="known")
    user = await rig.creds("app")
    await rig.revoke(user)
    with pytest.raises(NotFound):
        await rig.write("rotate-root/other")
    await rig.write("config/fixed", **_fixed(pg))
    with pytest.raises(InvalidRequest, match="unable to rotate root"):
        await rig.write("rotate-root/fixed")


def _fixed(pg: Postgres) -> dict[str, object]:
    url = f"postgresql://admin:{PASSWORD}@127.0.0.1:{pg.port}/myapp"
    return {"plugin_name": "postgresql-database-plugin", "connection_url": url}


async def test_rotate_root_refused_by_the_database_changes_nothing(rig: DatabaseRig) -> None:
    """The old password stays in use."""
    await rig.write("config/pg", root_rotation_statements="ALTER ROLE nobody_there PASSWORD '{{password}}'")
    with pytest.raises(DatabaseRefused):
        await rig.write("rotate-root/pg")
    await rig.creds("app")
    assert await rig.view.list("root-rotation/") == []


@pytest.mark.parametrize("has_taken_effect", [True, False])
async def test_rotate_root_with_an_unknown_outcome_finds_out_which_password_is_good(
    rig: DatabaseRig, pg: Postgres, has_taken_effect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By logging in with both; the old one is believed only the second time."""
    pg.ask("CREATE USER keeper SUPERUSER PASSWORD 'known'")
    await rig.write("config/pg", username="keeper", password="known")

    async def lost(*_: object) -> None:
        raise DatabaseUnreachable("lost")

    monkeypatch.setattr("engines.database.plugins.postgresql.database.PostgresqlDatabase.set_credential", lost)
    with pytest.raises(OutsideFailed):
        await rig.write("rotate-root/pg")
    seen = await rig.view.get("root-rotation/pg")
    assert seen is not None
    if has_taken_effect:
        pg.ask(f"ALTER ROLE keeper PASSWORD '{decode(RootRotation, seen.value).password}'")
    leader = rig.next_leader()
    await leader.tend()
    await leader.creds("app")
    if not has_taken_effect:
        with pytest.raises(InvalidRequest, match="not known yet"):
            await leader.write("rotate-root/pg")
        leader.sources.advance_s(61)
        await leader.tend()
    assert await leader.view.list("root-rotation/") == []
