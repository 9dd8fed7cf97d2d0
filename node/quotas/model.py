"""Rate limits and their configuration, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgpack

PREFIX: Final = "sys/quotas/rate-limit/"
CONFIG_KEY: Final = "sys/quotas/config"
_FORMAT: Final = b"\x01"

# Exempt unless an operator says otherwise, so that a limit never keeps anybody from unsealing (documentation).
DEFAULT_EXEMPT: Final = (
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `rate` requests of one address in `interval_s`; beyond that it is refused for `block_interval_s`.

    `path` is "" for all, a mount ("auth/userpass/"), a path below one, or a beginning that ends in "*". `role` is a
    login role of the mount.
    """

    name: str
    path: str
    rate: float
    interval_s: int = 1
    block_interval_s: int = 0
    role: str = ""
    inheritable: bool = False

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb([getattr(self, name) for name in RateLimit.__dataclass_fields__]))

    @staticmethod
    def of_bytes(record: bytes) -> RateLimit:
        """Undo `to_bytes`."""
        return RateLimit(**_members(RateLimit, record))

    def answer(self) -> dict[str, object]:
        """The data of reading it; durations in seconds."""
        return {
            "block_interval": self.block_interval_s,
            "inheritable": self.inheritable,
            "interval": self.interval_s,
            "name": self.name,
            "path": self.path,
            "rate": self.rate,
            "role": self.role,
            "type": "rate-limit",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """What holds for all rate limits. A path that ends in "*" exempts everything that begins with it."""

    exempt_paths: tuple[str, ...] = DEFAULT_EXEMPT
    global_exempt_paths: tuple[str, ...] = ()
    audit_logging: bool = False
    response_headers: bool = False

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb([getattr(self, name) for name in QuotaConfig.__dataclass_fields__]))

    @staticmethod
    def of_bytes(record: bytes) -> QuotaConfig:
        """Undo `to_bytes`."""
        return QuotaConfig(**_members(QuotaConfig, record))

    def answer(self) -> dict[str, object]:
        """The data of reading it."""
        return {
            "enable_rate_limit_audit_logging": self.audit_logging,
            "enable_rate_limit_response_headers": self.response_headers,
            "global_rate_limit_exempt_paths": list(self.global_exempt_paths),
            "rate_limit_exempt_paths": list(self.exempt_paths),
        }


def _members(kind: Any, record: bytes) -> dict[str, Any]:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a rate limit; was it written by a newer version?")
    return dict(zip(kind.__dataclass_fields__, msgpack.unpackb(record[1:], use_list=False), strict=True))
