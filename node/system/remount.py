"""sys/remount: moving a mount to another path (API documentation, "/sys/remount")."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cluster.errors import ClusterError
from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.core import Core
from node.mounts import SINGLETONS, require_free_path
from node.paths import canonical_path
from node.remount import IN_PROGRESS, MIGRATIONS, Migration, begin_writes, finish, read_migration
from node.sources import new_uuid

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveMount:
    """Where a mount is, and where it is to be."""

    source: str = body_param(Kind.STRING, "The mount's path.", required=True, name="from")
    target: str = body_param(Kind.STRING, "Its new path.", required=True, name="to")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationId:
    """A migration by its id."""

    migration_id: str = path_param("The id that sys/remount answered with.")


@dataclass(frozen=True, slots=True)
class _Remount:
    core: Core

    async def move(self, request: MoveMount, ctx: Context) -> Plan:
        node = self.core.require_unsealed()
        source, target = _path(request.source), _path(request.target)
        mounted = node.router.by_path.get(source)
        if mounted is None:
            raise InvalidRequest(f'no matching mount at "{source}"')
        if source in SINGLETONS:
            raise InvalidRequest(f'cannot remount "{source}"')
        if mounted.mount.is_auth != target.startswith("auth/"):
            raise InvalidRequest("cannot remount between auth methods and secrets engines")
        if mounted.mount.closed:
            raise InvalidRequest(f'"{source}" is being moved already')
        # Its own row may be above or below the new path, which is no clash: it will have left.
        others = [one.mount for one in node.router.by_path.values() if one.mount.uuid != mounted.mount.uuid]
        if source == target:
            raise InvalidRequest(f"path is already in use at {target}")
        require_free_path(others, target)
        for one in _under_way(self.core):
            if target.startswith(one.target) or one.target.startswith(target):
                raise InvalidRequest(f"another mount is being moved to {one.target}")
        migration_id = new_uuid(ctx.sources)
        writes = begin_writes(node, migration_id, mounted.mount, target)
        await node.opened.commit("", writes)
        self.core.spawn(self._finish(migration_id))
        return Plan(Answer(data={"migration_id": migration_id}, repeat_data=True), is_committed=True)

    async def _finish(self, migration_id: str) -> None:
        try:
            await finish(self.core.require_unsealed(), migration_id)
        except ClusterError as error:
            logger.info("a migration was interrupted, the next active node goes on: %s", error)

    async def status(self, request: MigrationId, ctx: Context) -> Plan:
        found = read_migration(self.core.require_unsealed(), request.migration_id)
        if found is None:
            raise NotFound
        info = {"source_mount": found.source, "target_mount": found.target, "status": found.status}
        data = {"migration_id": request.migration_id, "migration_info": info}
        return Plan(Answer(data=data, repeat_data=True))


def _under_way(core: Core) -> list[Migration]:
    node = core.require_unsealed()
    found = (read_migration(node, key.removeprefix(MIGRATIONS)) for key in node.opened.keys(MIGRATIONS))
    return [one for one in found if one is not None and one.status == IN_PROGRESS]


def _path(given: str) -> str:
    if not given.strip("/"):
        raise InvalidRequest("both source and destination paths are required")
    return f"{canonical_path(given.strip('/'))}/"


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of remount."""
    own = _Remount(core)
    return (
        Route(
            pattern="remount",
            operation=Operation.UPDATE,
            request=MoveMount,
            handler=own.move,
            summary="Move a mount to another path and revoke what it issued.",
            sudo=True,
        ),
        Route(
            pattern="remount/status/:migration_id",
            operation=Operation.READ,
            request=MigrationId,
            handler=own.status,
            summary="How a move stands.",
        ),
    )
