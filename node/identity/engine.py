"""The identity engine: every path, its request and its handler. Mount it with writes of the whole storage."""

from __future__ import annotations

from collections.abc import Callable

from engines.common.frame import Engine, Handler, Operation, Route, RouteTable
from node.identity.aliases import Aliases, FoldAlias
from node.identity.answers import MountOf
from node.identity.directory import Directory
from node.identity.entities import Entities
from node.identity.group_aliases import GroupAliases
from node.identity.groups import Groups
from node.identity.requests import (
    AliasWrite,
    AliasWriteById,
    BatchDelete,
    ById,
    ByName,
    EntityWrite,
    EntityWriteById,
    EntityWriteByName,
    GroupAliasWrite,
    GroupAliasWriteById,
    GroupWrite,
    GroupWriteById,
    GroupWriteByName,
    Lookup,
    Merge,
    Nothing,
)


def identity_engine(directory: Callable[[], Directory], mount_of: MountOf, fold: FoldAlias) -> Engine:
    """The engine behind identity/."""
    entities, aliases = Entities(directory, mount_of), Aliases(directory, mount_of, fold)
    groups, group_aliases = Groups(directory, mount_of), GroupAliases(directory, mount_of)
    return Engine(
        type="identity",
        is_auth=False,
        description="Identity store.",
        help="Keeps entities, their aliases at auth mounts, and groups; their policies apply to every token of theirs.",
        table=RouteTable((*_entities(entities, aliases), *_groups(groups, group_aliases))),
        fold=lambda path: _as_stored(directory(), path),
    )


def _as_stored(directory: Directory, path: str) -> str:
    """A path below the mount with a name as it is stored, whatever its capitals: policy judges that spelling too."""
    kind, _, name = path.partition("/name/")
    found = directory.entity_by_name(name) if kind == "entity" else None
    group = directory.group_by_name(name) if kind == "group" else None
    stored = found or group
    return f"{kind}/name/{stored.name}" if name and stored is not None else path


def _route(
    pattern: str, operation: Operation, request: type, handler: Handler, summary: str, *, sudo: bool = False
) -> Route:
    return Route(pattern=pattern, operation=operation, request=request, handler=handler, summary=summary, sudo=sudo)


def _entities(own: Entities, aliases: Aliases) -> tuple[Route, ...]:
    read, write, delete, listing = Operation.READ, Operation.UPDATE, Operation.DELETE, Operation.LIST
    return (
        _route("entity", write, EntityWrite, own.write, "Create or change an entity."),
        _route("entity/id/:id", read, ById, own.read_by_id, "Read an entity."),
        _route("entity/id/:id", write, EntityWriteById, own.write_by_id, "Change an entity."),
        _route("entity/id/:id", delete, ById, own.delete_by_id, "Delete an entity and its aliases."),
        _route("entity/id", listing, Nothing, own.list_ids, "List the entities by id."),
        _route("entity/name/:name", read, ByName, own.read_by_name, "Read an entity."),
        _route("entity/name/:name", write, EntityWriteByName, own.write_by_name, "Create or change an entity."),
        _route("entity/name/:name", delete, ByName, own.delete_by_name, "Delete an entity and its aliases."),
        _route("entity/name", listing, Nothing, own.list_names, "List the entities by name."),
        _route("entity/batch-delete", write, BatchDelete, own.batch_delete, "Delete entities and their aliases."),
        # sudo, as it gives the tokens of one entity the rights of another (advisories: CVE-2021-41802).
        _route("entity/merge", write, Merge, own.merge, "Merge entities into one.", sudo=True),
        _route("entity-alias", write, AliasWrite, aliases.write, "Create or change an entity alias."),
        _route("entity-alias/id/:id", read, ById, aliases.read, "Read an entity alias."),
        _route("entity-alias/id/:id", write, AliasWriteById, aliases.write_by_id, "Change an entity alias."),
        _route("entity-alias/id/:id", delete, ById, aliases.delete, "Delete an entity alias."),
        _route("entity-alias/id", listing, Nothing, aliases.list, "List the entity aliases."),
        _route("lookup/entity", write, Lookup, own.lookup, "Find an entity."),
    )


def _groups(own: Groups, aliases: GroupAliases) -> tuple[Route, ...]:
    read, write, delete, listing = Operation.READ, Operation.UPDATE, Operation.DELETE, Operation.LIST
    return (
        _route("group", write, GroupWrite, own.write, "Create or change a group."),
        _route("group/id/:id", read, ById, own.read_by_id, "Read a group."),
        _route("group/id/:id", write, GroupWriteById, own.write_by_id, "Change a group."),
        _route("group/id/:id", delete, ById, own.delete_by_id, "Delete a group."),
        _route("group/id", listing, Nothing, own.list_ids, "List the groups by id."),
        _route("group/name/:name", read, ByName, own.read_by_name, "Read a group."),
        _route("group/name/:name", write, GroupWriteByName, own.write_by_name, "Create or change a group."),
        _route("group/name/:name", delete, ByName, own.delete_by_name, "Delete a group."),
        _route("group/name", listing, Nothing, own.list_names, "List the groups by name."),
        _route("group-alias", write, GroupAliasWrite, aliases.write, "Create or change a group alias."),
        _route("group-alias/id/:id", read, ById, aliases.read, "Read a group alias."),
        _route("group-alias/id/:id", write, GroupAliasWriteById, aliases.write_by_id, "Change a group alias."),
        _route("group-alias/id/:id", delete, ById, aliases.delete, "Delete a group alias."),
        _route("group-alias/id", listing, Nothing, aliases.list, "List the group aliases."),
        _route("lookup/group", write, Lookup, own.lookup, "Find a group."),
    )
