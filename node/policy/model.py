"""What a policy says once it is read, and what is answered when it is asked."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


class Capability(enum.IntFlag):
    """Rights as the API names them, in lower case. DENY overrides all others; SUDO opens root-protected paths.

    SUBSCRIBE is accepted because current policies carry it; no operation asks for it yet.
    """

    CREATE = enum.auto()
    READ = enum.auto()
    UPDATE = enum.auto()
    PATCH = enum.auto()
    DELETE = enum.auto()
    LIST = enum.auto()
    SUDO = enum.auto()
    SUBSCRIBE = enum.auto()
    DENY = enum.auto()


NO_CAPABILITY: Final = Capability(0)
CAPABILITY_OF_NAME: Final[Mapping[str, Capability]] = MappingProxyType({(c.name or "").lower(): c for c in Capability})


def capability_names(capabilities: Capability) -> list[str]:
    """The names as the API lists them: sorted, and `deny` alone when denied or when there is no right at all."""
    if not capabilities or capabilities & Capability.DENY:
        return ["deny"]
    return sorted(name for name, capability in CAPABILITY_OF_NAME.items() if capability & capabilities)


# For each parameter, the values it may or may not have; an empty tuple means any value. "*" stands for all others.
Parameters = Mapping[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """One `path` block. Parameter names are in lower case, times in seconds with 0 for "not set"."""

    pattern: str
    capabilities: Capability
    allowed_parameters: Parameters = field(default_factory=dict)
    denied_parameters: Parameters = field(default_factory=dict)
    required_parameters: tuple[str, ...] = ()
    min_wrapping_ttl_s: int = 0
    max_wrapping_ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of rules. `templated`: some pattern holds {{...}}, so rights depend on who asks.

    The name is canonical (node/policy/names.py); a policy of any other name grants nothing.
    """

    name: str
    rules: tuple[PathRule, ...]
    templated: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request. `sudo`: the rule also grants sudo, which some parameters ask for."""

    allowed: bool
    root: bool
    sudo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectAlias:
    """An entity's name at one auth mount."""

    alias_id: str
    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    custom_metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectGroup:
    """A group that the entity belongs to, directly or through another group."""

    group_id: str
    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What templates may ask about the entity behind a token.

    `aliases` is by mount accessor. Where an entity has several aliases at one mount, it holds the one the token was
    issued through, and none if that cannot be told: never simply the first (CVE-2021-43998).
    """

    entity_id: str
    entity_name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, SubjectAlias] = field(default_factory=dict)
    groups: Sequence[SubjectGroup] = ()
