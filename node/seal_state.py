"""What a node must know before its keys are in memory: how the root key is sealed, and the sealed keys themselves.

The records live outside the barrier, in the replicated store, so that every node of the cluster has them; a node that
is just joining keeps a copy in its local table until replication has reached it.
"""

from dataclasses import asdict, dataclass, field
from typing import ClassVar, Final

import msgpack

from cluster.tls import Authority
from engines.common.crypto import NONCE_BYTES, Aead, NotAuthentic
from node.barrier import Random
from node.errors import WrongKey

SEAL_CONFIG_KEY: Final = "core/seal-config"
ROOT_KEY_KEY: Final = "core/root-key"
KEYRING_KEY: Final = "core/keyring"
AUTHORITY_KEY: Final = "core/raft/authority"
CLUSTER_KEY: Final = "core/cluster"
RECOVERY_KEY_KEY: Final = "core/recovery-key"
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealConfig:
    """How the root key is sealed. Holds nothing secret. `shares` and `threshold` are of recovery keys when auto."""

    type: str
    shares: int
    threshold: int

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb(asdict(self)))

    @staticmethod
    def from_bytes(record: bytes) -> "SealConfig":
        """The configuration in a record. Raises ValueError."""
        if record[:1] != _FORMAT:
            raise ValueError("seal configuration has an unknown format; was it written by a newer version?")
        return SealConfig(**msgpack.unpackb(record[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInfo:
    """The cluster's name and id, as `seal-status` shows them once unsealed."""

    name: str
    id: str

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb(asdict(self)))

    @staticmethod
    def from_bytes(record: bytes) -> "ClusterInfo":
        """The info in a record. Raises ValueError."""
        if record[:1] != _FORMAT:
            raise ValueError("cluster record has an unknown format; was it written by a newer version?")
        return ClusterInfo(**msgpack.unpackb(record[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKeys:
    """Enough to unseal: the configuration and the root key as the seal sealed it."""

    config: SealConfig
    sealed_root_key: bytes = field(repr=False)


def encode_authority(authority: Authority) -> bytes:
    """The record of the cluster's certificate authority; to be sealed."""
    return _FORMAT + bytes(msgpack.packb([authority.cert_pem, authority.key_pem]))


def decode_authority(record: bytes) -> Authority:
    """The authority in a record. Raises ValueError."""
    if record[:1] != _FORMAT:
        raise ValueError("the cluster's authority has an unknown format; was it written by a newer version?")
    return Authority(*msgpack.unpackb(record[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRecord:
    """What joining brought, kept by the node alone until replication has caught up. The authority is sealed."""

    NAME: ClassVar[str] = "join"

    keys: SealedKeys
    sealed_authority: bytes = field(repr=False)
    api_address: str
    ca_pem: str = ""
    tls_server_name: str = ""

    def to_bytes(self) -> bytes:
        """The record."""
        keys = (self.keys.config.to_bytes(), self.keys.sealed_root_key)
        target = (self.api_address, self.ca_pem, self.tls_server_name)
        return _FORMAT + bytes(msgpack.packb([keys, self.sealed_authority, target]))

    @staticmethod
    def from_bytes(record: bytes) -> "JoinRecord":
        """Raises ValueError."""
        if record[:1] != _FORMAT:
            raise ValueError("the join record has an unknown format; was it written by a newer version?")
        (config, sealed_root_key), sealed_authority, (api_address, ca_pem, name) = msgpack.unpackb(record[1:])
        keys = SealedKeys(config=SealConfig.from_bytes(config), sealed_root_key=sealed_root_key)
        return JoinRecord(
            keys=keys,
            sealed_authority=sealed_authority,
            api_address=api_address,
            ca_pem=ca_pem,
            tls_server_name=name,
        )

    def open_authority(self, root_key: bytes) -> bytes:
        """The authority's record, opened. Raises WrongKey."""
        return open_under_root_key(root_key, JOIN_PURPOSE, self.sealed_authority)


JOIN_PURPOSE: Final = b"strongroom/join/authority"
ANSWER_PURPOSE: Final = b"strongroom/join/answer"
CHALLENGE_PURPOSE: Final = b"strongroom/join/challenge"


def seal_under_root_key(root_key: bytes, purpose: bytes, plaintext: bytes, random: Random) -> bytes:
    """Seal what nodes that know the root key tell each other before they share a barrier."""
    nonce = random(NONCE_BYTES)
    return _FORMAT + nonce + Aead(root_key).seal(nonce, plaintext, purpose)


def open_under_root_key(root_key: bytes, purpose: bytes, sealed: bytes) -> bytes:
    """What was sealed so. Raises WrongKey."""
    head = 1 + NONCE_BYTES
    try:
        if sealed[:1] != _FORMAT:
            raise NotAuthentic
        return Aead(root_key).open(sealed[1:head], sealed[head:], purpose)
    except NotAuthentic:
        raise WrongKey("the key shares do not belong to the cluster that this node is to join") from None
