"""One node's life, in memory."""

import asyncio
import gc
import weakref

import pytest

from cluster.errors import NoLeader
from node.core import Core
from node.initialize import InitRequest, initialize
from node.unseal import unseal
from tests.node.audit.kit import Asked, active_node
from tests.node.cores import new_core


async def sealed_core() -> tuple[Core, str]:
    core = new_core()
    result = await initialize(core, InitRequest(shares=1, threshold=1, kv_mount=True, root_token="root"))
    return core, result.shares[0].hex()


async def test_sealing_leaves_nothing_of_an_unsealed_time_behind() -> None:
    """However often a node is sealed and unsealed, what it had opened is gone, and nothing goes on watching."""
    core, share = await sealed_core()
    gone: list[weakref.ref[object]] = []
    watchers = len(core.storage.store._watchers)  # type: ignore[attr-defined]
    for _ in range(20):
        await unseal(core, share, reset=False)
        await core.wait_active(30)
        await Asked(core).call("GET", "sys/mounts", token="root")
        unsealed = core.require_unsealed()
        gone += [weakref.ref(unsealed.opened), weakref.ref(unsealed.ledger.tokens)]
        del unsealed
        await core.seal_now()
    assert len(core.storage.store._watchers) == watchers  # type: ignore[attr-defined]
    async with asyncio.timeout(10):  # what was cancelled at seal ends in turns of its own
        while any(ref() is not None for ref in gone):
            await asyncio.sleep(0.01)
            gc.collect()


async def test_a_request_from_before_the_sealing_opens_nothing_after_the_next_unsealing() -> None:
    """What worked on when the node was sealed finds its storage shut for good: the cache is not filled again."""
    async with active_node() as node:
        before = node.core.require_unsealed()
        await node.call("POST", "secret/data/a", {"data": {"b": 1}})
        root_key = node.core.root_key
        assert root_key is not None
        await node.core.seal_now()
        await node.core.unseal_with(root_key)
        keys = before.opened.keys("logical/")
        assert keys
        for key in keys:
            with pytest.raises(NoLeader):
                before.opened.get(key)
        assert not before.opened._cache
