"""sys/storage/raft/snapshot and snapshot-force: archives of the whole store, streamed both ways."""

from dataclasses import dataclass

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, StreamAnswer
from node.snapshots import Snapshots
from node.upload import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters: the body of a restore is the archive itself."""


@dataclass(frozen=True, slots=True)
class _Handlers:
    snapshots: Snapshots | None

    def _required(self) -> Snapshots:
        if self.snapshots is None:
            raise InvalidRequest("raft storage is not in use")
        return self.snapshots

    async def save(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(stream=StreamAnswer(chunks=await self._required().save(), content_type="application/gzip")))

    async def restore(self, request: Nothing, ctx: Context) -> Plan:
        return await self._restore(ctx, force=False)

    async def restore_force(self, request: Nothing, ctx: Context) -> Plan:
        return await self._restore(ctx, force=True)

    async def _restore(self, ctx: Context, *, force: bool) -> Plan:
        if not isinstance(ctx.upload, Upload):
            raise InvalidRequest("the snapshot is missing")
        await self._required().restore(ctx.upload, force=force)
        return Plan(is_committed=True)


def routes(snapshots: Snapshots | None) -> tuple[Route, ...]:
    """The routes of snapshots. There are none without Raft."""
    own = _Handlers(snapshots)
    return (
        Route(
            pattern="storage/raft/snapshot",
            operation=Operation.READ,
            request=Nothing,
            handler=own.save,
            summary="Save a snapshot of the whole store.",
        ),
        Route(
            pattern="storage/raft/snapshot",
            operation=Operation.UPDATE,
            request=Nothing,
            handler=own.restore,
            summary="Replace the whole store by a snapshot that these keys have sealed.",
        ),
        Route(
            pattern="storage/raft/snapshot-force",
            operation=Operation.UPDATE,
            request=Nothing,
            handler=own.restore_force,
            summary="Replace the whole store by a snapshot, whatever keys have sealed it.",
        ),
    )
