"""The store in memory keeps the same promises as the replicated one."""

import pytest

from cluster.errors import Conflict
from cluster.inmem import InmemStore
from cluster.store import Check, Delete, Put, Store, Stored


async def test_commit_is_all_or_nothing() -> None:
    """A conflict names its key and writes nothing; an index counts commits that applied."""
    store: Store = InmemStore()
    assert await store.commit([Put("a/b", b"1", 0), Put("a/c/d", b"1"), Put("a/c/e", b"")]) == 1
    with pytest.raises(Conflict) as refused:
        await store.commit([Put("x", b""), Check("a/b", 0)])
    assert (refused.value.key, store.get("x"), store.applied_index) == ("a/b", None, 1)
    assert await store.commit([Put("a/b", b"2", 1), Delete("a/c/d"), Delete("none")]) == 2
    assert (store.get("a/b"), store.get("a/c/d")) == (Stored(b"2", 2), None)
    store.require_lease()


async def test_listing_and_watching() -> None:
    """Names directly below, in order, after a name, at most so many; watchers hear what was written."""
    store, heard = InmemStore(), []
    store.watch(lambda keys: heard.append(list(keys)))
    await store.commit([Put(key, b"") for key in ("a", "a/b", "a/b/c", "a/b-c", "a/d/e", "b")] + [Check("z", 0)])
    assert store.list("") == ["a", "a/", "b"]
    assert store.list("a/") == ["b", "b-c", "b/", "d/"]
    assert store.list("a/", after="b", limit=2) == ["b-c", "b/"]
    assert store.list("a/", after="b/") == ["d/"]
    assert [key for key, _ in store.scan("a/b")] == ["a/b", "a/b-c", "a/b/c"]
    assert heard == [["a", "a/b", "a/b/c", "a/b-c", "a/d/e", "b"]]
