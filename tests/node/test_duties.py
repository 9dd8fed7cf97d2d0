"""What a new active node does, when it does not work at once."""

import asyncio
from unittest.mock import patch

from cluster.errors import OutcomeUnknown
from node.advert import ACTIVE_KEY, ActiveNode
from node.duties import do_duties
from tests.node.audit.kit import active_node


async def test_a_time_out_does_not_leave_the_cluster_without_the_active_nodes_address() -> None:
    """The active node says who it is until that is committed, or another leads."""
    async with active_node() as node:
        unsealed, root_key = node.core.require_unsealed(), node.core.root_key
        assert root_key is not None
        own = ActiveNode(node_id="me", api_address="", cluster_address="", hostname="", version="", since_ms=1)
        commit, failures = node.core.storage.store.commit, [OutcomeUnknown("slow"), OutcomeUnknown("slow")]

        async def fails_first(writes: object) -> int:
            if failures:
                raise failures.pop()
            return await commit(writes)  # type: ignore[arg-type]

        with (
            patch("node.duties.RETRY_S", 0.001),
            patch.object(node.core.storage.store, "commit", fails_first),
        ):
            task = asyncio.create_task(do_duties(unsealed, lambda: root_key, own, None, unsealed.sources.now_ms))
            async with asyncio.timeout(10):
                while (seen := unsealed.opened.get(ACTIVE_KEY)) is None or b"me" not in seen.value:
                    await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        assert ActiveNode.from_bytes(seen.value) == own
