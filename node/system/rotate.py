"""sys/rotate, sys/rotate/config and sys/key-status (API documentation of the same names)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.common.context import Context
from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from engines.common.timestamp import rfc3339
from node.core import Core
from node.errors import Sealed
from node.keyring import Keyring
from node.keyring_upkeep import change_keyring, rotate_keyring
from node.limits import BARRIER_ENCRYPTIONS_MAX, BARRIER_ENCRYPTIONS_MIN, BARRIER_ROTATION_S_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateConfig:
    """When the key is to be replaced by itself; what is left out stays."""

    max_operations: int | None = body_param(Kind.INT, "Uses after which the key is replaced.")
    interval: object = body_param(Kind.ANY, "Age at which the key is replaced; 0 for never.")
    enabled: bool | None = body_param(Kind.BOOL, "Whether it is replaced by itself at all.")


@dataclass(frozen=True, slots=True)
class _Rotation:
    core: Core

    def _root_key(self) -> bytes:
        if self.core.root_key is None:
            raise Sealed
        return self.core.root_key

    async def rotate(self, request: Nothing, ctx: Context) -> Plan:
        core = self.core
        await rotate_keyring(core.storage.store, core.barrier, self._root_key(), core.sources)
        return Plan(is_committed=True)

    async def read_config(self, request: Nothing, ctx: Context) -> Plan:
        rotation = self.core.barrier.keyring.rotation
        data = {
            "enabled": rotation.enabled,
            "interval": _go_duration(rotation.interval_s) if rotation.interval_s else 0,
            "max_operations": rotation.max_operations,
        }
        return Plan(Answer(data=data, repeat_data=True))

    async def write_config(self, request: RotateConfig, ctx: Context) -> Plan:
        core = self.core
        change = _changed(request)
        await change_keyring(core.storage.store, core.barrier, self._root_key(), core.sources.random, change)
        return Plan(is_committed=True)

    async def key_status(self, request: Nothing, ctx: Context) -> Plan:
        active = self.core.barrier.keyring.active
        data = {
            "term": active.term,
            "install_time": rfc3339(active.installed_at_ms),
            "encryptions": active.encryptions + self.core.barrier.uncounted,
        }
        return Plan(Answer(data=data, repeat_data=True))


def _changed(request: RotateConfig) -> Callable[[Keyring], Keyring]:
    """What the request makes of a keyring. Raises InvalidRequest for numbers out of their bounds."""
    changes: dict[str, int | bool] = {}
    if request.max_operations is not None:
        if not BARRIER_ENCRYPTIONS_MIN <= request.max_operations <= BARRIER_ENCRYPTIONS_MAX:
            raise InvalidRequest(f"max_operations must be from {BARRIER_ENCRYPTIONS_MIN} to {BARRIER_ENCRYPTIONS_MAX}")
        changes["max_operations"] = request.max_operations
    if request.interval is not None:
        changes["interval_s"] = _interval_s(request.interval)
    if request.enabled is not None:
        changes["enabled"] = request.enabled
    return lambda keyring: keyring.with_rotation(replace(keyring.rotation, **changes))  # type: ignore[arg-type]


def _interval_s(value: object) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        seconds = parse_duration_s(value)
    except ValueError:
        raise InvalidRequest("interval must be a duration") from None
    if seconds and seconds < BARRIER_ROTATION_S_MIN:
        raise InvalidRequest(f"interval must be 0 or at least {BARRIER_ROTATION_S_MIN // 3600} hours")
    return seconds


def _go_duration(seconds: int) -> str:
    return f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of the barrier's keys."""
    own = _Rotation(core)
    return (
        Route(
            pattern="rotate",
            operation=Operation.UPDATE,
            request=Nothing,
            handler=own.rotate,
            sudo=True,
            summary="Replace the barrier's active key.",
        ),
        Route(
            pattern="rotate/config",
            operation=Operation.READ,
            request=Nothing,
            handler=own.read_config,
            summary="When the key is replaced by itself.",
        ),
        Route(
            pattern="rotate/config",
            operation=Operation.UPDATE,
            request=RotateConfig,
            handler=own.write_config,
            summary="Say when the key is to be replaced by itself.",
        ),
        Route(
            pattern="key-status",
            operation=Operation.READ,
            request=Nothing,
            handler=own.key_status,
            summary="The barrier's active key.",
        ),
    )
