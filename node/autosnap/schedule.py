"""Taking what is due, on the active node: the records of the store say when, so a new leader goes on where one fell.

An attempt commits its beginning before it acts and its end afterwards; a beginning without an end is one that was cut
off. Nothing here raises for what a disk or a bucket says: that is the status of the attempt.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from cluster.errors import ClusterError, Conflict
from cluster.restore import require_room
from engines.common.context import Context, Seen
from engines.common.plan import Check, Put
from node.autosnap.local import LocalFolder
from node.autosnap.model import CONFIG_PREFIX, LOCAL, STATUS_PREFIX, AutoConfig, AutoStatus
from node.autosnap.s3 import S3Bucket
from node.autosnap.worker import Stop, in_thread
from node.core import Core
from node.errors import NodeError
from node.logs import log_unforeseen
from node.snapshots import Snapshots, Taken
from node.unsealed import own_folders

logger = logging.getLogger(__name__)

_PERIOD_S: Final = 1.0
_INTERRUPTED: Final = "interrupted: the node stopped or lost leadership"


class AutoSnapshots:
    """The schedule of the active node. Each configuration has at most one attempt at work; they wait for no other."""

    def __init__(self, core: Core, snapshots: Snapshots) -> None:
        self._core = core
        self._snapshots = snapshots

    @property
    def own_folders(self) -> list[Path]:
        """Where the server keeps its own files, and no snapshot."""
        return own_folders(self._core.config)

    async def tend(self, ctx: Context) -> None:
        """Begin what is due, and return once nothing is at work. Cancelled, everything that is at work is given up."""
        at_work: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for name in await ctx.view.list(CONFIG_PREFIX):
                    if name not in at_work and await self._is_due(name, ctx):
                        at_work[name] = asyncio.get_running_loop().create_task(self._attempt(name, ctx))
                if not at_work:
                    return
                await asyncio.wait(at_work.values(), timeout=_PERIOD_S, return_when=asyncio.FIRST_COMPLETED)
                for name in [name for name, task in at_work.items() if task.done()]:
                    _log_failure(name, at_work.pop(name).exception())
        finally:
            for task in at_work.values():
                task.cancel()

    async def _is_due(self, name: str, ctx: Context) -> bool:
        """Nothing of this configuration is at work here; so what the store shows as begun was cut off."""
        seen, status_seen = await ctx.view.get(CONFIG_PREFIX + name), await ctx.view.get(STATUS_PREFIX + name)
        if seen is None:
            return False
        now_ms = ctx.sources.now_ms()
        status = status_of(status_seen)
        if status.is_open:
            status = status.ended(_INTERRUPTED, completed=False, now_ms=now_ms)
            try:
                await _store(name, status, status_seen, seen, ctx)
            except Conflict:
                return False  # the configuration has just been changed: the next look follows the new one
        return status.due_ms(AutoConfig.from_bytes(seen.value), seen.index, now_ms) <= now_ms

    async def _attempt(self, name: str, ctx: Context) -> None:
        seen, status_seen = await ctx.view.get(CONFIG_PREFIX + name), await ctx.view.get(STATUS_PREFIX + name)
        if seen is None:
            return
        config = AutoConfig.from_bytes(seen.value)
        status = status_of(status_seen).begun(config, seen.index, ctx.sources.now_ms())
        try:
            await _store(name, status, status_seen, seen, ctx)
        except Conflict:
            return  # the configuration has just been changed: the next look follows the new one
        error, completed = await self._result(config, status)
        ended = status.ended(error, completed=completed, now_ms=ctx.sources.now_ms())
        if error:
            logger.warning("the automatic snapshot %s: %s", name, error)
        else:
            logger.info("the automatic snapshot %s is at %s", name, status.url)
        await _store_in_the_end(name, ended, ctx)

    async def _result(self, config: AutoConfig, status: AutoStatus) -> tuple[str, bool]:
        """What went wrong, or "", and whether there is a snapshot."""
        try:
            warning = await self._keep(await self._snapshots.take(), config, config.file_name(status.number))
        except (ClusterError, NodeError) as error:
            return str(error), False
        except OSError as error:
            return f"the folder refused the snapshot: {error.strerror or type(error).__name__}", False
        except Exception as error:
            log_unforeseen("an automatic snapshot failed", error)
            return "an internal error; see the server's log", False
        return warning, True

    async def _keep(self, taken: Taken, config: AutoConfig, name: str) -> str:
        stop = Stop()
        if config.storage_type == LOCAL:
            target: LocalFolder | S3Bucket = LocalFolder(config, self._core.storage.node_id, self._require_room)
        else:
            target = S3Bucket(config)

        def work() -> str:
            try:
                return target.keep(name, stop.guard(taken.chunks))
            finally:
                taken.close()

        try:
            return await in_thread(work)
        finally:
            stop.set()

    def _require_room(self, folder: Path, size: int) -> None:
        """The log's reserve is kept on the disk that the log is on; another one may be filled."""
        own = getattr(self._core.config.storage, "path", "")
        if own and folder.stat().st_dev == Path(own).stat().st_dev:
            require_room(folder, size)


def _log_failure(name: str, error: BaseException | None) -> None:
    """Of an attempt whose end could not even be written down. What is stored says that it was cut off."""
    if isinstance(error, ClusterError):
        logger.warning("what became of the automatic snapshot %s could not be stored: %s", name, error)
    elif error is not None:
        log_unforeseen("an automatic snapshot failed", error)


def status_of(seen: Seen | None) -> AutoStatus:
    """The stored status; that of a configuration that nothing has been done for yet, without one."""
    return AutoStatus() if seen is None else AutoStatus.from_bytes(seen.value)


async def _store(name: str, status: AutoStatus, status_seen: Seen | None, config_seen: Seen, ctx: Context) -> None:
    """Raises Conflict when the configuration or its status has been changed."""
    index = 0 if status_seen is None else status_seen.index
    await ctx.out.commit(
        [
            Check(config_seen.key, config_seen.index),
            Put(STATUS_PREFIX + name, status.to_bytes(), index),
        ]
    )


async def _store_in_the_end(name: str, status: AutoStatus, ctx: Context) -> None:
    """The end of an attempt, unless its configuration is gone, or is another one of the same name by now."""
    while True:
        config_seen, status_seen = await ctx.view.get(CONFIG_PREFIX + name), await ctx.view.get(STATUS_PREFIX + name)
        if config_seen is None or status_seen is None or status_of(status_seen).number != status.number:
            return
        try:
            await _store(name, status, status_seen, config_seen, ctx)
        except Conflict:
            continue
        return
