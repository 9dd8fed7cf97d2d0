"""sys/mounts and sys/auth: list, enable, read, tune, disable (API documentation, "/sys/mounts", "/sys/auth")."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engines import registry
from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, Put
from node.core import Core
from node.mounts import (
    AUTH_KEY,
    MOUNTS_KEY,
    SINGLETONS,
    Mount,
    MountConfig,
    decode_mounts,
    encode_mounts,
    new_mount,
    require_free_path,
    with_mount,
)
from node.system.mount_settings import configured, described, tune_answer, tuned_options
from node.unmount import unmount
from node.unsealed import NODE_TYPES, Unsealed


@dataclass(frozen=True, slots=True, kw_only=True)
class MountList:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPath:
    """A mount by its path, below sys/mounts/ or sys/auth/."""

    path: str = path_param("Where the engine is mounted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableMount:
    """Mount an engine."""

    path: str = path_param("Where to mount the engine.")
    type: str = body_param(Kind.STRING, "The type of the engine, such as kv.", required=True)
    description: str = body_param(Kind.STRING, "A description for people.", default="")
    config: Mapping[str, object] | None = body_param(Kind.MAP, "TTLs, visibility and the other settings of tune.")
    options: Mapping[str, str] | None = body_param(Kind.STRING_MAP, "Options of the engine's type, such as version.")
    local: bool = body_param(Kind.BOOL, "Not replicated to other clusters.", default=False)
    seal_wrap: bool = body_param(Kind.BOOL, "Accepted; every entry is sealed in any case.", default=False)
    external_entropy_access: bool = body_param(Kind.BOOL, "Accepted for compatibility.", default=False)
    plugin_name: str | None = body_param(Kind.STRING, "Accepted for compatibility.")
    plugin_version: str | None = body_param(Kind.STRING, "Accepted for compatibility.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneMount:
    """Change a mount's settings; what is left out stays."""

    path: str = path_param("Where the engine is mounted.")
    default_lease_ttl: object = body_param(Kind.ANY, "Default TTL; 0 or system takes the system's.")
    max_lease_ttl: object = body_param(Kind.ANY, "Maximum TTL; 0 or system takes the system's.")
    description: str | None = body_param(Kind.STRING, "A description for people.")
    audit_non_hmac_request_keys: tuple[str, ...] | None = body_param(Kind.STRINGS, "Request keys audited in clear.")
    audit_non_hmac_response_keys: tuple[str, ...] | None = body_param(Kind.STRINGS, "Response keys audited in clear.")
    listing_visibility: str | None = body_param(Kind.STRING, "unauth shows the mount without a token.")
    passthrough_request_headers: tuple[str, ...] | None = body_param(Kind.STRINGS, "Headers the engine may see.")
    allowed_response_headers: tuple[str, ...] | None = body_param(Kind.STRINGS, "Headers the engine may set.")
    token_type: str | None = body_param(Kind.STRING, "Type of the tokens that logins make.")
    options: Mapping[str, str] | None = body_param(Kind.STRING_MAP, "Options of the engine's type.")
    plugin_version: str | None = body_param(Kind.STRING, "Accepted for compatibility.")
    user_lockout_config: Mapping[str, object] | None = body_param(Kind.MAP, "User lockout of the auth method.")
    force_no_cache: bool | None = body_param(Kind.BOOL, "Accepted for compatibility.")


@dataclass(frozen=True, slots=True)
class _Table:
    """sys/mounts or sys/auth: the same verbs on another table."""

    core: Core
    key: str
    prefix: str

    def node(self) -> Unsealed:
        return self.core.require_unsealed()

    def path(self, given: str) -> str:
        return f"{self.prefix}{given.strip('/')}/"

    def find(self, given: str) -> Mount:
        path = self.path(given)
        mounted = self.node().router.by_path.get(path)
        if mounted is None or mounted.mount.is_auth != bool(self.prefix):
            raise InvalidRequest(
                f"no matching mount at {path}" if not self.prefix else f"auth method not found at {path}"
            )
        return mounted.mount

    def rows(self) -> dict[str, object]:
        mounts = [m.mount for m in self.node().router.by_path.values() if m.mount.is_auth == bool(self.prefix)]
        return {m.path.removeprefix(self.prefix): described(m) for m in sorted(mounts, key=lambda m: m.path)}

    async def list(self, request: MountList, ctx: Context) -> Plan:
        return Plan(Answer(data=self.rows(), repeat_data=True))

    async def read(self, request: MountPath, ctx: Context) -> Plan:
        return Plan(Answer(data=described(self.find(request.path)), repeat_data=True))

    async def read_tune(self, request: MountPath, ctx: Context) -> Plan:
        return Plan(Answer(data=tune_answer(self.node(), self.find(request.path)), repeat_data=True))

    async def enable(self, request: EnableMount, ctx: Context) -> Plan:
        path = self.path(request.path)
        engine_type, options = self._engine(request)
        if path.startswith("auth/") and not self.prefix:
            # Below auth/ only sys/auth mounts, which takes sudo.
            raise InvalidRequest(f"cannot mount '{path}'")
        require_free_path(self.node().mounts(), path)
        _, max_s = self.node().system_ttls()
        mount = new_mount(
            ctx.sources,
            path,
            engine_type,
            request.description,
            local=request.local,
            seal_wrap=request.seal_wrap,
            external_entropy_access=request.external_entropy_access,
            options=options,
            config=configured(engine_type, MountConfig(), request.config or {}, max_s),
        )
        return await self._put(ctx, mount)

    def _engine(self, request: EnableMount) -> tuple[str, Mapping[str, str]]:
        """The type of the engine, and the options that are kept. Raises InvalidRequest."""
        options = dict(request.options or {})
        older = (request.config or {}).get("options")  # where they were before there was a place of their own
        if isinstance(older, Mapping):
            options.update({str(name): str(value) for name, value in older.items()})
        kind = request.plugin_name if request.type in ("plugin", "") and request.plugin_name else request.type
        if kind in NODE_TYPES or f"{kind}/" in SINGLETONS:
            raise InvalidRequest(f"mount type of {kind!r} is not mountable")
        engine_type, kept = registry.mount_type(kind, options)
        if registry.engine_for(engine_type, kept).is_auth != bool(self.prefix):
            raise InvalidRequest(f"plugin not found in the catalog: {kind}")
        return engine_type, kept

    async def tune(self, request: TuneMount, ctx: Context) -> Plan:
        mount = self.find(request.path)
        given = {name: getattr(request, name) for name in TuneMount.__dataclass_fields__ if name != "path"}
        _, max_s = self.node().system_ttls()
        changed = replace(mount, config=configured(mount.type, mount.config, given, max_s))
        if request.description is not None:
            changed = replace(changed, description=request.description)
        if request.options is not None:
            changed = replace(changed, options=tuned_options(mount, request.options))
        return await self._put(ctx, changed)

    async def disable(self, request: MountPath, ctx: Context) -> Plan:
        path = self.path(request.path)
        mounted = self.node().router.by_path.get(path)
        if mounted is None or mounted.mount.is_auth != bool(self.prefix):
            return Plan()
        if path in SINGLETONS:
            raise InvalidRequest(
                f"cannot unmount '{path}'" if not self.prefix else "token credential backend cannot be disabled"
            )
        await unmount(self.node(), mounted.mount, self.key)
        return Plan(is_committed=True)

    async def _put(self, ctx: Context, mount: Mount) -> Plan:
        seen = await ctx.view.get(self.key)
        mounts = decode_mounts(seen.value) if seen is not None else ()
        record = encode_mounts(with_mount(mounts, mount))
        return Plan(writes=(Put(self.key, record, seen.index if seen is not None else 0),))


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of both tables, and of sys/mounts/auth/:path/tune, the tune that needs no sudo."""
    secrets = _Table(core, MOUNTS_KEY, "")
    auth = _Table(core, AUTH_KEY, "auth/")

    def verbs(table: _Table, area: str, *, sudo: bool) -> tuple[Route, ...]:
        what = "auth methods" if table.prefix else "secrets engines"
        one = f"{area}/*path"
        return (
            Route(
                pattern=area,
                operation=Operation.READ,
                request=MountList,
                handler=table.list,
                summary=f"List the {what}.",
            ),
            Route(
                pattern=one,
                operation=Operation.READ,
                request=MountPath,
                handler=table.read,
                summary="Read one mount.",
                sudo=sudo,
            ),
            Route(
                pattern=one,
                operation=Operation.UPDATE,
                request=EnableMount,
                handler=table.enable,
                summary=f"Enable one of the {what}.",
                sudo=sudo,
            ),
            Route(
                pattern=one,
                operation=Operation.DELETE,
                request=MountPath,
                handler=table.disable,
                summary="Disable a mount and revoke what it issued.",
                sudo=sudo,
            ),
            *tune(table, f"{one}/tune", sudo=sudo),
        )

    def tune(table: _Table, pattern: str, *, sudo: bool) -> tuple[Route, ...]:
        return (
            Route(
                pattern=pattern,
                operation=Operation.READ,
                request=MountPath,
                handler=table.read_tune,
                summary="Read a mount's settings.",
                sudo=sudo,
            ),
            Route(
                pattern=pattern,
                operation=Operation.UPDATE,
                request=TuneMount,
                handler=table.tune,
                summary="Change a mount's settings.",
                sudo=sudo,
            ),
        )

    return (
        *verbs(secrets, "mounts", sudo=False),
        *verbs(auth, "auth", sudo=True),
        *tune(auth, "mounts/auth/*path/tune", sudo=False),
    )
