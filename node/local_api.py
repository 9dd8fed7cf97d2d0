"""What a node answers itself in every state, sealed or not: init, unseal, seal-status, health, leader, join.

These are the documented unauthenticated routes. They carry no envelope; each is bounded: bodies by REQUEST_BYTES_MAX,
time by the seal lock's owner, state by the number of shares and one pending join; sys/init by CEREMONY_BODY_BYTES_MAX.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engines.common.errors import InvalidRequest, Unsupported
from engines.common.fields import Decoder, Kind, body_param
from node.core import Core
from node.errors import AlreadyInitialized, Sealed
from node.initialize import InitRequest, initialize
from node.join import begin_join
from node.join_target import JoinTarget
from node.limits import CEREMONY_BODY_BYTES_MAX
from node.pgp import read_key, read_keys
from node.request import WireRequest, json_object
from node.response import Response, bare
from node.seal.shamir import ShamirSeal
from node.seal_state import SealConfig
from node.system.cluster import rfc3339
from node.unseal import join_by_itself, unseal
from node.version import BUILD_DATE, VERSION

BODY_BYTES_MAX: Final = 64 * 1024  # of these routes but init: shares, PEM certificates, nothing larger
AUTO_RECOVERY: Final = (5, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """sys/init."""

    secret_shares: int | None = body_param(Kind.INT, "How many unseal key shares.")
    secret_threshold: int | None = body_param(Kind.INT, "How many of them unseal.")
    recovery_shares: int | None = body_param(Kind.INT, "How many recovery key shares, with auto-unseal.")
    recovery_threshold: int | None = body_param(Kind.INT, "How many of them are needed.")
    stored_shares: int | None = body_param(Kind.INT, "Accepted for compatibility.")
    pgp_keys: tuple[str, ...] | None = body_param(Kind.STRINGS, "PGP keys to encrypt the shares to.")
    recovery_pgp_keys: tuple[str, ...] | None = body_param(Kind.STRINGS, "PGP keys for recovery shares.")
    root_token_pgp_key: str = body_param(Kind.STRING, "A PGP key to encrypt the root token to.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseal:
    """sys/unseal."""

    key: str = body_param(Kind.STRING, "One key share, hexadecimal or base64.", default="", secret=True)
    reset: bool = body_param(Kind.BOOL, "Drop the shares taken so far.", default=False)
    migrate: bool = body_param(Kind.BOOL, "Migrate to the seal of this node's configuration.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """sys/storage/raft/join."""

    leader_api_addr: str = body_param(Kind.STRING, "The API address of a node of the cluster.", default="")
    retry: bool = body_param(Kind.BOOL, "Keep trying.", default=False)
    leader_ca_cert: str = body_param(Kind.STRING, "Its certificate authority, PEM.", default="")
    leader_client_cert: str = body_param(Kind.STRING, "Client certificate, PEM.", default="")
    leader_client_key: str = body_param(Kind.STRING, "Client key, PEM.", default="", secret=True)
    leader_tls_servername: str = body_param(Kind.STRING, "The name in its certificate.", default="")
    auto_join: str = body_param(Kind.STRING, "Cloud discovery; not available.", default="", secret=True)
    non_voter: bool = body_param(Kind.BOOL, "Enterprise only.", default=False)


_INIT: Final = Decoder.of(Init)
_UNSEAL: Final = Decoder.of(Unseal)
_JOIN: Final = Decoder.of(Join)

Handler = Callable[[Core, WireRequest], Awaitable[Response]]


def _body(wire: WireRequest, bytes_max: int = BODY_BYTES_MAX) -> Mapping[str, Any]:
    if len(wire.body) > bytes_max:
        raise InvalidRequest("request body is too large for this path")
    return json_object(wire.body)


# -- seal-status, unseal


def seal_status(core: Core) -> dict[str, object]:
    """The documented body of seal-status and unseal. Without t, n and progress of auto-unseal it shows 0 of 0."""
    keys = core.sealed_keys() or core.pending_keys()
    config = keys.config if keys is not None else SealConfig(type=core.seal.type, shares=0, threshold=0)
    progress = core.progress
    status: dict[str, object] = {
        "type": config.type,
        "initialized": core.is_initialized,
        "sealed": core.is_sealed,
        "t": config.threshold,
        "n": config.shares,
        "progress": progress.progress if progress is not None else 0,
        "nonce": progress.nonce if progress is not None else "",
        "version": VERSION,
        "build_date": BUILD_DATE,
        "migration": core.migrating.source is not None,
        "recovery_seal": config.type != ShamirSeal.type,
        "storage_type": core.storage.kind,
    }
    info = core.cluster_info()
    if info is not None:
        status.update({"cluster_name": info.name, "cluster_id": info.id})
    return status


async def _seal_status(core: Core, wire: WireRequest) -> Response:
    return bare(seal_status(core))


async def _unseal(core: Core, wire: WireRequest) -> Response:
    request: Unseal = _UNSEAL.decode({}, _body(wire))
    await unseal(core, request.key, reset=request.reset, migrate=request.migrate)
    return bare(seal_status(core))


async def _seal_backend_status(core: Core, wire: WireRequest) -> Response:
    since_ms = core.seal_health.unhealthy_since_ms
    health = {"healthy": True} if since_ms is None else {"healthy": False, "unhealthy_since": rfc3339(since_ms)}
    return bare({**health, "backends": [{"name": core.seal.type, **health}], "fully_wrapped": True})


# -- init


async def _read_init(core: Core, wire: WireRequest) -> Response:
    return bare({"initialized": core.is_initialized})


async def _init(core: Core, wire: WireRequest) -> Response:
    request: Init = _INIT.decode({}, _body(wire, CEREMONY_BODY_BYTES_MAX))
    _require_applicable(core, request)
    if core.seal.is_auto:
        shares, threshold, texts = request.recovery_shares, request.recovery_threshold, request.recovery_pgp_keys
        shares = AUTO_RECOVERY[0] if shares is None else shares
        threshold = AUTO_RECOVERY[1] if threshold is None else threshold
    else:
        if request.secret_shares is None or request.secret_threshold is None:
            raise InvalidRequest("secret_shares and secret_threshold are required")
        shares, threshold, texts = request.secret_shares, request.secret_threshold, request.pgp_keys
    if core.is_initialized:
        raise AlreadyInitialized  # before any key is read
    now_s = core.sources.now_ms() / 1000
    root_token_key = read_key(request.root_token_pgp_key, now_s) if request.root_token_pgp_key else None
    keys = read_keys(texts or (), now_s)
    wanted = InitRequest(shares=shares, threshold=threshold, keys=keys, root_token_key=root_token_key)
    result = await initialize(core, wanted)
    return bare(result.answer())


def _require_applicable(core: Core, request: Init) -> None:
    """Refuse what this seal does not have, as a request for it expects keys that there will not be."""
    unseal = {"secret_shares": request.secret_shares, "secret_threshold": request.secret_threshold}
    recovery = {"recovery_shares": request.recovery_shares, "recovery_threshold": request.recovery_threshold}
    given = (
        {**unseal, "pgp_keys": request.pgp_keys}
        if core.seal.is_auto
        else {**recovery, "recovery_pgp_keys": request.recovery_pgp_keys}
    )
    names = [name for name, value in given.items() if value]
    if names:
        raise InvalidRequest(f"parameters {','.join(names)} not applicable to seal type {core.seal.type}")


# -- join


async def _join(core: Core, wire: WireRequest) -> Response:
    request: Join = _JOIN.decode({}, _body(wire))
    if not request.leader_api_addr.startswith(("http://", "https://")):
        raise InvalidRequest("leader_api_addr must be the URL of a node of the cluster")
    target = JoinTarget(
        api_address=request.leader_api_addr,
        ca_pem=request.leader_ca_cert,
        client_cert_pem=request.leader_client_cert,
        client_key_pem=request.leader_client_key,
        tls_server_name=request.leader_tls_servername,
    )
    async with core.seal_lock:
        await begin_join(core, target)
    if core.seal.is_auto:
        await join_by_itself(core)
    return bare({"joined": True})


# -- health, leader

_STATUS_PARAMETERS: Final = ("activecode", "standbycode", "sealedcode", "uninitcode")


def _is_set(query: Mapping[str, str], name: str) -> bool:
    return name in query and query[name].lower() not in ("false", "0")


async def _health(core: Core, wire: WireRequest) -> Response:
    query = wire.parsed_query()
    codes = {"activecode": 200, "standbycode": 429, "sealedcode": 503, "uninitcode": 501}
    for name in _STATUS_PARAMETERS:
        if name in query:
            if not (len(query[name]) == 3 and query[name].isdecimal() and 200 <= int(query[name]) <= 599):
                raise InvalidRequest(f"bad value for {name}")
            codes[name] = int(query[name])
    if not core.is_initialized:
        status = codes["uninitcode"]
    elif core.is_sealed:
        status = codes["sealedcode"]
    elif core.is_active or _is_set(query, "standbyok") or _is_set(query, "perfstandbyok"):
        status = codes["activecode"]
    else:
        status = codes["standbycode"]
    body: dict[str, object] = {
        "initialized": core.is_initialized,
        "sealed": core.is_sealed,
        "standby": not core.is_active,
        "performance_standby": False,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": core.sources.now_ms() // 1000,
        "version": VERSION,
        "enterprise": False,
        "echo_duration_ms": 0,
        "clock_skew_ms": 0,
    }
    info = core.cluster_info()
    if info is not None:
        body.update({"cluster_name": info.name, "cluster_id": info.id})
    return bare(body, status)


async def _leader(core: Core, wire: WireRequest) -> Response:
    if core.is_sealed:
        raise Sealed
    active = core.active_node()
    body: dict[str, object] = {
        "ha_enabled": core.storage.ha_enabled,
        "is_self": core.is_active and core.storage.ha_enabled,
        "active_time": rfc3339(active.since_ms) if active is not None else "0001-01-01T00:00:00Z",
        "leader_address": active.api_address if active is not None else "",
        "leader_cluster_address": active.cluster_address if active is not None else "",
        "performance_standby": False,
        "performance_standby_last_remote_wal": 0,
    }
    indexes = core.storage.indexes()
    if indexes is not None:
        body.update({"raft_committed_index": indexes.committed, "raft_applied_index": indexes.applied})
    return bare(body)


_READ: Final = frozenset({"GET", "HEAD"})
_WRITE: Final = frozenset({"POST", "PUT"})

LOCAL: Final[Mapping[str, tuple[tuple[frozenset[str], Handler], ...]]] = {
    "sys/init": ((_READ, _read_init), (_WRITE, _init)),
    "sys/seal-status": ((_READ, _seal_status),),
    "sys/unseal": ((_WRITE, _unseal),),
    "sys/seal-backend-status": ((_READ, _seal_backend_status),),
    "sys/health": ((_READ, _health),),
    "sys/leader": ((_READ, _leader),),
    "sys/storage/raft/join": ((_WRITE, _join),),
}


def local_handler(method: str, path: str) -> Handler | None:
    """The handler of a path that every node answers itself; None for any other. Raises Unsupported."""
    verbs = LOCAL.get(path)
    if verbs is None:
        return None
    for methods, handler in verbs:
        if method in methods:
            return handler
    raise Unsupported
