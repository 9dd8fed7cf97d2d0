"""Whom a node joins, and what a join that waits for the root key remembers."""

from dataclasses import dataclass, field
from pathlib import Path

from node.config.model import Config
from node.config.storage import RaftStorage, RetryJoin
from node.errors import ConfigError
from node.seal_state import SealedKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTarget:
    """The API of the cluster to join, and how to trust it. PEM texts; empty for the system's own authorities."""

    api_address: str
    ca_pem: str = ""
    client_cert_pem: str = ""
    client_key_pem: str = field(default="", repr=False)
    tls_server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingJoin:
    """A join that waits for the root key."""

    target: JoinTarget
    keys: SealedKeys


def configured_targets(config: Config) -> list[JoinTarget]:
    """The nodes that `retry_join` names. Raises ConfigError when a file of theirs cannot be read."""
    if not isinstance(config.storage, RaftStorage):
        return []
    return [_target(block) for block in config.storage.retry_join if block.leader_api_addr]


def _target(block: RetryJoin) -> JoinTarget:
    return JoinTarget(
        api_address=block.leader_api_addr,
        ca_pem=block.leader_ca_cert or _text(block.leader_ca_cert_file),
        client_cert_pem=block.leader_client_cert or _text(block.leader_client_cert_file),
        client_key_pem=block.leader_client_key or _text(block.leader_client_key_file),
        tls_server_name=block.leader_tls_servername,
    )


def _text(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text()
    except (OSError, ValueError):
        raise ConfigError(f"retry_join: {file} cannot be read") from None
