"""sys/quotas: rate limits and their configuration (API documentation, "/sys/quotas")."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.core import Core
from node.paths import canonical_path
from node.quotas.model import CONFIG_KEY, PREFIX, RateLimit

LIMITS_MAX: Final = 4_096  # of one cluster; every change compiles all of them anew
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,254}[A-Za-z0-9_])?")
_SECONDS_MAX: Final = 366 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitName:
    """A rate limit by its name."""

    name: str = path_param("The limit's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimit:
    """A rate limit; what is left out of a change stays, but for the rate."""

    name: str = path_param("The limit's name.")
    type: str | None = body_param(Kind.STRING, "Accepted for compatibility.")
    path: str | None = body_param(Kind.STRING, "A mount, a path below one, or a beginning with *; empty for all.")
    rate: object = body_param(Kind.ANY, "Requests of one address per interval.", required=True)
    interval: int | None = body_param(Kind.DURATION, "The interval; one second by default.")
    block_interval: int | None = body_param(Kind.DURATION, "For how long an address is refused that went beyond.")
    role: str | None = body_param(Kind.STRING, "A login role of the auth mount.")
    inheritable: bool | None = body_param(Kind.BOOL, "Accepted for the limit of everything.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteConfig:
    """The configuration of all rate limits; what is left out stays."""

    rate_limit_exempt_paths: tuple[str, ...] | None = body_param(Kind.STRINGS, "Paths that no limit holds for.")
    global_rate_limit_exempt_paths: tuple[str, ...] | None = body_param(Kind.STRINGS, "The same, for all namespaces.")
    absolute_rate_limit_exempt_paths: tuple[str, ...] | None = body_param(Kind.STRINGS, "Accepted for compatibility.")
    enable_rate_limit_audit_logging: bool | None = body_param(Kind.BOOL, "Audit requests that are refused.")
    enable_rate_limit_response_headers: bool | None = body_param(Kind.BOOL, "Tell clients what they have left.")


@dataclass(frozen=True, slots=True)
class _Quotas:
    core: Core

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        names = await ctx.view.list(PREFIX)
        if not names:
            raise NotFound
        return Plan(Answer(data={"keys": names}))

    async def read(self, request: LimitName, ctx: Context) -> Plan:
        seen = await ctx.view.get(PREFIX + _checked(request.name))
        if seen is None:
            raise NotFound
        return Plan(Answer(data=RateLimit.of_bytes(seen.value).answer()))

    async def write(self, request: WriteLimit, ctx: Context) -> Plan:
        key = PREFIX + _checked(request.name)
        seen = await ctx.view.get(key)
        old = RateLimit.of_bytes(seen.value) if seen is not None else RateLimit(name=request.name, path="", rate=1)
        path = old.path if request.path is None else self._path(request.path)
        limit = replace(
            old,
            path=path,
            rate=_rate(request.rate),
            interval_s=old.interval_s if request.interval is None else _seconds(request.interval, "interval", 1),
            block_interval_s=(
                old.block_interval_s
                if request.block_interval is None
                else _seconds(request.block_interval, "block_interval", 0)
            ),
            role=old.role if request.role is None else request.role,
            inheritable=not path,
        )
        if path and request.inheritable:
            raise InvalidRequest("only the quota of everything can be inheritable")
        self._require_role(limit)
        others = await ctx.view.list(PREFIX)
        if seen is None and len(others) >= LIMITS_MAX:
            raise InvalidRequest(f"there are {LIMITS_MAX} rate limit quotas already")
        for name in others:
            other = await ctx.view.get(PREFIX + name)
            if other is not None and name != limit.name:
                known = RateLimit.of_bytes(other.value)
                if (known.path, known.role) == (limit.path, limit.role):
                    raise InvalidRequest(f'quota rule with similar properties exists under the name "{name}"')
        return Plan(writes=(Put(key, limit.to_bytes(), seen.index if seen is not None else 0),))

    def _path(self, given: str) -> str:
        """The path as rules keep it: a mount ends in "/", a beginning in "*". Raises InvalidRequest."""
        is_beginning = given.endswith("*")
        bare = given.strip().lstrip("/").removesuffix("*")
        if not bare:
            return "*" if is_beginning else ""
        path = canonical_path(bare)
        found = self.core.require_unsealed().router.match(path)
        if found is None:
            raise InvalidRequest("invalid mount path: nothing is mounted there")
        mount = found[0].mount.path
        if is_beginning:
            return f"{bare}*"
        return mount if f"{path}/" == mount else path

    def _require_role(self, limit: RateLimit) -> None:
        if not limit.role:
            return
        mounted = self.core.require_unsealed().router.by_path.get(limit.path)
        if mounted is None or mounted.engine.login_role is None:
            raise InvalidRequest(f'the mount path "{limit.path}" is not a valid auth method with concept of roles')

    async def delete(self, request: LimitName, ctx: Context) -> Plan:
        return Plan(writes=(Delete(PREFIX + _checked(request.name)),))

    async def read_config(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data=self.core.require_unsealed().quotas.config().answer()))

    async def write_config(self, request: WriteConfig, ctx: Context) -> Plan:
        seen = await ctx.view.get(CONFIG_KEY)
        config = self.core.require_unsealed().quotas.config()
        given = {
            "exempt_paths": request.rate_limit_exempt_paths,
            "global_exempt_paths": request.global_rate_limit_exempt_paths,
            "audit_logging": request.enable_rate_limit_audit_logging,
            "response_headers": request.enable_rate_limit_response_headers,
        }
        changed = replace(config, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        return Plan(writes=(Put(CONFIG_KEY, changed.to_bytes(), seen.index if seen is not None else 0),))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest("invalid quota name: use letters, digits, hyphens, underscores and periods")
    return name


def _rate(given: object) -> float:
    try:
        rate = float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else 0.0
    except ValueError:
        rate = 0.0
    if not (math.isfinite(rate) and 0 < rate <= 1e9):
        raise InvalidRequest("'rate' is invalid: it must be a number above 0")
    return rate


def _seconds(given: int, name: str, least: int) -> int:
    if not least <= given <= _SECONDS_MAX:
        raise InvalidRequest(f"'{name}' is invalid: it must be a duration of at least {least}s")
    return given


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of rate limits."""
    own = _Quotas(core)
    one = "quotas/rate-limit/:name"
    return (
        Route(
            pattern="quotas/rate-limit",
            operation=Operation.LIST,
            request=Nothing,
            handler=own.list,
            summary="List the rate limits.",
        ),
        Route(pattern=one, operation=Operation.READ, request=LimitName, handler=own.read, summary="Read a rate limit."),
        Route(
            pattern=one,
            operation=Operation.UPDATE,
            request=WriteLimit,
            handler=own.write,
            summary="Create or change a rate limit.",
        ),
        Route(
            pattern=one,
            operation=Operation.DELETE,
            request=LimitName,
            handler=own.delete,
            summary="Delete a rate limit.",
        ),
        Route(
            pattern="quotas/config",
            operation=Operation.READ,
            request=Nothing,
            handler=own.read_config,
            summary="Read the configuration of rate limits.",
        ),
        Route(
            pattern="quotas/config",
            operation=Operation.UPDATE,
            request=WriteConfig,
            handler=own.write_config,
            summary="Change the configuration of rate limits.",
        ),
    )
