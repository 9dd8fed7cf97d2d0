"""Whom a node joins, and what a join that waits for the root key remembers."""

from dataclasses import dataclass, field

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
