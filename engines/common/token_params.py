"""The token_* parameters that every auth method's roles and users share: fields, record, reading, and the token.

API documentation: "Token parameters" of each method. Durations in seconds, 0 for unset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engines.common.cidrs import canonical, is_within
from engines.common.context import Context, MountInfo
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.fields import Kind, body_param
from engines.common.plan import TokenGrant

_TYPES: Final = frozenset({"default", "service", "batch", "default-service", "default-batch"})
_BATCH: Final = frozenset({"batch", "default-batch"})
_NUMBERS: Final[Mapping[str, str]] = {
    "token_ttl": "ttl_s",
    "token_max_ttl": "max_ttl_s",
    "token_explicit_max_ttl": "explicit_max_ttl_s",
    "token_period": "period_s",
    "token_num_uses": "num_uses",
}
_LISTS: Final[Mapping[str, str]] = {"token_policies": "policies", "token_bound_cidrs": "bound_cidrs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFields:
    """The body fields; a role's or user's request inherits them. None: left out, so it stays as it is."""

    token_ttl: int | None = body_param(Kind.DURATION, "First lifetime of the tokens, and of each renewal.")
    token_max_ttl: int | None = body_param(Kind.DURATION, "Longest lifetime of the tokens.")
    token_policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies of the tokens.")
    policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Deprecated: use token_policies.")
    token_bound_cidrs: tuple[str, ...] | None = body_param(
        Kind.STRINGS, "Blocks of addresses that may log in and use the tokens."
    )
    token_explicit_max_ttl: int | None = body_param(Kind.DURATION, "A hard end, for periodic tokens too.")
    token_no_default_policy: bool | None = body_param(Kind.BOOL, "Leave the default policy out.")
    token_num_uses: int | None = body_param(Kind.INT, "How often a token may be used; 0 without limit.")
    token_period: int | None = body_param(Kind.DURATION, "Makes the tokens periodic.")
    token_type: str | None = body_param(Kind.STRING, "service, batch, default, default-service or default-batch.")


@dataclass(frozen=True, slots=True)
class TokenParams:
    """What is set. `deprecated` names the older spellings that were written last, which a reading shows as well."""

    ttl_s: int = 0
    max_ttl_s: int = 0
    explicit_max_ttl_s: int = 0
    period_s: int = 0
    num_uses: int = 0
    policies: tuple[str, ...] = ()
    bound_cidrs: tuple[str, ...] = ()
    no_default_policy: bool = False
    type: str = "default"
    deprecated: tuple[str, ...] = field(default=())

    def reading(self, aliases: Mapping[str, str]) -> dict[str, object]:
        """The members of a reading. `aliases`: the method's older spellings, and what each stands for."""
        shown: dict[str, object] = {
            "token_bound_cidrs": list(self.bound_cidrs),
            "token_explicit_max_ttl": self.explicit_max_ttl_s,
            "token_max_ttl": self.max_ttl_s,
            "token_no_default_policy": self.no_default_policy,
            "token_num_uses": self.num_uses,
            "token_period": self.period_s,
            "token_policies": list(self.policies),
            "token_ttl": self.ttl_s,
            "token_type": self.type,
        }
        shown.update({name: shown[aliases[name]] for name in self.deprecated})
        return shown

    def record(self) -> list[object]:
        """For msgpack."""
        return [getattr(self, name) for name in TokenParams.__dataclass_fields__]

    @staticmethod
    def of_record(record: Sequence[Any]) -> TokenParams:
        """Undo `record`, decoded without lists."""
        return TokenParams(*record)


NO_PARAMS: Final = TokenParams()


def changed_params(old: TokenParams, given: object, aliases: Mapping[str, str]) -> TokenParams:
    """The parameters after a write.

    Args:
        given: A request with some of the fields of TokenFields and of `aliases`.
        aliases: Older spellings, and what each stands for. The new spelling wins where both are given.

    Raises:
        InvalidRequest: A value is out of range, or contradicts another one.
    """
    deprecated = set(old.deprecated)
    values: dict[str, Any] = {}
    for name in (*_NUMBERS, *_LISTS, "token_no_default_policy", "token_type"):
        spellings = [older for older, newer in aliases.items() if newer == name]
        value = getattr(given, name, None)
        if value is not None:
            deprecated.difference_update(spellings)
        for older in spellings:
            if value is None and (value := getattr(given, older, None)) is not None:
                deprecated.add(older)
        if value is not None:
            values[name] = value
    changes: dict[str, Any] = {_NUMBERS[name]: value for name, value in values.items() if name in _NUMBERS}
    for name in _NUMBERS:
        if values.get(name, 0) < 0:
            raise InvalidRequest(f"'{name}' cannot be negative")
    if "token_policies" in values:
        changes["policies"] = policy_list(values["token_policies"])
    if "token_bound_cidrs" in values:
        changes["bound_cidrs"] = canonical(values["token_bound_cidrs"])
    if "token_no_default_policy" in values:
        changes["no_default_policy"] = values["token_no_default_policy"]
    if "token_type" in values:
        changes["type"] = _type(values["token_type"])
    changed = replace(old, **changes, deprecated=tuple(sorted(deprecated)))
    _require_consistent(changed)
    return changed


def policy_list(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted, folded, without repeats. Raises InvalidRequest for root, which no auth method may grant.

    This refuses early what an operator would otherwise only learn at a login; what a token really gets is decided once,
    where tokens are made.
    """
    folded = tuple(sorted({name.strip().lower() for name in names if name.strip()}))
    if "root" in folded:
        raise InvalidRequest("auth methods cannot create root tokens")
    return folded


def _type(name: str) -> str:
    kind = name or "default"
    if kind not in _TYPES:
        raise InvalidRequest("invalid 'token_type' value")
    return kind


def _require_consistent(params: TokenParams) -> None:
    if params.ttl_s > params.max_ttl_s > 0:
        raise InvalidRequest("'token_ttl' cannot be greater than 'token_max_ttl'")
    if params.type in _BATCH:
        for name, value in (("token_num_uses", params.num_uses), ("token_period", params.period_s)):
            if value:
                raise InvalidRequest(f"'token_type' cannot be 'batch' or 'default-batch' when '{name}' is set")


def warnings_of(params: TokenParams, mount: MountInfo) -> tuple[str, ...]:
    """What the operator should hear about durations that will not be granted."""
    return tuple(
        f"{name} is greater than the backend mount's maximum TTL value; issued tokens' {what} will be truncated"
        for name, what, value in (
            ("token_ttl", "TTL value", params.ttl_s),
            ("token_max_ttl", "max TTL value", params.max_ttl_s),
        )
        if value > mount.max_ttl_s
    )


def require_address(params: TokenParams, ctx: Context) -> None:
    """Refuse a login from an address that the tokens are not for. Raises PermissionDenied."""
    if params.bound_cidrs and not is_within(ctx.caller.client_address, params.bound_cidrs):
        raise PermissionDenied


def grant_of(
    params: TokenParams,
    mount: MountInfo,
    *,
    alias_name: str,
    display_name: str = "",
    metadata: Mapping[str, str] | None = None,
    internal: bytes = b"",
) -> TokenGrant:
    """The token that a login earned. Its display name says the mount, and `display_name` where the method has one."""
    shown = mount.path.removeprefix("auth/").rstrip("/").replace("/", "-")
    return TokenGrant(
        policies=params.policies,
        display_name=f"{shown}-{display_name}" if display_name else shown,
        metadata=metadata or {},
        ttl_s=params.ttl_s,
        max_ttl_s=params.max_ttl_s,
        explicit_max_ttl_s=params.explicit_max_ttl_s,
        period_s=params.period_s,
        num_uses=params.num_uses,
        token_type=params.type,
        no_default_policy=params.no_default_policy,
        bound_cidrs=params.bound_cidrs,
        alias_name=alias_name,
        internal=internal,
    )
