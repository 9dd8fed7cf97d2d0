"""The engines of the node itself, put together: sys/ and auth/token/."""

from collections.abc import Callable

from engines.common.frame import Engine, RouteTable
from node.core import Core
from node.leases.paths import lease_routes
from node.system import (
    audit,
    autopilot,
    cluster,
    internal_ui,
    locked_users,
    mounts,
    policies,
    snapshots,
    tools,
    wrapping,
)
from node.tokens.paths import token_engine


def node_engines(core: Core) -> Callable[[str], Engine]:
    """From a mount's type ("system", "token") to its engine.

    They are made when first asked for, which is after replication has brought the token salt to a joining node.
    """
    made: dict[str, Engine] = {}

    def engine_of(mount_type: str) -> Engine:
        if mount_type not in made:
            made[mount_type] = _system(core) if mount_type == "system" else _token(core)
        return made[mount_type]

    return engine_of


def _system(core: Core) -> Engine:
    routes = (
        *cluster.routes(core),
        *snapshots.routes(core),
        *autopilot.routes(core),
        *mounts.routes(core),
        *policies.routes(core),
        *internal_ui.routes(core),
        *locked_users.routes(core),
        *tools.routes(core),
        *wrapping.routes(core),
        *audit.routes(core),
        *lease_routes(core.require_unsealed().ledger.leases),
    )
    return Engine(
        type="system",
        is_auth=False,
        description="System endpoints used for control, policy and debugging.",
        help="The server's own API: mounts, policies, leases, audit, seal and cluster.",
        table=RouteTable(routes),
    )


def _token(core: Core) -> Engine:
    node = core.require_unsealed()
    ledger = node.ledger
    return token_engine(ledger.tokens, ledger.revoker, ledger.tidy, node.renew_login)
