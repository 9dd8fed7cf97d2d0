"""What the active node does besides serving: say who it is, end what is due, finish what was interrupted.

Each step is safe to repeat, and every leader does them all anew: nothing is known of how far the one before has come.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from cluster.errors import ClusterError, Conflict
from cluster.meters import clock
from engines.common.errors import InvalidRequest
from engines.common.plan import Put
from node.advert import ACTIVE_KEY, ActiveNode
from node.keyring_upkeep import PERIOD_S, keep_keyring
from node.mounts import MOUNTS_KEY, decode_mounts, encode_mounts, identity_mount, with_mount
from node.remount import continue_migrations
from node.root_key import untell
from node.tending import tend_mounts
from node.unmount import continue_unmounts
from node.unsealed import Unsealed
from node.version_history import note_version

logger = logging.getLogger(__name__)

RETRY_S: Final = 5.0  # between two attempts of one step, as after a time-out on a slow disk


async def do_duties(
    node: Unsealed,
    root_key: Callable[[], bytes | None],
    own: ActiveNode,
    before: asyncio.Task[None] | None,
    now_ms: Callable[[], int],
) -> None:
    """Runs until it is cancelled, as the node seals or loses leadership.

    Args:
        root_key: Gives the one in force, which a rekey replaces; None once the node seals.
        before: The last time this was done.
        now_ms: The time by which leases and tokens are ended.
    """
    if before is not None:
        await asyncio.wait({before})  # it may still be stopping the sweeper that is started here
        before = None  # or each would keep the one before it alive, with the unsealed node of its time
    began_s = clock()
    sweeper = node.ledger.sweeper
    sweeper.now_ms = now_ms
    sweeper.start()
    tending = asyncio.get_running_loop().create_task(tend_mounts(node))
    counting = asyncio.get_running_loop().create_task(node.activity.run())
    try:
        await _in_the_end(node, lambda: node.opened.commit("", [Put(ACTIVE_KEY, own.to_bytes())]))
        for step in (_add_identity, continue_unmounts, continue_migrations):
            await _in_the_end(node, partial(step, node))
        await _in_the_end(node, lambda: note_version(node.opened, node.sources))
        node.meters.post_unseal.add(clock() - began_s)
        while True:
            await asyncio.sleep(PERIOD_S)
            key = root_key()
            if key is None:
                return
            await keep_keyring(node.store, node.barrier, key, node.sources)
            await untell(node.store)
    finally:
        tending.cancel()
        counting.cancel()
        node.release()
        await sweeper.stop()


async def _in_the_end(node: Unsealed, step: Callable[[], Awaitable[object]]) -> None:
    """Do it again until it is done: a time-out must not leave the cluster without it."""
    began_s = clock()
    while True:
        try:
            await step()
            return
        except (ClusterError, InvalidRequest) as error:
            node.meters.leadership_setup_failed.add(clock() - began_s)
            logger.warning("not all that a new active node does is done yet: %s", error)
        await asyncio.sleep(RETRY_S)


async def _add_identity(node: Unsealed) -> None:
    """A cluster that was initialised by a version without identity gets its mount."""
    while True:
        seen = node.opened.get(MOUNTS_KEY)
        mounts = decode_mounts(seen.value) if seen is not None else ()
        if seen is None or any(mount.type == "identity" for mount in mounts):
            return
        try:
            record = encode_mounts(with_mount(mounts, identity_mount(node.sources)))
            await node.opened.commit("", [Put(MOUNTS_KEY, record, seen.index)])
        except Conflict:
            continue
