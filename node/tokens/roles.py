"""Token roles: named rules for making tokens, `auth/token/roles/:role_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar

import msgpack

from engines.common.cidrs import networks
from engines.common.context import View
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param
from node.tokens import store
from node.tokens.logic import policy_names
from node.tokens.model import TokenType

_VERSION: Final = b"\x01"
_PATH_SUFFIX: Final = re.compile(r"\w[\w.-]+\w")
_TYPES: Final[Mapping[str, str]] = {
    "": "default-service",
    "default": "default-service",
    "default-service": "default-service",
    "default-batch": "default-batch",
    "service": "service",
    "batch": "batch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRole:
    """A role as stored. Durations in seconds, 0 for unset."""

    name: str
    allowed_policies: tuple[str, ...] = ()
    disallowed_policies: tuple[str, ...] = ()
    allowed_policies_glob: tuple[str, ...] = ()
    disallowed_policies_glob: tuple[str, ...] = ()
    orphan: bool = False
    renewable: bool = True
    path_suffix: str = ""
    allowed_entity_aliases: tuple[str, ...] = ()
    bound_cidrs: tuple[str, ...] = ()
    explicit_max_ttl_s: int = 0
    no_default_policy: bool = False
    num_uses: int = 0
    period_s: int = 0
    token_type: str = "default-service"  # noqa: S105 - the API's name for a kind of token

    @property
    def decides_policies(self) -> bool:
        """Whether the role's own lists replace the rule that a child has no policy its parent lacks."""
        return bool(
            self.allowed_policies
            or self.disallowed_policies
            or self.allowed_policies_glob
            or self.disallowed_policies_glob
        )

    def type_for(self, asked: str) -> TokenType:
        """The type of a token whose request asked for one, or for none (""). Raises InvalidRequest."""
        return asked_type(asked if self.token_type.startswith("default-") and asked else self.token_type)


def asked_type(asked: str) -> TokenType:
    """The token type of a request's or role's word. Raises InvalidRequest."""
    match asked:
        case "" | "service" | "default-service":
            return TokenType.SERVICE
        case "batch" | "default-batch":
            return TokenType.BATCH
    raise InvalidRequest("invalid 'token_type' value")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleName:
    """Names one role."""

    role_name: str = path_param("Name of the role.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRole:
    """POST auth/token/roles/:role_name. What is left out keeps its value."""

    role_name: str = path_param("Name of the role.")
    allowed_policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies a token of this role may have.")
    disallowed_policies: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies it may not have.")
    allowed_policies_glob: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies it may have, with globs.")
    disallowed_policies_glob: tuple[str, ...] | None = body_param(Kind.STRINGS, "Policies it may not have, with globs.")
    orphan: bool | None = body_param(Kind.BOOL, "Whether its tokens have no parent.")
    renewable: bool | None = body_param(Kind.BOOL, "Whether its tokens can be renewed; true unless set.")
    path_suffix: str | None = body_param(Kind.STRING, "Added to the path of its tokens, for revocation by prefix.")
    allowed_entity_aliases: tuple[str, ...] | None = body_param(Kind.STRINGS, "Entity aliases a token may be for.")
    token_bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, "Blocks of addresses its tokens work from.")
    token_explicit_max_ttl: int | None = body_param(Kind.DURATION, "A hard end, counted from issue.")
    token_no_default_policy: bool | None = body_param(Kind.BOOL, "Leave the default policy out.")
    token_num_uses: int | None = body_param(Kind.INT, "How often a token may be used; 0 without limit.")
    token_period: int | None = body_param(Kind.DURATION, "Makes its tokens periodic.")
    token_type: str | None = body_param(Kind.STRING, "service, batch, default-service or default-batch.")
    # The names these had before they were shared by all auth methods; still sent by older clients.
    bound_cidrs: tuple[str, ...] | None = body_param(Kind.STRINGS, "Older name of token_bound_cidrs.")
    explicit_max_ttl: int | None = body_param(Kind.DURATION, "Older name of token_explicit_max_ttl.")
    period: int | None = body_param(Kind.DURATION, "Older name of token_period.")


async def read_role(view: View, name: str) -> tuple[TokenRole | None, int]:
    """The role and the index of its record; None and 0 when there is none."""
    seen = await view.get(store.role_key(name))
    return (decode_role(seen.value), seen.index) if seen is not None else (None, 0)


def encode_role(role: TokenRole) -> bytes:
    """The record: a format-version byte, then a msgpack map by field name."""
    return _VERSION + bytes(msgpack.packb(asdict(role)))


def decode_role(value: bytes) -> TokenRole:
    """The role of a record written by `encode_role`. Raises ValueError for another format version."""
    if value[:1] != _VERSION:
        raise ValueError("a token role of an unknown format version")
    stored: dict[str, Any] = msgpack.unpackb(memoryview(value)[1:])
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
    return TokenRole(**values)


def changed_role(role: TokenRole, request: WriteRole) -> TokenRole:
    """The role with what the request states. Raises InvalidRequest."""
    given = {
        "allowed_policies": _policies(request.allowed_policies),
        "disallowed_policies": _policies(request.disallowed_policies),
        "allowed_policies_glob": _globs(request.allowed_policies_glob),
        "disallowed_policies_glob": _globs(request.disallowed_policies_glob),
        "orphan": request.orphan,
        "renewable": request.renewable,
        "path_suffix": request.path_suffix,
        "allowed_entity_aliases": _globs(request.allowed_entity_aliases),
        "bound_cidrs": _either(request.token_bound_cidrs, request.bound_cidrs),
        "explicit_max_ttl_s": _either(request.token_explicit_max_ttl, request.explicit_max_ttl),
        "no_default_policy": request.token_no_default_policy,
        "num_uses": request.token_num_uses,
        "period_s": _either(request.token_period, request.period),
        "token_type": _type_word(request.token_type),
    }
    changed = replace(role, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    _require_consistent(changed)
    return changed


_T = TypeVar("_T")


def _either(current: _T | None, older: _T | None) -> _T | None:
    return current if current is not None else older


def _policies(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else policy_names(names)


def _globs(globs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if globs is None else tuple(sorted({glob.strip().lower() for glob in globs if glob.strip()}))


def _type_word(word: str | None) -> str | None:
    if word is None:
        return None
    if word not in _TYPES:
        raise InvalidRequest("invalid 'token_type' value")
    return _TYPES[word]


def _require_consistent(role: TokenRole) -> None:
    networks(role.bound_cidrs)
    if min(role.explicit_max_ttl_s, role.period_s, role.num_uses) < 0:
        raise InvalidRequest("token_explicit_max_ttl, token_period and token_num_uses cannot be negative")
    if role.path_suffix and not _PATH_SUFFIX.fullmatch(role.path_suffix):
        raise InvalidRequest(f"given role path suffix contains invalid characters; must match {_PATH_SUFFIX.pattern}")
    if role.token_type == TokenType.BATCH:
        for name, value in (
            ("token_num_uses", role.num_uses),
            ("token_period", role.period_s),
            ("token_explicit_max_ttl", role.explicit_max_ttl_s),
        ):
            if value:
                raise InvalidRequest(f"'token_type' cannot be 'batch' when '{name}' is set")


def role_answer(role: TokenRole) -> dict[str, object]:
    """The role as GET answers it; older names are repeated as the API does."""
    answer: dict[str, object] = {
        "allowed_entity_aliases": list(role.allowed_entity_aliases),
        "allowed_policies": list(role.allowed_policies),
        "allowed_policies_glob": list(role.allowed_policies_glob),
        "disallowed_policies": list(role.disallowed_policies),
        "disallowed_policies_glob": list(role.disallowed_policies_glob),
        "explicit_max_ttl": role.explicit_max_ttl_s,
        "name": role.name,
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "period": role.period_s,
        "renewable": role.renewable,
        "token_bound_cidrs": list(role.bound_cidrs),
        "token_explicit_max_ttl": role.explicit_max_ttl_s,
        "token_no_default_policy": role.no_default_policy,
        "token_num_uses": role.num_uses,
        "token_period": role.period_s,
        "token_type": role.token_type,
    }
    if role.bound_cidrs:
        answer["bound_cidrs"] = list(role.bound_cidrs)
    return answer
