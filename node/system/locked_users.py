"""sys/locked-users: who is locked out after failed logins, and letting them in again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from engines.common.context import Context
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.core import Core
from node.unsealed import Unsealed


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedUsersRead:
    """GET sys/locked-users."""

    mount_accessor: str = body_param(Kind.STRING, "Only users of this auth mount.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock:
    """POST sys/locked-users/:mount_accessor/unlock/:alias_identifier."""

    mount_accessor: str = path_param("Accessor of the auth mount.")
    alias_identifier: str = path_param("Name of the user, or role id.")


def locked_users_answer(node: Unsealed, mount_accessor: str) -> dict[str, object]:
    """The locked users by mount, those with most of them first."""
    mounts = {m.mount.accessor: m.mount for m in node.router.by_path.values() if m.mount.is_auth}
    names: dict[str, list[str]] = defaultdict(list)
    for user in node.lockout.locked_users(mounts):
        if mount_accessor in ("", user.mount_accessor):
            names[user.mount_accessor].append(user.alias_name)
    rows = [
        {"mount_accessor": accessor, "counts": len(found), "alias_identifiers": sorted(found)}
        for accessor, found in sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    total = sum(len(found) for found in names.values())
    root = {"namespace_id": "root", "namespace_path": "", "counts": total, "mount_accessors": rows}
    return {"by_namespace": [root] if rows else [], "total": total}


def routes(core: Core) -> tuple[Route, ...]:
    """The two routes."""

    async def read(request: LockedUsersRead, _ctx: Context) -> Plan:
        return Plan(Answer(data=locked_users_answer(core.require_unsealed(), request.mount_accessor)))

    async def unlock(request: Unlock, _ctx: Context) -> Plan:
        node = core.require_unsealed()
        return Plan(writes=node.lockout.unlock_writes(request.mount_accessor, request.alias_identifier))

    return (
        Route(
            pattern="locked-users",
            operation=Operation.READ,
            request=LockedUsersRead,
            handler=read,
            summary="Show who is locked out after failed logins.",
        ),
        Route(
            pattern="locked-users/:mount_accessor/unlock/:alias_identifier",
            operation=Operation.UPDATE,
            request=Unlock,
            handler=unlock,
            summary="Let a locked user log in again.",
        ),
    )
