"""The configuration as a whole."""

from collections.abc import Iterable
from dataclasses import dataclass

from node.config.addresses import url
from node.config.bind import Stanza, nested, setting
from node.config.listeners import Listener
from node.config.read import choice, duration, file_mode, flag, text, texts, whole
from node.config.seals import SealStanza
from node.config.services import ServiceRegistration, Telemetry, UserLockout
from node.config.storage import RaftStorage, Storage

_LEVELS = ("trace", "debug", "info", "notice", "warn", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Stanza):
    """Everything that the files and the environment say. Secret values are kept out of its repr.

    Invariant: `storage` and at least one listener are there, at most one seal is in use and at most one disabled, and
    with raft storage `cluster_addr` is set.
    """

    IGNORED = frozenset(
        (
            "reporting",
            "license_path",
            "disable_sealwrap",
            "disable_performance_standby",
            "replication",
            "sentinel",
            "entropy",
            "disable_indexing",
            "kms_library",
        )
    )

    storage: Storage
    listeners: tuple[Listener, ...]
    seals: tuple[SealStanza, ...]
    user_lockouts: tuple[UserLockout, ...]
    service_registration: ServiceRegistration | None
    warnings: tuple[str, ...]
    keys_in_files: frozenset[str] = frozenset()  # what the files say themselves, at the top level

    telemetry: Telemetry = nested(Telemetry)  # noqa: RUF009  a field, as setting() is
    cluster_name: str = setting("", text)
    api_addr: str = setting("", url, env="VAULT_API_ADDR")
    cluster_addr: str = setting("", url, env="VAULT_CLUSTER_ADDR")
    disable_clustering: bool = setting(False, flag)
    cache_size: int = setting(131_072, whole(0))
    disable_cache: bool = setting(False, flag)
    disable_mlock: bool = setting(False, flag, env="VAULT_DISABLE_MLOCK")
    default_lease_ttl_s: int = setting(2_764_800, duration, key="default_lease_ttl")
    max_lease_ttl_s: int = setting(2_764_800, duration, key="max_lease_ttl")
    default_max_request_duration_s: int = setting(90, duration, key="default_max_request_duration")
    detect_deadlocks: tuple[str, ...] = setting((), texts)
    disable_user_lockout: bool = setting(False, flag, env="VAULT_DISABLE_USER_LOCKOUT")
    raw_storage_endpoint: bool = setting(False, flag)
    introspection_endpoint: bool = setting(False, flag)
    ui: bool = setting(False, flag, env="VAULT_UI")
    pid_file: str = setting("", text)
    plugin_directory: str = setting("", text)
    plugin_tmpdir: str = setting("", text, env="VAULT_PLUGIN_TMPDIR")
    plugin_file_uid: int = setting(0, whole(0))
    plugin_file_permissions: int | None = setting(None, file_mode)
    enable_response_header_hostname: bool = setting(False, flag)
    enable_response_header_raft_node_id: bool = setting(False, flag)
    log_level: str = setting("info", choice(*_LEVELS), env="VAULT_LOG_LEVEL")
    log_format: str = setting("standard", choice("standard", "json"), env="VAULT_LOG_FORMAT")
    log_file: str = setting("", text)
    log_rotate_bytes: int = setting(0, whole(0))
    log_rotate_duration_s: int = setting(86_400, duration, key="log_rotate_duration")
    log_rotate_max_files: int = setting(0, whole(-1))
    log_requests_level: str = setting("off", choice("off", *_LEVELS))
    experiments: tuple[str, ...] = setting((), texts, env="VAULT_EXPERIMENTS")
    imprecise_lease_role_tracking: bool = setting(False, flag)
    enable_post_unseal_trace: bool = setting(False, flag)
    post_unseal_trace_directory: str = setting("", text)

    @property
    def seal(self) -> SealStanza:
        """The seal in use; shamir when no block says another."""
        return next((seal for seal in self.seals if not seal.disabled), SealStanza(type="shamir"))

    @property
    def old_seal(self) -> SealStanza | None:
        """The seal that a migration comes from: the one that is disabled."""
        return next((seal for seal in self.seals if seal.disabled), None)

    def lockout_of(self, method: str) -> UserLockout:
        """The lockout settings of a login method."""
        by_method = {lockout.method: lockout for lockout in self.user_lockouts}
        return by_method.get(method) or by_method.get("all") or UserLockout(method="all")

    def faults(self) -> Iterable[tuple[str, str]]:
        if self.default_lease_ttl_s > self.max_lease_ttl_s:
            yield "default_lease_ttl", "is above max_lease_ttl"
        if isinstance(self.storage, RaftStorage):
            if not self.cluster_addr:
                yield "cluster_addr", "required with raft storage; also VAULT_CLUSTER_ADDR"
            if self.disable_clustering:
                yield "disable_clustering", "must be false with raft storage"
