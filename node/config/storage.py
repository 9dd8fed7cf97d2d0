"""The `storage` block: `raft` and `inmem`."""

from collections.abc import Iterable
from dataclasses import dataclass

from node.config.addresses import url
from node.config.bind import Stanza, nested_many, setting
from node.config.read import choice, duration, flag, is_given, text, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJoin(Stanza):
    """A node to join, tried again until it answers. TLS material comes either from files or as PEM text."""

    leader_api_addr: str = setting("", url)
    auto_join: str = setting("", text, secret=True)  # a discovery string may hold cloud credentials
    auto_join_scheme: str = setting("https", choice("http", "https"))
    auto_join_port: int = setting(8200, whole(1, 65535))
    leader_tls_servername: str = setting("", text)
    leader_ca_cert_file: str = setting("", text)
    leader_client_cert_file: str = setting("", text)
    leader_client_key_file: str = setting("", text)
    leader_ca_cert: str = setting("", text)
    leader_client_cert: str = setting("", text)
    leader_client_key: str = setting("", text, secret=True)

    def faults(self) -> Iterable[tuple[str, str]]:
        if bool(self.leader_api_addr) == bool(self.auto_join):
            yield "leader_api_addr", "exactly one of leader_api_addr and auto_join is needed"
        files = self.leader_ca_cert_file or self.leader_client_cert_file or self.leader_client_key_file
        if files and (self.leader_ca_cert or self.leader_client_cert or self.leader_client_key):
            yield "leader_ca_cert", "certificates come either from files or as text, not both"
        if bool(self.leader_client_cert_file) != bool(self.leader_client_key_file):
            yield "leader_client_cert_file", "needs leader_client_key_file, and the reverse"
        if bool(self.leader_client_cert) != bool(self.leader_client_key):
            yield "leader_client_cert", "needs leader_client_key, and the reverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftStorage(Stanza):
    """`storage "raft"`. `node_id` "" means that the node makes one and keeps it in its data folder."""

    IGNORED = frozenset(("autopilot_upgrade_version", "autopilot_redundancy_zone"))

    path: str = setting("", text, env="VAULT_RAFT_PATH")
    node_id: str = setting("", text, env="VAULT_RAFT_NODE_ID")
    performance_multiplier: int = setting(0, whole(0, 10))
    trailing_logs: int = setting(10000, whole(1))
    snapshot_threshold: int = setting(8192, whole(1))
    snapshot_interval_s: int = setting(120, duration, key="snapshot_interval")
    entry_bytes_max: int = setting(1_048_576, whole(1), key="max_entry_size")
    autopilot_reconcile_interval_s: int = setting(10, duration, key="autopilot_reconcile_interval")
    autopilot_update_interval_s: int = setting(2, duration, key="autopilot_update_interval")
    retry_join_as_non_voter: bool = setting(False, flag, env="VAULT_RAFT_RETRY_JOIN_AS_NON_VOTER", read_env=is_given)
    retry_join: tuple[RetryJoin, ...] = nested_many(RetryJoin)

    def faults(self) -> Iterable[tuple[str, str]]:
        if not self.path:
            yield "path", "required"
        if self.retry_join_as_non_voter and not self.retry_join:
            yield "retry_join_as_non_voter", "needs at least one retry_join block"


@dataclass(frozen=True, slots=True, kw_only=True)
class InmemStorage(Stanza):
    """`storage "inmem"`: everything is gone when the process ends. It has no settings."""


Storage = RaftStorage | InmemStorage
STORAGES: dict[str, type[RaftStorage] | type[InmemStorage]] = {"raft": RaftStorage, "inmem": InmemStorage}
