"""`retry_join`: a node that belongs to no cluster yet asks the configured ones until one takes it."""

import asyncio
import logging
from typing import Final

from node.core import Core
from node.errors import JoinRefused, WrongKey
from node.join import begin_join
from node.join_target import JoinTarget, configured_targets
from node.unseal import join_by_itself

logger = logging.getLogger(__name__)

PERIOD_S: Final = 2.0


async def retry_join(core: Core) -> None:
    """Join as configured. Ends when the node is a member, or about to be once its key shares come."""
    targets = configured_targets(core.config)
    said = ""
    while targets and not core.is_initialized and core.pending_join is None:
        for target in targets:
            try:
                if await _joined(core, target):
                    return
            except (JoinRefused, WrongKey) as error:
                if str(error) != said:
                    logger.info("not joined yet: %s", error)
                said = str(error)
        await asyncio.sleep(PERIOD_S)


async def _joined(core: Core, target: JoinTarget) -> bool:
    """Whether this node is a member now, or a join waits for its key shares."""
    if target.api_address == core.identity.api_address:
        return False
    async with core.seal_lock:
        if core.is_initialized or core.pending_join is not None:
            return True
        await begin_join(core, target)
    if core.seal.is_auto:
        await join_by_itself(core)
    logger.info("joining the cluster of %s", target.api_address)
    return True
