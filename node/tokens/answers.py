"""How tokens are shown: the `auth` member of an answer, and the data of a lookup."""

from __future__ import annotations

from collections.abc import Sequence

from engines.common.timestamp import rfc3339
from node.tokens.logic import left_s
from node.tokens.model import TokenEntry


def auth_block(token: str, entry: TokenEntry, now_ms: int, identity_policies: Sequence[str] = ()) -> dict[str, object]:
    """The `auth` of a login, a creation or a renewal; token is "" where only the accessor was given."""
    own = list(entry.policies)
    return {
        "client_token": token,
        "accessor": entry.accessor,
        "policies": sorted({*own, *identity_policies}),
        "token_policies": own,
        "identity_policies": list(identity_policies) or None,
        "metadata": dict(entry.metadata) or None,
        "lease_duration": left_s(entry.expire_at_ms, now_ms),
        "renewable": entry.renewable,
        "entity_id": entry.entity_id,
        "token_type": entry.type.value,
        "orphan": entry.is_orphan,
        "mfa_requirement": None,
        "num_uses": entry.num_uses,
    }


def lookup_data(token: str, entry: TokenEntry, now_ms: int, identity_policies: Sequence[str] = ()) -> dict[str, object]:
    """The data of a lookup; token is "" where only the accessor was given."""
    data: dict[str, object] = {
        "accessor": entry.accessor,
        "creation_time": entry.created_at_ms // 1000,
        "creation_ttl": entry.ttl_s,
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": rfc3339(entry.expire_at_ms) if entry.expire_at_ms else None,
        "explicit_max_ttl": entry.explicit_max_ttl_s,
        "id": token,
        "meta": dict(entry.metadata) or None,
        "num_uses": max(entry.num_uses, 0),
        "orphan": entry.is_orphan,
        "path": entry.path,
        "policies": list(entry.policies),
        "ttl": left_s(entry.expire_at_ms, now_ms),
        "type": entry.type.value,
    }
    if entry.expire_at_ms:
        data["issue_time"] = rfc3339(entry.created_at_ms)
        data["renewable"] = entry.renewable
    if entry.renewed_at_ms:
        data["last_renewal"] = rfc3339(entry.renewed_at_ms)
        data["last_renewal_time"] = entry.renewed_at_ms // 1000
    if identity_policies:
        data["identity_policies"] = list(identity_policies)
    if entry.role:
        data["role"] = entry.role
    if entry.period_s:
        data["period"] = entry.period_s
    if entry.bound_cidrs:
        data["bound_cidrs"] = list(entry.bound_cidrs)
    return data
