"""The engines of the node itself, put together: sys/, identity/ and auth/token/."""

from collections.abc import Callable

from engines.common.frame import Engine, RouteTable
from node.autosnap.schedule import AutoSnapshots
from node.core import Core
from node.identity.binding import Bound, bind
from node.identity.engine import identity_engine
from node.leases.paths import lease_routes
from node.mounts import Mount
from node.snapshots import Snapshots
from node.storage import RaftStorage
from node.system import (
    audit,
    autopilot,
    cluster,
    cors,
    counters,
    generate_root,
    inspect,
    internal_ui,
    locked_users,
    loggers,
    monitoring,
    mounts,
    password_policies,
    plugins,
    policies,
    quotas,
    raw,
    rekey,
    remount,
    rotate,
    snapshot_auto,
    snapshots,
    state,
    tools,
    ui_headers,
    wrapping,
)
from node.tokens.paths import token_engine


def node_engines(core: Core) -> Callable[[str], Engine]:
    """From a mount's type ("system", "identity", "token") to its engine.

    They are made when first asked for, which is after replication has brought the token salt to a joining node.
    """
    make: dict[str, Callable[[Core], Engine]] = {"system": _system, "identity": _identity, "token": _token}
    made: dict[str, Engine] = {}

    def engine_of(mount_type: str) -> Engine:
        if mount_type not in made:
            made[mount_type] = make[mount_type](core)
        return made[mount_type]

    return engine_of


def _system(core: Core) -> Engine:
    taking = Snapshots(core, core.storage) if isinstance(core.storage, RaftStorage) else None
    automatic = AutoSnapshots(core, taking) if taking is not None else None
    routes = (
        *cluster.routes(core),
        *snapshots.routes(taking),
        *snapshot_auto.routes(automatic),
        *autopilot.routes(core),
        *mounts.routes(core),
        *policies.routes(core),
        *quotas.routes(core),
        *remount.routes(core),
        *cors.routes(core),
        *password_policies.routes(),
        *plugins.routes(),
        *internal_ui.routes(core),
        *locked_users.routes(core),
        *monitoring.routes(core),
        *counters.routes(core),
        *loggers.routes(),
        *state.routes(core),
        *tools.routes(),
        *rotate.routes(core),
        *rekey.routes(core),
        *generate_root.routes(core),
        *ui_headers.routes(core),
        *(raw.routes() if core.config.raw_storage_endpoint else ()),
        *(inspect.routes(core) if core.config.introspection_endpoint else ()),
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
        fold=_fold,
        tend=None if automatic is None else automatic.tend,
    )


def _fold(path: str) -> str:
    """A path below sys/ in its one spelling: headers and policies have names without regard to capitals."""
    for folder, spell in (("config/ui/headers/", ui_headers.canonical_name), (audit.HEADERS_FOLDER, str.lower)):
        if path.startswith(folder):
            return folder + spell(path.removeprefix(folder))
    return policies.fold_path(path)


def _token(core: Core) -> Engine:
    node = core.require_unsealed()
    ledger = node.ledger

    def bind_alias(mount_accessor: str, alias_name: str) -> Bound:
        return bind(node.directory, mount_accessor, alias_name)

    return token_engine(
        ledger.tokens,
        ledger.revoker,
        ledger.tidy,
        renew_login=node.renew_login,
        identity_policies=node.identity_policies,
        bind_alias=bind_alias,
    )


def _identity(core: Core) -> Engine:
    def mount_of(accessor: str) -> Mount | None:
        mounted = core.require_unsealed().router.by_accessor(accessor)
        return None if mounted is None else mounted.mount

    def fold(accessor: str, name: str) -> str:
        mounted = core.require_unsealed().router.by_accessor(accessor)
        spell = None if mounted is None else mounted.engine.fold_alias
        return name if spell is None else spell(name)

    return identity_engine(lambda: core.require_unsealed().directory, mount_of, fold)
