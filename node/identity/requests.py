"""Requests of the identity API, as documented. None: left out, so it stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param, path_param

_POLICIES = "Policies that every token of it has, besides its own."
_METADATA = "Names and values for people and templates."


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A request without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ById:
    """Something by its id."""

    id: str = path_param("The id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByName:
    """Something by its name."""

    name: str = path_param("The name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _EntityFields:
    metadata: Mapping[str, str] | None = body_param(Kind.STRING_MAP, _METADATA)
    policies: tuple[str, ...] | None = body_param(Kind.STRINGS, _POLICIES)
    disabled: bool | None = body_param(Kind.BOOL, "Refuse all its tokens, without revoking them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityWrite(_EntityFields):
    """POST entity."""

    name: str = body_param(Kind.STRING, "The entity's name.", default="")
    id: str = body_param(Kind.STRING, "The id of an entity to change.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityWriteById(_EntityFields):
    """POST entity/id/:id."""

    id: str = path_param("The id.")
    name: str = body_param(Kind.STRING, "The entity's new name.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityWriteByName(_EntityFields):
    """POST entity/name/:name."""

    name: str = path_param("The entity's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDelete:
    """POST entity/batch-delete."""

    entity_ids: tuple[str, ...] = body_param(Kind.STRINGS, "The entities to delete.", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """POST entity/merge."""

    from_entity_ids: tuple[str, ...] = body_param(Kind.STRINGS, "The entities to merge.", required=True)
    to_entity_id: str = body_param(Kind.STRING, "The entity that stays.", required=True)
    force: bool = body_param(Kind.BOOL, "Keep the staying entity's MFA secrets where both have one.", default=False)
    conflicting_alias_ids_to_keep: tuple[str, ...] | None = body_param(
        Kind.STRINGS, "Of two aliases at one mount, the one to keep."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _AliasFields:
    name: str = body_param(Kind.STRING, "Who the entity is at the mount.", default="")
    canonical_id: str = body_param(Kind.STRING, "The entity.", default="")
    entity_id: str = body_param(Kind.STRING, "Older name of canonical_id.", default="")
    mount_accessor: str = body_param(Kind.STRING, "The accessor of the mount.", default="")
    custom_metadata: Mapping[str, str] | None = body_param(Kind.STRING_MAP, _METADATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasWrite(_AliasFields):
    """POST entity-alias."""

    id: str = body_param(Kind.STRING, "The id of an alias to change.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasWriteById(_AliasFields):
    """POST entity-alias/id/:id."""

    id: str = path_param("The id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupFields:
    type: str = body_param(Kind.STRING, "internal or external.", default="")
    metadata: Mapping[str, str] | None = body_param(Kind.STRING_MAP, _METADATA)
    policies: tuple[str, ...] | None = body_param(Kind.STRINGS, _POLICIES)
    member_group_ids: tuple[str, ...] | None = body_param(Kind.STRINGS, "Groups that belong to it.")
    member_entity_ids: tuple[str, ...] | None = body_param(Kind.STRINGS, "Entities that belong to it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWrite(_GroupFields):
    """POST group."""

    name: str = body_param(Kind.STRING, "The group's name.", default="")
    id: str = body_param(Kind.STRING, "The id of a group to change.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWriteById(_GroupFields):
    """POST group/id/:id."""

    id: str = path_param("The id.")
    name: str = body_param(Kind.STRING, "The group's new name.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWriteByName(_GroupFields):
    """POST group/name/:name."""

    name: str = path_param("The group's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupAliasFields:
    name: str = body_param(Kind.STRING, "The group's name in the auth method's world.", default="")
    mount_accessor: str = body_param(Kind.STRING, "The accessor of the auth mount.", default="")
    canonical_id: str = body_param(Kind.STRING, "The external group.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAliasWrite(_GroupAliasFields):
    """POST group-alias."""

    id: str = body_param(Kind.STRING, "The id of an alias to change.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAliasWriteById(_GroupAliasFields):
    """POST group-alias/id/:id."""

    id: str = path_param("The id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """POST lookup/entity and lookup/group: one criterion, or an alias by its name and mount."""

    name: str = body_param(Kind.STRING, "The name.", default="")
    id: str = body_param(Kind.STRING, "The id.", default="")
    alias_id: str = body_param(Kind.STRING, "The id of its alias.", default="")
    alias_name: str = body_param(Kind.STRING, "The name of its alias.", default="")
    alias_mount_accessor: str = body_param(Kind.STRING, "The mount of its alias.", default="")


def require_one(request: Lookup) -> None:
    """Raises InvalidRequest unless exactly one criterion is given."""
    by_alias = bool(request.alias_name) + bool(request.alias_mount_accessor)
    if by_alias == 1:
        raise InvalidRequest("both 'alias_name' and 'alias_mount_accessor' are needed")
    given = bool(request.name) + bool(request.id) + bool(request.alias_id) + bool(by_alias)
    if given != 1:
        raise InvalidRequest("exactly one of name, id, alias_id, or alias_name with alias_mount_accessor is needed")
