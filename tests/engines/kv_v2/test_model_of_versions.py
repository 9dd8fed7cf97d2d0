"""Any sequence of requests on one key behaves as the documentation's few sentences say, here as a plain model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.common.errors import InvalidRequest, NotFound
from engines.kv_v2 import ENGINE
from tests.engines.memory_view import Rig, data_of


@dataclass
class Model:
    """Values by version; None once destroyed."""

    values: dict[int, Any] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    current: int = 0
    key_max: int = 0
    engine_max: int = 0

    def put(self, value: Any) -> None:
        self.current += 1
        self.values[self.current] = value
        kept = self.key_max or self.engine_max or 10
        self.values = {n: v for n, v in self.values.items() if n > self.current - kept}

    def readable(self, number: int) -> Any:
        return None if number in self.deleted else self.values.get(number)


NUMBERS = st.lists(st.integers(0, 14), min_size=1, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.none() | st.integers(0, 14)),
        st.tuples(st.just("patch"), st.none()),
        st.tuples(st.sampled_from(["delete", "undelete", "destroy"]), NUMBERS),
        st.tuples(st.just("delete newest"), st.none()),
        st.tuples(st.sampled_from(["key max", "engine max"]), st.integers(0, 4)),
        st.tuples(st.just("remove"), st.none()),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_a_key_behaves_like_the_model(steps: list[tuple[str, Any]]) -> None:
    """After each step every version reads as the model says, and storage holds the values of no other."""
    asyncio.run(_run(steps))


async def _run(steps: list[tuple[str, Any]]) -> None:
    rig, model = Rig(ENGINE), Model()
    for step, (action, argument) in enumerate(steps):
        await _apply(rig, model, step, action, argument)
        rig.sources.advance_s(1)
        await _compare(rig, model)


async def _apply(rig: Rig, model: Model, step: int, action: str, argument: Any) -> None:
    value = {"step": step}
    if action == "put":
        options = {} if argument is None else {"cas": argument}
        if argument in (None, model.current):
            model.put(value)
            assert (await rig.write("data/k", data=value, options=options))["version"] == model.current
        else:
            try:
                await rig.write("data/k", data=value, options=options)
                raise AssertionError("a stale check-and-set was taken")
            except InvalidRequest:
                pass
    elif action == "patch":
        newest = model.readable(model.current)
        try:
            await rig.patch("data/k", data=value)
            assert newest is not None
            model.put({**newest, **value})
        except NotFound:
            assert newest is None
    elif action == "delete newest":
        await rig.delete("data/k")
        model.deleted |= {model.current} if model.values.get(model.current) is not None else set()
    elif action in ("key max", "engine max"):
        await rig.write("metadata/k" if action == "key max" else "config", max_versions=argument)
        setattr(model, action.replace(" ", "_"), argument)
    elif action == "remove":
        await rig.delete("metadata/k")
        model.__init__(engine_max=model.engine_max)  # type: ignore[misc]
    else:
        await rig.write(f"{action}/k", versions=argument)
        alive = {n for n in argument if model.values.get(n) is not None}
        if action == "delete":
            model.deleted |= alive
        elif action == "undelete":
            model.deleted -= alive
        else:
            model.values.update(dict.fromkeys(model.values.keys() & set(argument)))


async def _compare(rig: Rig, model: Model) -> None:
    for number in range(model.current + 2):
        expected = model.readable(number or model.current)
        try:
            read = await rig.read("data/k", version=number)
            assert read["data"] == expected
            assert expected is not None
            assert read["metadata"]["version"] == (number or model.current)
        except NotFound as missing:
            assert expected is None
            known = (number or model.current) in model.values
            assert (missing.answer is not None) == known
            assert not known or data_of(missing.answer)["data"] is None
    stored = sum(key.startswith("versions/") for key in rig.view.records)
    assert stored == sum(value is not None for value in model.values.values())
    if model.values:
        metadata = await rig.read("metadata/k")
        assert {int(n) for n in metadata["versions"]} == model.values.keys()
        assert metadata["current_version"] == model.current
