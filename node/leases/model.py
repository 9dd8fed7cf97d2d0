"""What a lease is, and what the manager is handed to act on one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from engines.common.plan import Write

Commit = Callable[[Sequence[Write]], Awaitable[int]]
"""Make all writes true or none, as Store.commit does; raises cluster.errors.Conflict when a seen index is past."""


class LeaseState(StrEnum):
    """ACTIVE until its end or revocation; REVOKING while the engine is asked; IRREVOCABLE once it refused for good."""

    ACTIVE = "a"
    REVOKING = "r"
    IRREVOCABLE = "i"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as stored. Times in Unix ms, 0 for never; durations in seconds, 0 for unset.

    `path` is that of the request that earned it. `end_at_ms` is an end that no renewal passes: a batch token's.
    `token_key` names the token with which it ends; empty for none. `forced`: forget it even if the engine fails.
    """

    lease_id: str
    path: str
    mount_uuid: str
    token_key: str
    issued_at_ms: int
    expire_at_ms: int
    ttl_s: int
    max_ttl_s: int = 0
    renewable: bool = True
    renewed_at_ms: int = 0
    end_at_ms: int = 0
    state: LeaseState = LeaseState.ACTIVE
    attempts: int = 0
    error: str = ""
    forced: bool = False
    due_at_ms: int = 0
    internal: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SeenLease:
    """A lease as it was read, and the index its next write names."""

    lease: Lease
    index: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """What an engine says to a renewal. `internal` None keeps what is stored; `writes` are absolute keys.

    `extend` moves the end outside as well, once it is known (Unix ms).
    """

    ttl_s: int = 0
    max_ttl_s: int = 0
    internal: bytes | None = field(default=None, repr=False)
    writes: tuple[Write, ...] = ()
    extend: Callable[[int], Awaitable[None]] | None = field(default=None, repr=False)


RevokeInEngine = Callable[[Lease], Awaitable[None]]
RenewInEngine = Callable[[Lease, int], Awaitable[Renewal]]
