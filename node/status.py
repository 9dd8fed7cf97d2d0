"""The one place that knows HTTP status numbers (style.md: errors are types, mapped to HTTP once)."""

from collections.abc import Mapping
from typing import Final

from cluster.errors import (
    ClusterError,
    Conflict,
    EntryTooLarge,
    MembershipRefused,
    NoLeader,
    OutcomeUnknown,
    PeerChangeUnderWay,
    PeerUnreachable,
    SnapshotDamaged,
    SnapshotRefused,
)
from engines.common.errors import (
    EngineError,
    InvalidRequest,
    NotFound,
    OutsideFailed,
    PermissionDenied,
    Unsupported,
    UnsupportedPath,
)
from node.errors import (
    AlreadyInitialized,
    AuditFailed,
    BadRequest,
    BarrierDamaged,
    ConfigError,
    InvalidShares,
    JoinRefused,
    MethodNotAllowed,
    NoActiveNode,
    NodeError,
    NoRoute,
    NotAWrappingToken,
    NotInitialized,
    RateLimited,
    RequestTimedOut,
    RequestTooLarge,
    SealDenied,
    Sealed,
    SealRefused,
    SealUnavailable,
    UploadInterrupted,
    WrongKey,
)
from node.policy.errors import PasswordPolicyError, PolicyError, PolicyNameRefused

STATUS: Final[Mapping[type[Exception], int]] = {
    InvalidRequest: 400,
    BadRequest: 400,
    AlreadyInitialized: 400,
    NotAWrappingToken: 400,
    NotInitialized: 400,
    MembershipRefused: 400,
    PeerChangeUnderWay: 400,
    InvalidShares: 400,
    WrongKey: 400,
    PolicyError: 400,
    PolicyNameRefused: 400,
    PasswordPolicyError: 400,
    SnapshotDamaged: 400,
    SnapshotRefused: 500,
    JoinRefused: 500,
    PermissionDenied: 403,
    NotFound: 404,
    UnsupportedPath: 404,
    NoRoute: 404,
    Unsupported: 405,
    MethodNotAllowed: 405,
    RateLimited: 429,
    EntryTooLarge: 413,
    RequestTooLarge: 413,
    UploadInterrupted: 408,
    Conflict: 500,  # only after the node's own retries: the client may simply ask again
    OutcomeUnknown: 500,  # not 503, which says that nothing happened: the write may yet commit
    RequestTimedOut: 500,
    AuditFailed: 500,
    OutsideFailed: 500,
    NoActiveNode: 500,  # what clients of this API know and retry
    BarrierDamaged: 500,
    ConfigError: 500,
    SealDenied: 500,
    SealRefused: 500,
    SealUnavailable: 503,
    PeerUnreachable: 503,
    Sealed: 503,
    NoLeader: 503,
}

KNOWN: Final = (ClusterError, EngineError, NodeError)


def status_of(error: Exception) -> int:
    """The status of a known error, by its class or the nearest base; 500 for anything else."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500
