"""What a token is, what is asked for when one is made, and what this part is handed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from engines.common.plan import Write

ROOT: Final = "root"
DEFAULT: Final = "default"
SPENT: Final = -1  # num_uses of a token whose last use is under way


class TokenType(StrEnum):
    """The API's names. A batch token is sealed and self-contained; a recovery token is known to one process only."""

    SERVICE = "service"
    BATCH = "batch"
    RECOVERY = "recovery"


PREFIX_OF: Final[Mapping[TokenType, str]] = {
    TokenType.SERVICE: "hvs.",
    TokenType.BATCH: "hvb.",
    TokenType.RECOVERY: "hvr.",
}


class Sealer(Protocol):
    """The barrier, as far as batch tokens need it: authenticated encryption bound to a key path."""

    def seal(self, key: str, plaintext: bytes) -> bytes:
        """Bytes that only `open` with the same key reads."""

    def open(self, key: str, sealed: bytes) -> bytes:
        """The plaintext. Raises node.errors.BarrierDamaged for anything that seal did not make for this key."""


@dataclass(frozen=True, slots=True)
class Ttls:
    """The effective default and maximum of a mount, in seconds; both above 0."""

    default_s: int
    max_s: int


TtlsOf = Callable[[str], Ttls]  # by request path, such as "auth/approle/login": its mount's, or else the system's


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class TokenEntry:
    """A token as stored. Times in Unix ms, 0 for never; durations in seconds, 0 for unset."""

    accessor: str
    type: TokenType
    policies: tuple[str, ...]
    path: str
    display_name: str
    created_at_ms: int
    ttl_s: int
    expire_at_ms: int
    parent: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    num_uses: int = 0
    explicit_max_ttl_s: int = 0
    period_s: int = 0
    max_ttl_s: int = 0
    renewable: bool = False
    renewed_at_ms: int = 0
    role: str = ""
    entity_id: str = ""
    bound_cidrs: tuple[str, ...] = ()
    internal: bytes = field(default=b"", repr=False)

    @property
    def is_root(self) -> bool:
        """Whether the token passes every policy check."""
        return ROOT in self.policies

    @property
    def is_orphan(self) -> bool:
        """Whether no other token's end ends this one."""
        return not self.parent


@dataclass(slots=True, unsafe_hash=True)
class SeenToken:
    """A token as it was read. `key` is its HMAC; `index` is that of its record, 0 for a batch token."""

    key: str
    entry: TokenEntry
    index: int


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class TokenSpec:
    """A token to be made, everything decided. `ttl_s` 0 (never ends) is for root tokens only.

    `id` is a chosen token id (root only, and dev mode); empty for a random one.
    """

    policies: tuple[str, ...]
    path: str
    display_name: str
    ttl_s: int
    type: TokenType = TokenType.SERVICE
    parent: SeenToken | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    num_uses: int = 0
    explicit_max_ttl_s: int = 0
    period_s: int = 0
    max_ttl_s: int = 0
    renewable: bool = True
    role: str = ""
    entity_id: str = ""
    bound_cidrs: tuple[str, ...] = ()
    id: str = field(default="", repr=False)
    internal: bytes = field(default=b"", repr=False)


@dataclass(slots=True, unsafe_hash=True)
class CreatedToken:
    """A new token and the writes that make it true; a batch token needs none."""

    token: str = field(repr=False)
    key: str
    entry: TokenEntry
    writes: tuple[Write, ...]
