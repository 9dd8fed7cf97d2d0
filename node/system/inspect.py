"""sys/internal/inspect/router: which mounts this node routes to (API documentation of the same name).

For debugging, and only with `introspection_endpoint`.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.core import Core
from node.mounts import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Which view of the router."""

    tag: str = path_param("root, uuid, accessor or storage.")


@dataclass(frozen=True, slots=True)
class _Inspect:
    core: Core

    async def router(self, request: Tag, ctx: Context) -> Plan:
        mounts = [one.mount for one in self.core.require_unsealed().router.by_path.values()]
        if request.tag in ("root", "storage"):
            key = "path" if request.tag == "root" else "storage_prefix"
            rows = [_entry(mount) | _place(mount) for mount in sorted(mounts, key=lambda one: str(getattr(one, key)))]
        elif request.tag in ("uuid", "accessor"):
            rows = [_entry(mount) for mount in sorted(mounts, key=lambda one: str(getattr(one, request.tag)))]
        else:
            raise InvalidRequest("invalid subsystem tag: root, uuid, accessor or storage")
        return Plan(Answer(data={request.tag: rows}))


def _entry(mount: Mount) -> dict[str, object]:
    return {
        "mount_path": mount.path,
        "mount_namespace": "",
        "mount_type": mount.type,
        "uuid": mount.uuid,
        "accessor": mount.accessor,
    }


def _place(mount: Mount) -> dict[str, object]:
    return {"storage_prefix": mount.storage_prefix, "tainted": mount.closed}


def routes(core: Core) -> tuple[Route, ...]:
    """The route, for a node that is configured to have it."""
    return (
        Route(
            pattern="internal/inspect/router/:tag",
            operation=Operation.READ,
            request=Tag,
            handler=_Inspect(core).router,
            sudo=True,
            summary="The mounts of the router; only with introspection_endpoint.",
        ),
    )
