"""KV version 1 as a client sees it."""

import pytest

from engines.common.errors import InvalidRequest, NotFound, Unsupported, UnsupportedPath
from engines.common.frame import Operation
from engines.kv_v1 import ENGINE
from tests.engines.memory_view import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig(ENGINE)


async def test_a_secret_is_written_read_listed_and_removed(rig: Rig) -> None:
    """The life of a secret; a write replaces all of it."""
    assert await rig.write("app/db", user="u", nested={"n": [1, 2.5, None]}) is None
    assert await rig.read("app/db") == {"user": "u", "nested": {"n": [1, 2.5, None]}}
    await rig.write("app/db", user="v")
    assert await rig.read("app/db") == {"user": "v"}
    await rig.write("app", x=1)
    assert await rig.list("") == ["app", "app/"]
    assert await rig.list("app") == ["db"]
    assert await rig.delete("app/db") is None
    assert await rig.delete("app/db") is None
    with pytest.raises(NotFound):
        await rig.read("app/db")
    with pytest.raises(NotFound):
        await rig.list("app")


@pytest.mark.parametrize(
    ("members", "ttl_s"),
    [
        ({"a": 1}, 2_764_800),
        ({"ttl": "30m"}, 1800),
        ({"ttl": 90}, 90),
        ({"lease": "1h"}, 3600),
        ({"ttl": "soon"}, 2_764_800),
        ({"ttl": -5}, 2_764_800),
        ({"ttl": {"a": 1}}, 2_764_800),
        ({"ttl": True}, 2_764_800),
    ],
)
async def test_ttl_is_advice_to_the_reader(rig: Rig, members: dict[str, object], ttl_s: int) -> None:
    """`ttl` or `lease` sets the lease_duration of reads, else the mount's default; nothing is leased."""
    await rig.write("a", **members)
    answer = await rig.answer(Operation.READ, "a")
    assert answer.advisory_ttl_s == ttl_s
    assert answer.lease is None


async def test_a_write_is_a_create_until_the_secret_exists(rig: Rig) -> None:
    """The capability that policy asks for."""
    assert not await rig.exists("a", {"x": 1})
    await rig.write("a", x=1)
    assert await rig.exists("a", {"x": 1})


async def test_what_version_1_does_not_have_is_refused(rig: Rig) -> None:
    """No empty secret, no secret at the top, no patch."""
    with pytest.raises(InvalidRequest, match=r"^missing data fields$"):
        await rig.write("a")
    for operation in (Operation.READ, Operation.UPDATE, Operation.DELETE):
        with pytest.raises(UnsupportedPath):
            await rig.answer(operation, "", {"x": 1})
    with pytest.raises(Unsupported):
        await rig.patch("a", x=1)


async def test_a_member_may_have_any_name(rig: Rig) -> None:
    """Also the name of the path's own parameter."""
    await rig.write("a", **{"path": "p", "body": 1, "": 2, "data": {"path": 3}})
    assert await rig.read("a") == {"path": "p", "body": 1, "": 2, "data": {"path": 3}}
