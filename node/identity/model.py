"""What identity stores: entities with their aliases, and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class GroupType(StrEnum):
    """Members of an internal group are written by an operator, those of an external one by the auth method."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Who an entity is at one auth mount. Times in Unix ms.

    `metadata` is what the auth method says at each login, `custom_metadata` what an operator wrote.
    """

    id: str
    name: str
    mount_accessor: str
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    custom_metadata: Mapping[str, str] = field(default_factory=dict)
    merged_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A person or machine. At most one alias for each mount accessor, so a template never has to choose."""

    id: str
    name: str
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    disabled: bool = False
    aliases: tuple[Alias, ...] = ()
    merged_ids: tuple[str, ...] = ()

    def alias_at(self, mount_accessor: str) -> Alias | None:
        """The entity's alias at this mount."""
        return next((alias for alias in self.aliases if alias.mount_accessor == mount_accessor), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAlias:
    """The group of an auth method's world that an external group stands for."""

    id: str
    name: str
    mount_accessor: str
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as stored. Which entities are in it is in records of their own: joining must not rewrite the group."""

    id: str
    name: str
    type: GroupType
    created_ms: int
    updated_ms: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[str, ...] = ()
    member_group_ids: tuple[str, ...] = ()
    alias: GroupAlias | None = None
    modify_index: int = 1
