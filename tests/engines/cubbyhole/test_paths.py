"""The cubbyhole as a client sees it."""

import pytest

from engines.common.context import Caller
from engines.common.errors import InvalidRequest, NotFound, PermissionDenied, UnsupportedPath
from engines.common.frame import Operation
from engines.cubbyhole import ENGINE
from tests.engines.memory_view import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig(ENGINE)


async def test_a_secret_is_written_read_listed_and_removed(rig: Rig) -> None:
    """The life of a secret of one token."""
    assert await rig.write("a/b", x=1) is None
    assert await rig.read("a/b") == {"x": 1}
    assert await rig.list("") == ["a/"]
    assert await rig.list("a") == ["b"]
    await rig.delete("a/b")
    with pytest.raises(NotFound):
        await rig.read("a/b")
    with pytest.raises(NotFound):
        await rig.list("")


async def test_no_token_sees_the_cubbyhole_of_another(rig: Rig) -> None:
    """Not even one whose name starts with the other's."""
    await rig.write("a", x=1)
    for token_key in ("token-2", "token", "token-11"):
        other = rig.as_caller(Caller(token_key=token_key))
        with pytest.raises(NotFound):
            await other.read("a")
        with pytest.raises(NotFound):
            await other.list("")
        assert not await other.exists("a", {"x": 1})
        await other.delete("a")
    assert await rig.read("a") == {"x": 1}
    assert await rig.exists("a", {"x": 1})


async def test_who_has_no_token_key_has_no_cubbyhole(rig: Rig) -> None:
    """Batch tokens and unauthenticated callers are refused, for every operation."""
    nobody = rig.as_caller(Caller())
    for operation in (Operation.READ, Operation.LIST, Operation.UPDATE, Operation.DELETE):
        with pytest.raises(PermissionDenied):
            await nobody.answer(operation, "a", {"x": 1})
    with pytest.raises(PermissionDenied):
        await nobody.exists("a", {"x": 1})


async def test_an_empty_secret_and_the_top_are_refused(rig: Rig) -> None:
    """As in KV version 1."""
    with pytest.raises(InvalidRequest, match=r"^missing data fields$"):
        await rig.write("a")
    with pytest.raises(UnsupportedPath):
        await rig.read("")
