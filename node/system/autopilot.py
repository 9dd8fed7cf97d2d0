"""sys/storage/raft/autopilot: the health of the cluster and the rules that judge it (API documentation)."""

from dataclasses import dataclass, replace

from cluster.errors import NoLeader
from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan, Put
from node.autopilot import CONFIG_KEY, Autopilot, AutopilotConfig
from node.core import Core
from node.storage import RaftStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRules:
    """The rules to change; the others stay. Parts of a second count as a whole one."""

    cleanup_dead_servers: bool | None = body_param(Kind.BOOL, "Remove dead members; needs min_quorum.")
    last_contact_threshold: int | None = body_param(Kind.DURATION, "Longer without an answer is unhealthy.")
    dead_server_last_contact_threshold: int | None = body_param(Kind.DURATION, "Longer without an answer is dead.")
    server_stabilization_time: int | None = body_param(
        Kind.DURATION, "Kept and shown. A node gets its vote once it holds the whole log, and no sooner."
    )
    max_trailing_logs: int | None = body_param(Kind.INT, "More entries behind is unhealthy.")
    min_quorum: int | None = body_param(Kind.INT, "Members that clean-up always leaves; at least 3.")
    disable_upgrade_migration: bool | None = body_param(Kind.BOOL, "Accepted for compatibility.")
    dr_operation_token: str | None = body_param(Kind.STRING, "Accepted for compatibility.", secret=True)


@dataclass(frozen=True, slots=True)
class _Handlers:
    core: Core

    def _autopilot(self) -> Autopilot:
        if not isinstance(self.core.storage, RaftStorage):
            raise InvalidRequest("raft storage is not in use")
        if self.core.autopilot is None:
            raise NoLeader("this node is only just becoming active; nothing was changed")
        return self.core.autopilot

    async def state(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data=self._autopilot().state()))

    async def read(self, request: Nothing, ctx: Context) -> Plan:
        return Plan(Answer(data=self._autopilot().config().shown()))

    async def write(self, request: SetRules, ctx: Context) -> Plan:
        self._autopilot()
        seen = await ctx.view.get(CONFIG_KEY)
        config = AutopilotConfig() if seen is None else AutopilotConfig.from_bytes(seen.value)
        named = {
            "cleanup_dead_servers": request.cleanup_dead_servers,
            "last_contact_threshold_s": request.last_contact_threshold,
            "dead_server_last_contact_threshold_s": request.dead_server_last_contact_threshold,
            "server_stabilization_time_s": request.server_stabilization_time,
            "max_trailing_logs": request.max_trailing_logs,
            "min_quorum": request.min_quorum,
            "disable_upgrade_migration": request.disable_upgrade_migration,
        }
        config = replace(config, **{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]  # each field from the parameter of its type
        config.require_sound()
        return Plan(writes=(Put(CONFIG_KEY, config.to_bytes(), 0 if seen is None else seen.index),))


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of autopilot."""
    own = _Handlers(core)
    base = "storage/raft/autopilot"
    return (
        Route(
            pattern=f"{base}/state",
            operation=Operation.READ,
            request=Nothing,
            handler=own.state,
            summary="The health of every member.",
        ),
        Route(
            pattern=f"{base}/configuration",
            operation=Operation.READ,
            request=Nothing,
            handler=own.read,
            summary="The rules that judge health and death.",
        ),
        Route(
            pattern=f"{base}/configuration",
            operation=Operation.UPDATE,
            request=SetRules,
            handler=own.write,
            summary="Change the rules that are named.",
        ),
    )
