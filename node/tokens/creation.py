"""The rules of making a token: who may ask for what, and what a role or a login decides. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from engines.common.cidrs import networks
from engines.common.context import Caller, MountInfo
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.fields import Kind, body_param, path_param
from engines.common.plan import TokenGrant
from node.tokens.logic import End, display_name, end_of, least_max, matches_any, policy_names
from node.tokens.model import DEFAULT, ROOT, SeenToken, TokenSpec, TokenType, Ttls
from node.tokens.roles import TokenRole, asked_type

_CREATE_PATH = "auth/token/create"
_CUSTOM_ID_CHARS_MAX = 1024  # a header carries it with ease; what no lookup takes could not be used or revoked


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class CreateToken:
    """POST auth/token/create and create-orphan."""

    role_name: str = body_param(Kind.STRING, "Name of the token role.", default="")
    id: str = body_param(Kind.STRING, "The token's id; root only.", default="", secret=True)
    policies: tuple[str, ...] = body_param(Kind.STRINGS, "Policies; those of the caller if none are given.", default=())
    meta: Mapping[str, str] | None = body_param(Kind.STRING_MAP, "Metadata; it is shown in audit records.")
    no_parent: bool = body_param(Kind.BOOL, "Make an orphan; needs sudo.", default=False)
    no_default_policy: bool = body_param(Kind.BOOL, "Leave the default policy out.", default=False)
    renewable: bool = body_param(Kind.BOOL, "Whether it can be renewed.", default=True)
    lease: int = body_param(Kind.DURATION, "Older name of ttl.", default=0)
    ttl: int = body_param(Kind.DURATION, "Its first time to live.", default=0)
    type: str = body_param(Kind.STRING, "service or batch.", default="")
    explicit_max_ttl: int = body_param(Kind.DURATION, "A hard end, counted from now.", default=0)
    display_name: str = body_param(Kind.STRING, "A name to show.", default="")
    num_uses: int = body_param(Kind.INT, "How often it may be used; 0 without limit.", default=0)
    period: int = body_param(Kind.DURATION, "Makes it periodic; needs sudo.", default=0)
    entity_alias: str = body_param(Kind.STRING, "The entity alias it is for; needs a role.", default="")


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class CreateTokenOfRole(CreateToken):
    """POST auth/token/create/:role_name."""

    role_name: str = path_param("Name of the token role.")


@dataclass(slots=True, unsafe_hash=True)
class Decided:
    """What is to be made, and what the client should hear about it."""

    spec: TokenSpec
    warnings: tuple[str, ...]


def decide(
    request: CreateToken,
    role: TokenRole | None,
    parent: SeenToken,
    caller: Caller,
    limits: Ttls,
    now_ms: int,
    *,
    is_orphan_path: bool,
) -> Decided:
    """What a request for a token comes to.

    Raises:
        InvalidRequest: The request contradicts itself, its role, or what the caller is.
    """
    is_sudo = caller.is_root or caller.has_sudo
    _require_may_create(request, parent, caller, is_sudo)
    kind = role.type_for(request.type) if role is not None else asked_type(request.type)
    policies = _policies(request, role, parent, is_sudo)
    asked_period_s = request.period
    num_uses = _lesser(request.num_uses, role.num_uses if role else 0)
    period_s = _lesser(asked_period_s, role.period_s if role else 0)
    explicit_s = _lesser(request.explicit_max_ttl, role.explicit_max_ttl_s if role else 0)
    if kind is TokenType.BATCH:
        _require_batch_can(request, num_uses, period_s, explicit_s, policies)
    if request.entity_alias:
        _require_entity_alias(request, role, kind)
    end = _first_end(request.ttl or request.lease, policies, limits, period_s, explicit_s, now_ms)
    if end is None and parent.entry.expire_at_ms:
        raise InvalidRequest("expiring root tokens cannot create non-expiring root tokens")
    is_orphan = is_orphan_path or (role.orphan if role is not None else request.no_parent)
    spec = TokenSpec(
        policies=policies,
        path=_path(role, is_orphan_path),
        display_name=display_name(request.display_name),
        ttl_s=(end.at_ms - now_ms) // 1000 if end is not None else 0,
        type=kind,
        parent=None if is_orphan else parent,
        metadata=request.meta or {},
        num_uses=num_uses,
        explicit_max_ttl_s=explicit_s,
        period_s=period_s,
        renewable=request.renewable and (role is None or role.renewable),
        role=role.name if role is not None else "",
        entity_id="" if is_orphan else parent.entry.entity_id,
        # Inherited, or a caller bound to an address would free itself by making a child (advisory of 2019, 1.0.2).
        bound_cidrs=() if end is None else (role.bound_cidrs if role else ()) or parent.entry.bound_cidrs,
        id=request.id,
    )
    return Decided(spec, end.warnings if end is not None else ())


def _require_may_create(request: CreateToken, parent: SeenToken, caller: Caller, is_sudo: bool) -> None:
    if parent.entry.type is TokenType.BATCH:
        raise InvalidRequest("batch tokens cannot create more tokens")
    if parent.entry.num_uses != 0:
        raise InvalidRequest("restricted use token cannot generate child tokens")
    if min(request.ttl, request.lease) < 0:
        raise InvalidRequest("ttl must be positive")
    if request.explicit_max_ttl < 0:
        raise InvalidRequest("explicit_max_ttl must be positive")
    if request.period < 0:
        raise InvalidRequest("period must be positive")
    if request.num_uses < 0:
        raise InvalidRequest("number of uses cannot be negative")
    if request.id:
        if not caller.is_root:
            raise InvalidRequest("root or sudo privileges required to specify token id")
        if request.id.startswith("s."):
            raise InvalidRequest("custom token ID cannot have the 's.' prefix")
        if "." in request.id:
            raise InvalidRequest("custom token ID cannot have a '.' in the value")
        if len(request.id) > _CUSTOM_ID_CHARS_MAX:
            raise InvalidRequest("custom token ID is too long")
    if request.no_parent and not is_sudo:
        raise InvalidRequest("root or sudo privileges required to create orphan token")
    if request.period and not is_sudo:
        raise InvalidRequest("root or sudo privileges required to create periodic token")


def _policies(request: CreateToken, role: TokenRole | None, parent: SeenToken, is_sudo: bool) -> tuple[str, ...]:
    asked = policy_names(request.policies)
    parents = parent.entry.policies
    no_default = request.no_default_policy or (role is not None and role.no_default_policy)
    if role is not None and role.decides_policies:
        policies = _policies_of_role(asked, role, parents, no_default)
    elif not asked:
        # The caller's own; "default" only if the caller has it.
        policies = parents
    elif is_sudo:
        policies = policy_names(asked, add_default=not no_default)
    else:
        if not set(asked) <= set(parents):
            raise InvalidRequest("child policies must be subset of parent")
        policies = policy_names(asked, add_default=not no_default and DEFAULT in parents)
    if request.no_default_policy:
        policies = tuple(name for name in policies if name != DEFAULT)
    # Asked last and of the final list, so that no rule above can be a door to root.
    if ROOT in policies and ROOT not in parents:
        raise InvalidRequest("root tokens may not be created without parent token being root")
    return policies


def _policies_of_role(
    asked: tuple[str, ...], role: TokenRole, parents: tuple[str, ...], no_default: bool
) -> tuple[str, ...]:
    add_default = not (
        no_default or DEFAULT in role.disallowed_policies or matches_any(DEFAULT, role.disallowed_policies_glob)
    )
    final = policy_names(asked, add_default=add_default) if asked else ()
    if role.allowed_policies or role.allowed_policies_glob:
        allowed = policy_names(role.allowed_policies, add_default=add_default)
        if not final:
            final = allowed
        refused = [p for p in final if p not in allowed and not matches_any(p, role.allowed_policies_glob)]
        if refused:
            raise InvalidRequest(
                f"token policies ({_quoted(final)}) must be subset of the role's allowed policies "
                f"({_quoted(allowed)}) or glob policies ({_quoted(role.allowed_policies_glob)})"
            )
    elif not final:
        final = policy_names(parents, add_default=add_default)
    for name in final:
        if name in role.disallowed_policies or matches_any(name, role.disallowed_policies_glob):
            raise InvalidRequest(f'token policy "{name}" is disallowed by this role')
    return final


def _quoted(names: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _lesser(asked: int, of_role: int) -> int:
    return min(asked, of_role) if asked and of_role else asked or of_role


def _require_batch_can(
    request: CreateToken, num_uses: int, period_s: int, explicit_s: int, policies: tuple[str, ...]
) -> None:
    for name, value in (("explicit_max_ttl", explicit_s), ("num_uses", num_uses), ("period", period_s)):
        if value:
            raise InvalidRequest(f'batch tokens cannot have "{name}" set')
    if request.id:
        raise InvalidRequest('batch tokens cannot have "id" set')
    if ROOT in policies:
        raise InvalidRequest("batch tokens cannot be root tokens")


def _require_entity_alias(request: CreateToken, role: TokenRole | None, kind: TokenType) -> None:
    if role is None:
        raise InvalidRequest("'entity_alias' is only allowed in combination with token role")
    if kind is TokenType.BATCH:
        raise InvalidRequest("'entity_alias' is only supported for service tokens")
    # Documented to be compared without regard to capitals; the alias itself keeps its spelling.
    allowed = tuple(glob.casefold() for glob in role.allowed_entity_aliases)
    if not matches_any(request.entity_alias.casefold(), allowed):
        raise InvalidRequest("invalid 'entity_alias' value")


def _first_end(
    ttl_s: int, policies: tuple[str, ...], limits: Ttls, period_s: int, explicit_s: int, now_ms: int
) -> End | None:
    """When the token ends; None for a root token that was not asked to end."""
    wanted_s = ttl_s
    if ROOT in policies and not ttl_s and not period_s:
        if not explicit_s:
            return None
        wanted_s = explicit_s
    return end_of(
        now_ms=now_ms,
        issued_at_ms=now_ms,
        wanted_s=wanted_s,
        limits=limits,
        period_s=period_s,
        explicit_max_s=explicit_s,
    )


def _path(role: TokenRole | None, is_orphan_path: bool) -> str:
    if role is None:
        return "auth/token/create-orphan" if is_orphan_path else _CREATE_PATH
    return f"{_CREATE_PATH}/{role.name}" + (f"/{role.path_suffix}" if role.path_suffix else "")


def decide_login(
    grant: TokenGrant, mount: MountInfo, path: str, now_ms: int, *, mount_type: str = "default", entity_id: str = ""
) -> Decided:
    """The token that a login earned: always an orphan, never root.

    Args:
        path: The request path, such as "auth/approle/login".
        mount_type: The mount's token_type: default-service, default-batch, service or batch.

    Raises:
        InvalidRequest: The role asks for what a batch token cannot be.
        PermissionDenied: The grant names the root policy.
    """
    policies = _login_policies(grant.policies, grant.no_default_policy)
    if ROOT in policies:
        raise PermissionDenied("auth methods cannot create root tokens")
    kind = _login_type(grant.token_type, mount_type)
    if kind is TokenType.BATCH:
        for name, value in (("num_uses", grant.num_uses), ("period", grant.period_s)):
            if value:
                raise InvalidRequest(f'batch tokens cannot have "{name}" set')
    networks(grant.bound_cidrs)
    end = end_of(
        now_ms=now_ms,
        issued_at_ms=now_ms,
        wanted_s=grant.ttl_s,
        limits=least_max(Ttls(mount.default_ttl_s, mount.max_ttl_s), grant.max_ttl_s),
        period_s=grant.period_s,
        explicit_max_s=grant.explicit_max_ttl_s,
    )
    spec = TokenSpec(
        policies=policies,
        path=path,
        display_name=grant.display_name,
        ttl_s=(end.at_ms - now_ms) // 1000,
        type=kind,
        metadata=grant.metadata,
        num_uses=grant.num_uses,
        explicit_max_ttl_s=grant.explicit_max_ttl_s,
        period_s=grant.period_s,
        max_ttl_s=grant.max_ttl_s,
        renewable=grant.renewable,
        entity_id=entity_id,
        bound_cidrs=grant.bound_cidrs,
        internal=grant.internal,
    )
    return Decided(spec, end.warnings)


@lru_cache(maxsize=4096)
def _login_policies(names: tuple[str, ...], no_default: bool) -> tuple[str, ...]:
    """Remembered, because every login of a role asks for the same."""
    return policy_names(names, add_default=not no_default)


def _login_type(of_grant: str, of_mount: str) -> TokenType:
    """The mount's word is final when it is "service" or "batch"; otherwise it is what a silent role gets."""
    if of_mount in ("service", "batch"):
        return asked_type(of_mount)
    return (
        asked_type(of_mount if of_mount != "default" else "") if of_grant in ("", "default") else asked_type(of_grant)
    )
