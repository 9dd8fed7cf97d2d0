"""sys/internal/ui: what clients ask before they show or use a mount (API documentation, "/sys/internal/ui")."""

from dataclasses import dataclass

from engines.common.context import Context
from engines.common.errors import PermissionDenied
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.openapi import document
from engines.common.plan import Answer, Plan
from node.core import Core
from node.mounts import Mount
from node.policy import Acl, capability_names
from node.system.mount_settings import described
from node.version import API_VERSION, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyPath:
    """A path that some mount may answer for."""

    path: str = path_param("A mount, or any path below it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """How the OpenAPI document is to be."""

    generic_mount_paths: bool = body_param(Kind.BOOL, "Name mounts by a parameter.", default=False)


@dataclass(frozen=True, slots=True)
class _Internal:
    core: Core

    def _acl(self, ctx: Context) -> Acl:
        return self.core.require_unsealed().acl_of(ctx.caller)

    def _may_see(self, acl: Acl, mount: Mount) -> bool:
        return acl.is_root or acl.may_touch_below(mount.path)

    async def mounts(self, request: Nothing, ctx: Context) -> Plan:
        acl = self._acl(ctx)
        shown: dict[str, dict[str, object]] = {"secret": {}, "auth": {}}
        for mounted in self.core.require_unsealed().router.by_path.values():
            mount = mounted.mount
            if mount.config.listing_visibility == "unauth" or (ctx.caller.token_key and self._may_see(acl, mount)):
                area = "auth" if mount.is_auth else "secret"
                shown[area][mount.path.removeprefix("auth/")] = _short(mount, full=bool(ctx.caller.token_key))
        return Plan(Answer(data=shown))

    async def mount(self, request: AnyPath, ctx: Context) -> Plan:
        found = self.core.require_unsealed().router.match(request.path)
        # The same refusal for a mount that is not there and for one the caller has no right on (CVE-2020-25594).
        if not ctx.caller.token_key or found is None or not self._may_see(self._acl(ctx), found[0].mount):
            raise PermissionDenied(
                "preflight capability check returned 403, please ensure client's policies grant "
                f'access to path "{request.path}/": permission denied'
            )
        mount = found[0].mount
        return Plan(Answer(data={**described(mount), "path": mount.path}))

    async def resultant_acl(self, request: Nothing, ctx: Context) -> Plan:
        acl = self._acl(ctx)
        exact, glob = acl.rules()
        data: dict[str, object] = {
            "root": acl.is_root,
            "exact_paths": {path: {"capabilities": capability_names(bits)} for path, bits in exact.items()},
            "glob_paths": {path: {"capabilities": capability_names(bits)} for path, bits in glob.items()},
        }
        return Plan(Answer(data=data))

    async def version(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data={"version": API_VERSION}))

    async def openapi(self, request: Specification, ctx: Context) -> Plan:
        acl = self._acl(ctx)
        mounted = [
            (m.mount.path, m.engine)
            for m in self.core.require_unsealed().router.by_path.values()
            if ctx.caller.token_key and self._may_see(acl, m.mount)
        ]
        return Plan(Answer(bare=document(mounted, VERSION, request.generic_mount_paths)))


def _short(mount: Mount, *, full: bool) -> dict[str, object]:
    if full:
        return described(mount)
    return {"type": mount.type, "description": mount.description, "options": dict(mount.options) or None}


def routes(core: Core) -> tuple[Route, ...]:
    """The routes below internal/. Each judges for itself what its caller may see."""
    own = _Internal(core)
    return (
        Route(
            pattern="internal/ui/mounts",
            operation=Operation.READ,
            request=Nothing,
            handler=own.mounts,
            summary="List the mounts the caller may see.",
            unauthenticated=True,
        ),
        Route(
            pattern="internal/ui/mounts/*path",
            operation=Operation.READ,
            request=AnyPath,
            handler=own.mount,
            summary="The mount that answers for a path.",
            unauthenticated=True,
        ),
        Route(
            pattern="internal/ui/resultant-acl",
            operation=Operation.READ,
            request=Nothing,
            handler=own.resultant_acl,
            summary="The caller's compiled policies.",
        ),
        Route(
            pattern="internal/ui/version",
            operation=Operation.READ,
            request=Nothing,
            handler=own.version,
            summary="The version of the server.",
        ),
        Route(
            pattern="internal/specs/openapi",
            operation=Operation.READ,
            request=Specification,
            handler=own.openapi,
            summary="The API as an OpenAPI document.",
            unauthenticated=True,
        ),
    )
