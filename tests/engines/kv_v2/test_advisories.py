"""Published weaknesses of servers of this kind, as far as they lie in the engine."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.common.errors import EngineError
from engines.common.frame import Operation
from engines.kv_v2 import ENGINE
from tests.engines.memory_view import Rig

DOTTED = ["../b", "a/../b", "./b", "a/./b", "..", ".", "a/%2e%2e/b", "a%2fb", "a//b", "*", "b*", "+/b", "\\..\\b"]


@pytest.mark.parametrize("path", DOTTED)
@pytest.mark.parametrize("endpoint", ["data", "metadata", "delete", "destroy", "undelete"])
async def test_cve_2026_3605_a_path_never_means_another_secret(path: str, endpoint: str) -> None:
    """Such paths are refused before the engine; if one came through, it would be a name like any other."""
    rig = Rig(ENGINE)
    for kept in ("b", "a/b", "a"):
        await rig.write(f"data/{kept}", data={"kept": kept})
    before = dict(rig.view.records)
    operations = (Operation.DELETE,) if endpoint in ("data", "metadata") else (Operation.UPDATE,)
    for operation in operations:
        await rig.answer(operation, f"{endpoint}/{path}", {"versions": [1]})
    assert rig.view.records == before
    await rig.write(f"data/{path}", data={"other": True})
    for kept in ("b", "a/b", "a"):
        assert (await rig.read(f"data/{kept}"))["data"] == {"kept": kept}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("k" * 65_536, {"v": 1}),
        ("/".join("s" * 100 for _ in range(600)), {"v": 1}),
        ("ключ/鍵/🔑/é/e\u0301", {"знач": "値\U0001f511"}),
        ("a", {"big": "x" * 4_000_000}),
        ("a", {str(i): i for i in range(20_000)}),
        ("1/2/3", {"": ""}),
    ],
)
async def test_cve_2021_45042_huge_and_odd_keys_and_values_are_kept_or_refused(
    path: str, data: dict[str, object]
) -> None:
    """Whatever storage takes, the engine reads back; nothing of a key's path reaches the keys of its values."""
    rig = Rig(ENGINE)
    await rig.write(f"data/{path}", data=data)
    assert (await rig.read(f"data/{path}"))["data"] == data
    assert all(len(key) < 64 for key in rig.view.records if key.startswith("versions/"))
    await rig.delete(f"metadata/{path}")
    assert rig.view.records == {}


@given(st.text(min_size=1).filter(lambda p: not p.startswith("/") and not p.endswith("/") and "//" not in p))
@settings(max_examples=100, deadline=None)
def test_cve_2021_45042_no_path_ends_in_anything_but_an_answer(path: str) -> None:
    """Any text is a name, or refused with an error that has a status."""

    async def run() -> None:
        rig = Rig(ENGINE)
        try:
            await rig.write(f"data/{path}", data={"v": 1})
            assert (await rig.read(f"data/{path}"))["data"] == {"v": 1}
        except EngineError:
            assert rig.view.records == {}

    asyncio.run(run())


async def test_deep_values_are_kept_patched_and_shown() -> None:
    """As deep as the request parser lets through (300 levels)."""
    rig = Rig(ENGINE)
    deep: dict[str, object] = {}
    for _ in range(299):
        deep = {"d": deep}
    await rig.write("data/a", data=deep)
    await rig.patch("data/a", data=deep)
    assert (await rig.read("data/a"))["data"] == deep
    assert await rig.read("subkeys/a")
