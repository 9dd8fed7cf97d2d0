"""Nothing is left behind: the making of a user is cut off after each step, and the next leader ends it.

The invariant (docs/decisions/0012): at every moment a user in the database has a lease or an intent, and once the
intents are worked off every user has a lease and every lease that is handed out has its user.
"""

from dataclasses import replace

import pytest

from engines.common.errors import OutsideFailed
from engines.database import ENGINE
from engines.database.users import Undo
from tests.databases.postgresql import Postgres
from tests.engines.database.rig import DatabaseRig
from tests.engines.memory_view import LostRaceError


async def _worked_off(rig: DatabaseRig) -> None:
    """Some minutes of the new leader's life."""
    for _ in range(3):
        await rig.tend()
        rig.sources.advance_s(61)
    assert await rig.intents() == []


async def test_cut_off_after_the_intent(rig: DatabaseRig, pg: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was never asked: the next leader drops nobody, and forgets the intent."""

    async def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engines.database.plugins.postgresql.database.PostgresqlDatabase.create_user", crash)
    with pytest.raises(KeyboardInterrupt):
        await rig.creds_plan("app")
    assert len(await rig.intents()) == 1
    await _worked_off(rig.next_leader())
    assert pg.users() == set()


async def test_cut_off_after_the_act(rig: DatabaseRig, pg: Postgres) -> None:
    """The user is there and has no lease: the next leader drops it at once."""
    await rig.creds_plan("app")
    assert len(pg.users()) == 1
    leader = rig.next_leader()
    await leader.tend()
    assert pg.users() == set()
    await _worked_off(leader)


async def test_cut_off_after_the_result(rig: DatabaseRig, pg: Postgres) -> None:
    """The intent went with the entry that holds the lease: the next leader leaves the user alone."""
    user = await rig.creds("app")
    await _worked_off(rig.next_leader())
    assert pg.users() == {user.username}


async def test_a_result_never_follows_its_cleaning_up(rig: DatabaseRig, pg: Postgres) -> None:
    """A leader that was paused before its last step comes too late: no lease without a user."""
    plan = await rig.creds_plan("app")
    await rig.next_leader().tend()
    with pytest.raises(LostRaceError):
        rig.finish(plan)


async def test_a_leader_that_was_paused_before_it_acted_takes_its_user_back(rig: DatabaseRig, pg: Postgres) -> None:
    """The next leader has dropped nobody and forgotten the intent; the user that then comes is undone by its maker."""
    plan = await rig.creds_plan("app")
    (name,) = pg.users()
    await _worked_off(rig.next_leader())
    pg.ask(f'CREATE USER "{name}"')  # as if it had been made only now
    with pytest.raises(LostRaceError):
        rig.finish(plan)
    assert isinstance(plan.undo, Undo)
    await plan.undo()
    assert pg.users() == set()


async def test_a_lease_that_cannot_be_is_undone_at_once(rig: DatabaseRig, pg: Postgres) -> None:
    """The pipeline calls `undo` when the result was refused for good."""
    plan = await rig.creds_plan("app")
    assert plan.undo is not None
    await plan.undo()
    assert pg.users() == set()
    await rig.tend()
    assert await rig.intents() == []


async def test_a_request_in_work_is_left_alone_until_it_must_be_over(rig: DatabaseRig, pg: Postgres) -> None:
    """The node's own intents wait for a minute; then whoever began them answers no more."""
    await rig.creds_plan("app")
    await rig.tend()
    assert len(pg.users()) == 1
    rig.sources.advance_s(60)
    await rig.tend()
    assert pg.users() == set()


async def test_a_database_that_is_down_is_asked_again(rig: DatabaseRig, pg: Postgres) -> None:
    """With growing pauses, and nothing is forgotten."""
    await rig.creds_plan("app")
    leader = rig.next_leader()
    pg.stop()
    for _ in range(3):
        await leader.tend()
        rig.sources.advance_s(5)
    pg.start()
    assert len(pg.users()) == 1 and len(await rig.intents()) == 1
    rig.sources.advance_s(10)
    await _worked_off(leader)
    assert pg.users() == set()


async def test_a_mount_goes_only_with_its_users(rig: DatabaseRig, pg: Postgres) -> None:
    """Disabling it drops what was begun, and fails while the database is down."""
    await rig.creds_plan("app")
    assert ENGINE.close is not None
    pg.stop()
    with pytest.raises(OutsideFailed):
        await ENGINE.close(rig.ctx)
    pg.start()
    await ENGINE.close(rig.ctx)
    assert pg.users() == set() and await rig.intents() == []


async def test_custom_revocation_need_not_bear_that_the_user_is_gone(rig: DatabaseRig, pg: Postgres) -> None:
    """An intent whose user was never made is worked off even if the role says DROP ROLE."""
    await rig.write("roles/app", revocation_statements='DROP OWNED BY "{{name}}"; DROP ROLE "{{name}}"')
    plan = await rig.creds_plan("app")
    user = rig.finish(plan)
    await rig.revoke(user)
    await rig.revoke(user)
    await rig.write("roles/app", revocation_statements='DROP ROLE "{{name}}"')
    stuck = replace(user)
    user = await rig.creds("app")
    with pytest.raises(OutsideFailed, match="depend"):
        await rig.revoke(user)  # its privileges stand in the way, and that is said
    await rig.revoke(stuck)
