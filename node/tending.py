"""Asking engines, on the active node, to finish what was begun outside and to do what has become due (Engine.tend)."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Final

from cluster.errors import ClusterError
from cluster.meters import clock
from engines.common.context import Caller
from engines.common.errors import EngineError
from node.errors import NodeError
from node.mounts import Mounted
from node.unsealed import Unsealed

_PERIOD_S: Final = 1.0
_logger = logging.getLogger(__name__)


async def tend_mounts(node: Unsealed) -> None:
    """Ask each mount at once and then every second, until cancelled. One that hangs delays no other."""
    tasks: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            tasks = {uuid: task for uuid, task in tasks.items() if not task.done()}
            for mounted in node.router.by_path.values():
                if mounted.engine.tend is not None and mounted.mount.uuid not in tasks:
                    node.meters.rollback_queued += 1
                    work = asyncio.get_running_loop().create_task(_timed(node, mounted, clock()))
                    tasks[mounted.mount.uuid] = work
            await asyncio.sleep(_PERIOD_S)
    finally:
        for task in tasks.values():
            task.cancel()


async def _timed(node: Unsealed, mounted: Mounted, due_s: float) -> None:
    meters, path = node.meters, mounted.mount.path
    began_s = clock()
    meters.rollback_queued -= 1
    meters.rollback_inflight += 1
    meters.rollback_waiting.add(began_s - due_s)
    try:
        await _tend(node, mounted)
    finally:
        took_s = clock() - began_s
        meters.rollback_inflight -= 1
        meters.rollback_attempt.add(took_s)
        meters.route_rollback.add(took_s)
        if node.config.telemetry.add_mount_point_rollback_metrics:
            meters.of_mount("rollback", "attempt", path).add(took_s)
            meters.of_mount("route", "rollback", path).add(took_s)


async def _tend(node: Unsealed, mounted: Mounted) -> None:
    assert mounted.engine.tend is not None
    path = mounted.mount.path
    try:
        await mounted.engine.tend(node.context(mounted, Caller()))
    except (ClusterError, EngineError, NodeError) as error:
        _logger.warning("work of the mount %s outside is left for the next second: %s", path, error)
    except Exception as error:
        # The message of an unforeseen error may quote a secret, so only its kind and place are written.
        where = "".join(traceback.format_tb(error.__traceback__))
        _logger.error("work of the mount %s outside failed: %s\n%s", path, type(error).__name__, where)
