"""Cross-origin requests: which web pages of other origins may use the API from a browser (documentation, "CORS").

Off until an operator allows origins. With it on, a browser's request from any other origin is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgpack

from node.response import Response, refusal
from node.view import OpenedStore

CORS_KEY: Final = "sys/config/cors"
METHODS: Final = ("DELETE", "GET", "OPTIONS", "POST", "PUT", "LIST", "PATCH")
# Always allowed, so that a page can log in, use a token and wrap.
STANDARD_HEADERS: Final = (
    "Content-Type",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Vault-Policy-Override",
    "Authorization",
    "X-Vault-Token",
)
_PREFLIGHT_S: Final = 300  # how long a browser may remember an answer
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsConfig:
    """Who may, and with which headers. "*" as an origin allows every one."""

    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb((self.origins, self.headers)))

    @staticmethod
    def of_bytes(record: bytes) -> CorsConfig:
        """Undo `to_bytes`."""
        if record[:1] != _FORMAT:
            raise ValueError("unknown format of a stored record")
        origins, headers = msgpack.unpackb(record[1:], use_list=False)
        return CorsConfig(origins=origins, headers=headers)

    @property
    def all_headers(self) -> tuple[str, ...]:
        """The standard headers and those that were added."""
        return (*STANDARD_HEADERS, *(name for name in self.headers if name not in STANDARD_HEADERS))

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may; compared as a whole, host names without regard to capitals."""
        return "*" in self.origins or origin.lower() in {one.lower() for one in self.origins}


def cors_config(opened: OpenedStore) -> CorsConfig | None:
    """The configuration; None while it is off."""
    seen = opened.get(CORS_KEY)
    return None if seen is None else CorsConfig.of_bytes(seen.value)


def refused_or_preflight(config: CorsConfig, method: str, headers: Mapping[str, str]) -> Response | None:
    """The answer to a cross-origin request that goes no further: it is not allowed, or only asks what is."""
    if not config.allows(headers["origin"]):
        return refusal(403, "origin not allowed")
    if method != "OPTIONS":
        return None
    if headers.get("access-control-request-method", "") not in METHODS:
        return refusal(405, "unsupported method")
    answer = {
        **allowing(headers),
        "Access-Control-Allow-Methods": ",".join(METHODS),
        "Access-Control-Allow-Headers": ",".join(config.all_headers),
        "Access-Control-Max-Age": str(_PREFLIGHT_S),
    }
    return Response(204, headers=answer)


def allowing(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by which a browser lets its page see the answer."""
    return {"Access-Control-Allow-Origin": headers["origin"], "Vary": "Origin"}
