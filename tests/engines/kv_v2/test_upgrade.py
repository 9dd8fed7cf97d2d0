"""A mount of version 1 that is tuned to version 2: nothing is moved then, so nothing can be half moved."""

import pytest

from engines.common.errors import NotFound
from engines.common.frame import Operation
from engines.kv_v1 import ENGINE as KV_V1
from engines.kv_v2 import ENGINE as KV_V2
from tests.engines.memory_view import LostRaceError, Rig


@pytest.fixture
async def rig() -> Rig:
    old = Rig(KV_V1)
    await old.write("app/db", user="u", n=10**3)
    await old.write("app", x=1)
    old.sources.advance_s(60)
    return old.with_engine(KV_V2)


async def test_an_old_secret_is_shown_as_version_1(rig: Rig) -> None:
    """With the time at which it was written; it exists and is listed; reading writes nothing."""
    before = dict(rig.view.records)
    read = await rig.read("data/app/db")
    assert read["data"] == {"user": "u", "n": 1000}
    assert (read["metadata"]["version"], read["metadata"]["created_time"]) == (1, "2026-11-21T20:00:00.123000000Z")
    assert (await rig.read("metadata/app/db"))["current_version"] == 1
    assert (await rig.read("subkeys/app/db"))["subkeys"] == {"user": None, "n": None}
    assert await rig.exists("data/app/db")
    await rig.write("data/app/new", data={})
    assert await rig.list("metadata/app") == ["db", "new"]
    assert await rig.list("metadata") == ["app", "app/"]
    assert before.items() <= rig.view.records.items()


async def test_its_next_write_brings_it_over(rig: Rig) -> None:
    """In the same set of writes: version 1 and 2 are there, the old record is not."""
    made = await rig.write("data/app/db", data={"user": "v"}, options={"cas": 1})
    assert made["version"] == 2
    assert (await rig.read("data/app/db", version=1))["data"] == {"user": "u", "n": 1000}
    assert "secrets/app/db" not in rig.view.records
    assert "secrets/app" in rig.view.records
    assert await rig.list("metadata/app") == ["db"]


@pytest.mark.parametrize("path", ["delete/app/db", "destroy/app/db"])
async def test_it_can_be_deleted_and_destroyed(rig: Rig, path: str) -> None:
    """Destroying its only version leaves no values behind."""
    await rig.write(path, versions=[1])
    with pytest.raises(NotFound):
        await rig.read("data/app/db")
    assert "secrets/app/db" not in rig.view.records
    await rig.write("undelete/app/db", versions=[1])
    if path.startswith("delete/"):
        assert (await rig.read("data/app/db"))["data"] == {"user": "u", "n": 1000}
    else:
        assert not any(key.startswith("versions/") for key in rig.view.records)


async def test_a_limit_of_one_version_prunes_it_at_once(rig: Rig) -> None:
    """The old values are never brought over only to be pruned."""
    await rig.write("config", max_versions=1)
    await rig.write("data/app/db", data={"user": "v"})
    assert list((await rig.read("metadata/app/db"))["versions"]) == ["2"]
    assert sum(key.startswith("versions/") for key in rig.view.records) == 1


async def test_removing_it_leaves_nothing(rig: Rig) -> None:
    """Also when it was never brought over."""
    await rig.delete("metadata/app/db")
    await rig.delete("metadata/app")
    assert rig.view.records == {}


async def test_two_first_writes_do_not_lose_one(rig: Rig) -> None:
    """Both bring it over; storage refuses the second."""
    first, second = [await rig.plan(Operation.PATCH, "data/app/db", {"data": {str(i): i}}) for i in range(2)]
    rig.view.commit(first.writes)
    with pytest.raises(LostRaceError):
        rig.view.commit(second.writes)
