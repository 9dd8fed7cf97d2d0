"""sys/mounts and sys/auth: list, enable, read, tune, disable (API documentation, "/sys/mounts", "/sys/auth")."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engines import registry
from engines.common.context import Context
from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, Put
from node.core import Core
from node.lockout import lockout_answer, tuned_lockout
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
from node.unmount import unmount
from node.unsealed import NODE_TYPES, Unsealed

RUNNING_VERSION: Final = "v1.18.0+builtin"
_VISIBILITIES: Final = frozenset({"", "unauth", "hidden"})
_TOKEN_TYPES: Final = frozenset({"", "default-service", "default-batch", "service", "batch"})


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


def described(mount: Mount) -> dict[str, object]:
    """A row as sys/mounts and sys/auth show it."""
    config = mount.config
    shown: dict[str, object] = {
        "default_lease_ttl": config.default_lease_ttl_s,
        "force_no_cache": config.force_no_cache,
        "max_lease_ttl": config.max_lease_ttl_s,
    }
    if mount.is_auth:
        shown["token_type"] = config.token_type or "default-service"
    shown.update(_optional(config))
    return {
        "accessor": mount.accessor,
        "config": shown,
        "deprecation_status": "supported",
        "description": mount.description,
        "external_entropy_access": mount.external_entropy_access,
        "local": mount.local,
        "options": dict(mount.options) or None,
        "plugin_version": config.plugin_version,
        "running_plugin_version": RUNNING_VERSION,
        "running_sha256": "",
        "seal_wrap": mount.seal_wrap,
        "type": mount.type,
        "uuid": mount.uuid,
    }


def _optional(config: MountConfig) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name in (
        "audit_non_hmac_request_keys",
        "audit_non_hmac_response_keys",
        "passthrough_request_headers",
        "allowed_response_headers",
    ):
        if getattr(config, name):
            shown[name] = list(getattr(config, name))
    if config.listing_visibility:
        shown["listing_visibility"] = config.listing_visibility
    if config.user_lockout:
        shown["user_lockout_config"] = lockout_answer(config.user_lockout)
    return shown


def tune_answer(node: Unsealed, mount: Mount) -> dict[str, object]:
    """What reading tune shows: effective TTLs in seconds."""
    default_s, max_s = node.effective_ttls(mount)
    shown: dict[str, object] = {
        "default_lease_ttl": default_s,
        "description": mount.description,
        "force_no_cache": mount.config.force_no_cache,
        "max_lease_ttl": max_s,
    }
    if mount.options:
        shown["options"] = dict(mount.options)
    if mount.is_auth:
        shown["token_type"] = mount.config.token_type or "default-service"
    shown.update(_optional(mount.config))
    return shown


def _ttl_s(value: object, name: str) -> int:
    if value in ("system", "", None):
        return 0
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        seconds = parse_duration_s(value)
    except ValueError:
        raise InvalidRequest(f"field validation failed: {name} must be a duration") from None
    return max(seconds, 0)


_CONFIG_KINDS: Final[Mapping[str, str]] = {
    "audit_non_hmac_request_keys": "strings",
    "audit_non_hmac_response_keys": "strings",
    "passthrough_request_headers": "strings",
    "allowed_response_headers": "strings",
    "listing_visibility": "string",
    "token_type": "string",
    "plugin_version": "string",
    "force_no_cache": "bool",
}


def configured(mount_type: str, config: MountConfig, given: Mapping[str, Any], max_s: int) -> MountConfig:
    """The config of a mount of this type with what was given. Raises InvalidRequest."""
    changes: dict[str, Any] = {}
    for name in ("default_lease_ttl", "max_lease_ttl"):
        if given.get(name) is not None:
            changes[f"{name}_s"] = _ttl_s(given[name], name)
    for name, kind in _CONFIG_KINDS.items():
        value = given.get(name)
        if value is None:
            continue
        if kind == "strings":
            parts = value.split(",") if isinstance(value, str) else value
            if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
                raise InvalidRequest(f"field validation failed: {name} must be a list of strings")
            value = tuple(part.strip() for part in parts if part.strip())
        elif kind == "string" and not isinstance(value, str):
            raise InvalidRequest(f"field validation failed: {name} must be a string")
        elif kind == "bool":
            value = value in (True, "true", "1", 1)
        changes[name] = value
    lockout = given.get("user_lockout_config")
    if isinstance(lockout, Mapping) and lockout:
        changes["user_lockout"] = tuned_lockout(mount_type, config.user_lockout, lockout)
    changed = replace(config, **changes)
    if changed.listing_visibility not in _VISIBILITIES:
        raise InvalidRequest("invalid listing_visibility: use unauth or hidden")
    if changed.token_type not in _TOKEN_TYPES:
        raise InvalidRequest("invalid token_type")
    if changed.default_lease_ttl_s > (changed.max_lease_ttl_s or max_s):
        raise InvalidRequest("given default lease TTL greater than system/mount max lease TTL")
    return changed


@dataclass(frozen=True, slots=True)
class _Table:
    """sys/mounts or sys/auth: the same verbs on another table."""

    core: Core
    key: str
    area: str
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
        given = dict(request.config or {})
        options = {**dict(request.options or {})}
        older = given.get("options")
        if isinstance(older, Mapping):
            options.update({str(name): str(value) for name, value in older.items()})
        kind = request.plugin_name if request.type in ("plugin", "") and request.plugin_name else request.type
        if kind in NODE_TYPES or f"{kind}/" in SINGLETONS or kind == "token":
            raise InvalidRequest(f"mount type of {kind!r} is not mountable")
        engine_type, kept = registry.mount_type(kind, options)
        engine = registry.engine_for(engine_type, kept)
        if engine.is_auth != bool(self.prefix):
            raise InvalidRequest(f"plugin not found in the catalog: {kind}")
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
            options=kept,
            config=configured(engine_type, MountConfig(), given, max_s),
        )
        return await self._put(ctx, mount)

    async def tune(self, request: TuneMount, ctx: Context) -> Plan:
        mount = self.find(request.path)
        given = {name: getattr(request, name) for name in TuneMount.__dataclass_fields__ if name != "path"}
        _, max_s = self.node().system_ttls()
        changed = replace(mount, config=configured(mount.type, mount.config, given, max_s))
        if request.description is not None:
            changed = replace(changed, description=request.description)
        if request.options is not None:
            changed = replace(changed, options=_tuned_options(mount, request.options))
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


def _tuned_options(mount: Mount, given: Mapping[str, str]) -> dict[str, str]:
    options = {**mount.options, **given}
    version, old = options.get("version", ""), mount.options.get("version", "1")
    if mount.type == "kv" and version:
        if version not in ("1", "2"):
            raise InvalidRequest("the option version of a kv mount must be 1 or 2")
        if old == "2" and version == "1":
            raise InvalidRequest("cannot downgrade a kv mount from version 2 to version 1")
    return options


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of both tables, and of sys/mounts/auth/:path/tune, the tune that needs no sudo."""
    secrets = _Table(core, MOUNTS_KEY, "mounts", "")
    auth = _Table(core, AUTH_KEY, "auth", "auth/")

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
