"""node/leases/timeline.py and paging.py: reading the front, and walking what is large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engines.common.plan import Put
from node.leases import paging
from node.leases.timeline import LEASE, TOKEN, Due, due_by, due_key, due_put, first_due_ms
from tests.node.tokens.storage import MemoryStore


async def test_what_is_due_comes_oldest_first_and_bounded() -> None:
    """Only the front is read, and an entry at this very moment is due."""
    store = MemoryStore()
    await store.commit([due_put(at, TOKEN, f"{at:02x}") for at in (30, 10, 20, 40)])
    assert await first_due_ms(store) == 10
    assert [due.at_ms for due in await due_by(store, 30, 10)] == [10, 20, 30]
    assert [due.at_ms for due in await due_by(store, 30, 2)] == [10, 20]
    assert await due_by(store, 9, 10) == []


async def test_a_lease_id_with_slashes_lies_flat() -> None:
    """The index is one folder, so that its front is one read; the id is the value."""
    store = MemoryStore()
    await store.commit([due_put(5, LEASE, "database/creds/a-b/x")])
    (due,) = await due_by(store, 5, 10)
    assert due == Due(due_key(5, LEASE, "database/creds/a-b/x"), 5, LEASE, "database/creds/a-b/x")
    assert due.key.count("/") == 2


async def test_nothing_to_end() -> None:
    """An empty index."""
    assert await first_due_ms(MemoryStore()) is None
    assert await due_by(MemoryStore(), 2**60, 10) == []


KEYS = st.lists(
    st.lists(st.sampled_from(["a", "a-", "a0", "b", "é"]), min_size=1, max_size=4).map("/".join),
    unique=True,
    max_size=40,
)


@given(KEYS)
async def test_a_walk_meets_each_key_once_in_order_of_its_folders(keys: list[str]) -> None:
    """However deep, and whatever names sort around the slash."""
    store = MemoryStore()
    await store.commit([Put(f"p/{key}", b"v") for key in keys])
    met = [key async for key in paging.keys(store, "p/")]
    assert sorted(met) == sorted(f"p/{key}" for key in keys)


async def test_a_walk_goes_through_all_pages() -> None:
    """More names than a page holds, at two levels."""
    store = MemoryStore()
    await store.commit([Put(f"p/{i:03}/{j:03}", b"v") for i in range(300) for j in range(3)])
    await store.commit([Put(f"p/000/x{j:03}", b"v") for j in range(300)])
    assert len([key async for key in paging.keys(store, "p/")]) == 1200
    assert len([name async for name in paging.names(store, "p/")]) == 300
