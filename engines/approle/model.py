"""Requests of the AppRole method, the roles and the secret ids it stores. Durations in seconds, times in Unix ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engines.common.fields import Kind, body_param, path_param
from engines.common.token_params import NO_PARAMS, TokenFields, TokenParams

_NAME = "Name of the role: letters, digits, space, hyphen, underscore and period."
_CIDRS = "Blocks of addresses that may log in."

# Older spellings of token parameters that this method takes.
ALIASES: Final[Mapping[str, str]] = {"policies": "token_policies", "period": "token_period"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role as stored. `uid` is new with each creation: what belonged to a deleted role of that name stays dead."""

    name: str
    uid: str
    role_id: str
    params: TokenParams = NO_PARAMS
    bind_secret_id: bool = True
    secret_id_bound_cidrs: tuple[str, ...] = ()
    secret_id_num_uses: int = 0
    secret_id_ttl_s: int = 0
    local_secret_ids: bool = False


@dataclass(frozen=True, slots=True)
class SecretId:
    """A secret id as stored, without the secret. `num_uses` is what is left of them, 0 for no limit."""

    accessor: str
    created_ms: int
    updated_ms: int
    ttl_s: int
    num_uses: int
    cidr_list: tuple[str, ...] = ()
    token_bound_cidrs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def expire_at_ms(self) -> int:
        """When it ends; 0 for never."""
        return self.created_ms + self.ttl_s * 1000 if self.ttl_s else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A request without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePath:
    """Names a role."""

    role_name: str = path_param(_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWrite(TokenFields):
    """POST role/:role_name."""

    role_name: str = path_param(_NAME)
    bind_secret_id: bool | None = body_param(Kind.BOOL, "Whether a login needs a secret id; true by default.")
    secret_id_bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, _CIDRS)
    secret_id_num_uses: int | None = body_param(Kind.INT, "How many logins a secret id is good for; 0 without limit.")
    secret_id_ttl: int | None = body_param(Kind.DURATION, "How long a secret id lives; 0 without limit.")
    local_secret_ids: bool | None = body_param(Kind.BOOL, "Keep secret ids in this cluster; only at creation.")
    period: int | None = body_param(Kind.DURATION, "Deprecated: use token_period.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleIdWrite:
    """POST role/:role_name/role-id."""

    role_name: str = path_param(_NAME)
    role_id: str = body_param(Kind.STRING, "The role id to have.", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdMake:
    """POST role/:role_name/secret-id."""

    role_name: str = path_param(_NAME)
    metadata: object = body_param(Kind.ANY, "A JSON object of strings, as text; audit records show it.")
    cidr_list: tuple[str, ...] | None = body_param(Kind.STRINGS, _CIDRS)
    token_bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, "Blocks of addresses that may use the tokens.")
    num_uses: int | None = body_param(Kind.INT, "How many logins it is good for; the role's by default.")
    ttl: int | None = body_param(Kind.DURATION, "How long it lives; the role's by default.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSecretId(SecretIdMake):
    """POST role/:role_name/custom-secret-id."""

    secret_id: str = body_param(Kind.STRING, "The secret id to have.", required=True, secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSecretId:
    """Names a secret id of a role by itself."""

    role_name: str = path_param(_NAME)
    secret_id: str = body_param(Kind.STRING, "The secret id.", required=True, secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAccessor:
    """Names a secret id of a role by its accessor."""

    role_name: str = path_param(_NAME)
    secret_id_accessor: str = body_param(Kind.STRING, "The accessor of the secret id.", required=True)


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Login:
    """POST login."""

    role_id: str = body_param(Kind.STRING, "The role id.", required=True)
    secret_id: str = body_param(Kind.STRING, "The secret id, where the role asks for one.", default="", secret=True)


# One property of a role each: POST role/:role_name/<property>


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesWrite:
    """POST .../policies."""

    role_name: str = path_param(_NAME)
    token_policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies of the tokens.")
    policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Deprecated: use token_policies.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdNumUsesWrite:
    """POST .../secret-id-num-uses."""

    role_name: str = path_param(_NAME)
    secret_id_num_uses: int | None = body_param(Kind.INT, "How many logins a secret id is good for; 0 without limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdTtlWrite:
    """POST .../secret-id-ttl."""

    role_name: str = path_param(_NAME)
    secret_id_ttl: int | None = body_param(Kind.DURATION, "How long a secret id lives; 0 without limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTtlWrite:
    """POST .../token-ttl."""

    role_name: str = path_param(_NAME)
    token_ttl: int | None = body_param(Kind.DURATION, "First lifetime of the tokens, and of each renewal.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMaxTtlWrite:
    """POST .../token-max-ttl."""

    role_name: str = path_param(_NAME)
    token_max_ttl: int | None = body_param(Kind.DURATION, "Longest lifetime of the tokens.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BindSecretIdWrite:
    """POST .../bind-secret-id."""

    role_name: str = path_param(_NAME)
    bind_secret_id: bool | None = body_param(Kind.BOOL, "Whether a login needs a secret id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdBoundCidrsWrite:
    """POST .../secret-id-bound-cidrs."""

    role_name: str = path_param(_NAME)
    secret_id_bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, _CIDRS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBoundCidrsWrite:
    """POST .../token-bound-cidrs."""

    role_name: str = path_param(_NAME)
    token_bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, "Blocks of addresses that may use the tokens.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodWrite:
    """POST .../period."""

    role_name: str = path_param(_NAME)
    token_period: int | None = body_param(Kind.DURATION, "Makes the tokens periodic.")
    period: int | None = body_param(Kind.DURATION, "Deprecated: use token_period.")
