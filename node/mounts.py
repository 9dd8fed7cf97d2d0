"""The mount table: which engine answers below which path, kept as one record per table (secrets, auth)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgpack

from cluster.meters import Sampled
from engines.common.context import Sources
from engines.common.errors import InvalidRequest
from engines.common.frame import Engine, Operation
from node.sources import new_uuid

MOUNTS_KEY: Final = "core/mounts"
AUTH_KEY: Final = "core/auth"
_FORMAT: Final = b"\x01"

# Paths of the API itself, and those that later parts of it will claim.
PROTECTED_MOUNTS: Final = ("sys", "cubbyhole", "identity", "auth", "audit", "token")
SINGLETONS: Final = frozenset({"cubbyhole/", "identity/", "sys/", "auth/token/"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MountConfig:
    """What `tune` changes. TTLs in seconds, 0 inherits the system's."""

    default_lease_ttl_s: int = 0
    max_lease_ttl_s: int = 0
    force_no_cache: bool = False
    audit_non_hmac_request_keys: tuple[str, ...] = ()
    audit_non_hmac_response_keys: tuple[str, ...] = ()
    listing_visibility: str = ""
    passthrough_request_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()
    token_type: str = ""
    plugin_version: str = ""
    user_lockout: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One row of a table. `path` is absolute and ends in "/"; an auth mount's starts with "auth/".

    `closed`: it is being moved (node/remount.py) or disabled (node/unmount.py), and answers nothing.
    """

    path: str
    type: str
    uuid: str
    accessor: str
    description: str = ""
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    config: MountConfig = MountConfig()
    closed: bool = False

    @property
    def is_auth(self) -> bool:
        """Whether it is an auth method."""
        return self.path.startswith("auth/")

    @property
    def storage_prefix(self) -> str:
        """Below which its records lie. The uuid survives moves, so moving a mount rewrites nothing."""
        return f"{'auth' if self.is_auth else 'logical'}/{self.uuid}/"


def new_mount(sources: Sources, path: str, engine_type: str, description: str = "", **rest: object) -> Mount:
    """A mount with a fresh uuid and accessor (`<type>_<8 hex>`, or `auth_<type>_<8 hex>`)."""
    kind = f"auth_{engine_type}" if path.startswith("auth/") else engine_type
    return Mount(
        path=path,
        type=engine_type,
        uuid=new_uuid(sources),
        accessor=f"{kind}_{sources.random(4).hex()}",
        description=description,
        **rest,  # type: ignore[arg-type]
    )


def identity_mount(sources: Sources) -> Mount:
    """The mount of identity, which every cluster has."""
    return new_mount(sources, "identity/", "identity", "identity store")


def encode_mounts(mounts: Iterable[Mount]) -> bytes:
    """The record of one table."""
    rows = []
    for m in mounts:
        row = {name: getattr(m, name) for name in Mount.__dataclass_fields__ if name != "config"}
        row["config"] = {name: getattr(m.config, name) for name in MountConfig.__dataclass_fields__}
        rows.append(row)
    return _FORMAT + bytes(msgpack.packb(rows))


def decode_mounts(record: bytes) -> tuple[Mount, ...]:
    """The table in a record. A field that an older version did not write keeps its default."""
    if record[:1] != _FORMAT:
        raise ValueError("mount table has an unknown format; was it written by a newer version?")
    mounts = []
    for row in msgpack.unpackb(record[1:], use_list=False):
        config = MountConfig(**row.pop("config"))
        mounts.append(Mount(**row, config=config))
    return tuple(mounts)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount with the engine that runs it, ready to be asked."""

    mount: Mount
    engine: Engine
    prefix: str = ""  # below which the writes of the mount's plans lie
    timers: dict[Operation, Sampled] = field(default_factory=dict, compare=False, repr=False)  # see Unsealed.new_timer


class Router:
    """Finds the mount of a path: the longest mounted prefix wins. Immutable: a new table is a new router."""

    def __init__(self, mounted: Iterable[Mounted]) -> None:
        self.by_path: dict[str, Mounted] = {m.mount.path: m for m in mounted}
        self._segments_max = max((path.count("/") for path in self.by_path), default=0)

    def match(self, path: str) -> tuple[Mounted, str] | None:
        """The mount and the path below it, or None."""
        # Nearly every mount is one or two segments deep, so walking prefixes outwards-in is a dictionary lookup or two.
        found = None
        end = -1
        for _ in range(self._segments_max):
            end = path.find("/", end + 1)
            if end < 0:
                mounted = self.by_path.get(path + "/")
                return (mounted, "") if mounted is not None else found
            mounted = self.by_path.get(path[: end + 1])
            if mounted is not None:
                found = (mounted, path[end + 1 :])
        return found

    def by_accessor(self, accessor: str) -> Mounted | None:
        """The mount with this accessor."""
        return next((m for m in self.by_path.values() if m.mount.accessor == accessor), None)


def require_free_path(mounts: Iterable[Mount], path: str) -> None:
    """Refuse a path that is taken, or inside or above another mount. Raises InvalidRequest."""
    name = path.removeprefix("auth/") if path.startswith("auth/") else path
    if not name.strip("/"):
        raise InvalidRequest("mount path is missing")
    if not path.startswith("auth/") and name.split("/", 1)[0] in PROTECTED_MOUNTS:
        raise InvalidRequest(f"cannot mount '{path}'")
    if path.startswith("auth/token/"):
        raise InvalidRequest("token credential backend cannot be instantiated")
    for mount in mounts:
        if mount.path == path:
            raise InvalidRequest(f"path is already in use at {path}")
        if mount.path.startswith(path) or path.startswith(mount.path):
            raise InvalidRequest(f"path is already in use at {mount.path}")


def with_mount(mounts: Iterable[Mount], changed: Mount, old_path: str | None = None) -> tuple[Mount, ...]:
    """The table with this mount added, or replaced where its old path (default: its path) was."""
    gone = changed.path if old_path is None else old_path
    kept = tuple(m for m in mounts if m.path != gone)
    return (*kept, changed)


def tuned(mount: Mount, **changes: object) -> Mount:
    """The mount with these members of its config replaced."""
    return replace(mount, config=replace(mount.config, **changes))  # type: ignore[arg-type]
