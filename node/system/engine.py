"""The engines of the node itself, put together: sys/ and auth/token/."""

from collections.abc import Callable

from engines.common.frame import Engine, RouteTable
from node.core import Core
from node.system import cluster, internal_ui, mounts, policies, tools


def node_engines(core: Core) -> Callable[[str], Engine]:
    """From a mount's type ("system", "token") to its engine."""
    routes = (
        *cluster.routes(core),
        *mounts.routes(core),
        *policies.routes(core),
        *internal_ui.routes(core),
        *tools.routes(core),
    )
    system = Engine(
        type="system",
        is_auth=False,
        description="System endpoints used for control, policy and debugging.",
        help="The server's own API: mounts, policies, leases, audit, seal and cluster.",
        table=RouteTable(routes),
    )
    engines = {"system": system}
    return engines.__getitem__
