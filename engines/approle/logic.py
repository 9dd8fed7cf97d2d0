"""The rules of AppRole: what a role may say, what a secret id may be, and whether a login is right. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import orjson

from engines.approle.model import ALIASES, Role, SecretId, SecretIdMake
from engines.common.cidrs import is_subset, is_within, networks
from engines.common.context import Sources
from engines.common.errors import InvalidRequest, LoginRefused
from engines.common.timestamp import rfc3339
from engines.common.token_params import TokenParams, changed_params

REFUSED: Final = "invalid role or secret ID"
ID_CHARS_MAX: Final = 4096  # of a role id, secret id or accessor: the documented bound of names
_NEVER: Final = "0001-01-01T00:00:00Z"
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_ .-]{0,4093}[A-Za-z0-9_])?")
_METADATA_BYTES_MAX: Final = 65_536  # it is copied into each token of the secret id


def require_role_name(name: str) -> str:
    """The name, which is kept as it is written: "App" and "app" are two roles, for policies too (CVE-2026-89322)."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest("invalid role_name")
    return name


def new_id(sources: Sources) -> str:
    """A random UUID: 122 bits."""
    return str(UUID(bytes=sources.random(16), version=4))


def changed_role(role: Role, given: object, *, is_new: bool = False) -> Role:
    """The role after a write of some of its properties. Raises InvalidRequest."""

    def take(name: str, old: Any) -> Any:
        value = getattr(given, name, None)
        return old if value is None else value

    local = take("local_secret_ids", role.local_secret_ids)
    if local != role.local_secret_ids and not is_new:
        raise InvalidRequest("local_secret_ids can only be modified during role creation")
    changed = replace(
        role,
        params=changed_params(role.params, given, ALIASES),
        bind_secret_id=take("bind_secret_id", role.bind_secret_id),
        secret_id_bound_cidrs=take("secret_id_bound_cidrs", role.secret_id_bound_cidrs),
        secret_id_num_uses=take("secret_id_num_uses", role.secret_id_num_uses),
        secret_id_ttl_s=take("secret_id_ttl", role.secret_id_ttl_s),
        local_secret_ids=local,
    )
    networks(changed.secret_id_bound_cidrs)
    if changed.secret_id_num_uses < 0:
        raise InvalidRequest("secret_id_num_uses cannot be negative")
    if changed.secret_id_ttl_s < 0:
        raise InvalidRequest("secret_id_ttl cannot be negative")
    if not (changed.bind_secret_id or changed.secret_id_bound_cidrs or changed.params.bound_cidrs):
        raise InvalidRequest("at least one constraint should be enabled on the role")
    return changed


def role_answer(role: Role) -> dict[str, object]:
    """The data of reading a role."""
    return {
        "bind_secret_id": role.bind_secret_id,
        "local_secret_ids": role.local_secret_ids,
        "period": role.params.period_s,
        "secret_id_bound_cidrs": list(role.secret_id_bound_cidrs),
        "secret_id_num_uses": role.secret_id_num_uses,
        "secret_id_ttl": role.secret_id_ttl_s,
        **role.params.reading(ALIASES),
    }


def new_secret_id(role: Role, request: SecretIdMake, sources: Sources) -> SecretId:
    """A secret id of the role as asked for; nothing may go beyond what the role allows. Raises InvalidRequest."""
    if not role.bind_secret_id:
        raise InvalidRequest("bind_secret_id is not set on the role")
    num_uses = role.secret_id_num_uses if request.num_uses is None else request.num_uses
    ttl_s = role.secret_id_ttl_s if request.ttl is None else request.ttl
    if num_uses < 0:
        raise InvalidRequest("num_uses cannot be negative")
    if ttl_s < 0:
        raise InvalidRequest("ttl cannot be negative")
    if _exceeds(num_uses, role.secret_id_num_uses):
        raise InvalidRequest("num_uses cannot be higher than the role's secret_id_num_uses")
    if _exceeds(ttl_s, role.secret_id_ttl_s):
        raise InvalidRequest("ttl cannot be longer than the role's secret_id_ttl")
    cidrs, token_cidrs = request.cidr_list or (), request.token_bound_cidrs or ()
    _require_subset("cidr_list", cidrs, "secret_id_bound_cidrs", role.secret_id_bound_cidrs)
    _require_subset("token_bound_cidrs", token_cidrs, "token_bound_cidrs", role.params.bound_cidrs)
    now_ms = sources.now_ms()
    return SecretId(
        accessor=new_id(sources),
        created_ms=now_ms,
        updated_ms=now_ms,
        ttl_s=ttl_s,
        num_uses=num_uses,
        cidr_list=cidrs,
        token_bound_cidrs=token_cidrs,
        metadata=_metadata(request.metadata),
    )


def _exceeds(asked: int, of_role: int) -> bool:
    """0 is no limit, so it exceeds every other."""
    return of_role > 0 and (asked == 0 or asked > of_role)


def _require_subset(name: str, asked: tuple[str, ...], of: str, allowed: tuple[str, ...]) -> None:
    if not is_subset(asked, allowed or ("0.0.0.0/0", "::/0")):
        raise InvalidRequest(f"{name} must be a subset of the role's {of}")


def _metadata(given: object) -> Mapping[str, str]:
    """A JSON object of strings; as text, which is what is documented, or as it is."""
    if given is None or given == "":
        return {}
    value = given
    if isinstance(given, str):
        try:
            value = orjson.loads(given)
        except ValueError:
            raise InvalidRequest("failed to parse metadata: it must be a JSON object of strings") from None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidRequest("failed to parse metadata: it must be a JSON object of strings")
    if sum(len(name) + len(item) for name, item in value.items()) > _METADATA_BYTES_MAX:
        raise InvalidRequest("the metadata is too large")
    return value


def secret_id_answer(secret_id: SecretId) -> dict[str, object]:
    """The data of looking a secret id up."""
    return {
        "cidr_list": list(secret_id.cidr_list),
        "creation_time": rfc3339(secret_id.created_ms),
        "expiration_time": rfc3339(secret_id.expire_at_ms) if secret_id.expire_at_ms else _NEVER,
        "last_updated_time": rfc3339(secret_id.updated_ms),
        "metadata": dict(secret_id.metadata),
        "secret_id_accessor": secret_id.accessor,
        "secret_id_num_uses": secret_id.num_uses,
        "secret_id_ttl": secret_id.ttl_s,
        "token_bound_cidrs": list(secret_id.token_bound_cidrs),
    }


def is_alive(expire_at_ms: int, now_ms: int) -> bool:
    """Whether what ends at that time (0: never) has not ended."""
    return expire_at_ms == 0 or now_ms < expire_at_ms


def login_params(role: Role, secret_id: SecretId | None, address: str) -> TokenParams:
    """The token parameters of a login whose ids are right; `secret_id` is None where the role asks for none.

    Raises:
        InvalidRequest: The address is outside the blocks of the role or of the secret id.
        LoginRefused: The role was narrowed, and the secret id asks for more than it allows now.
    """
    if role.secret_id_bound_cidrs and not is_within(address, role.secret_id_bound_cidrs):
        raise InvalidRequest("source address unauthorized by CIDR restrictions on the role")
    if secret_id is None:
        return role.params
    if secret_id.cidr_list and not is_within(address, secret_id.cidr_list):
        raise InvalidRequest("source address unauthorized by CIDR restrictions on the secret ID")
    if not secret_id.token_bound_cidrs:
        return role.params
    if role.params.bound_cidrs and not is_subset(secret_id.token_bound_cidrs, role.params.bound_cidrs):
        raise LoginRefused(REFUSED, role.role_id)
    return replace(role.params, bound_cidrs=secret_id.token_bound_cidrs)
