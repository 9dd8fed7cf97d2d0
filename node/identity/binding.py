"""Login: the entity behind an alias, found or made in the entry that makes the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engines.common.errors import PermissionDenied
from engines.common.plan import Delete, Put, Write
from node.identity import store
from node.identity.directory import Directory
from node.identity.model import Alias, Entity, Group
from node.sources import new_uuid


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Bound:
    """Who logged in: the entity, the policies it brings, and the writes to commit with the token."""

    entity_id: str = ""
    policies: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()


NOBODY = Bound()


def bind(
    directory: Directory,
    mount_accessor: str,
    alias_name: str,
    *,
    metadata: Mapping[str, str] | None = None,
    group_names: tuple[str, ...] | None = None,
) -> Bound:
    """The entity of an alias. A login that changes nothing about it writes nothing.

    Args:
        alias_name: As the auth method spells it; "" for a method without aliases.
        metadata: What the method says of the alias at this login; None leaves what is there.
        group_names: The groups the method says the user is in; None when it knows nothing of groups.

    Raises:
        PermissionDenied: The entity is disabled.
    """
    if not alias_name:
        return NOBODY
    entity = directory.entity_by_alias(mount_accessor, alias_name)
    if entity is None:
        entity = _new_entity(directory, mount_accessor, alias_name, metadata or {})
        return _grouped(directory, entity, mount_accessor, group_names, new_entity_writes(directory, entity), new=True)
    if entity.disabled:
        raise PermissionDenied
    alias = entity.alias_at(mount_accessor)
    writes: tuple[Write, ...] = ()
    if alias is not None and metadata is not None and dict(alias.metadata) != dict(metadata):
        now_ms = directory.sources.now_ms()
        told = replace(alias, metadata=dict(metadata), updated_ms=now_ms)
        entity = replace(entity, aliases=tuple(told if one is alias else one for one in entity.aliases))
        writes = (entity_put(directory, entity),)
    return _grouped(directory, entity, mount_accessor, group_names, writes)


def new_entity(directory: Directory, name: str = "") -> Entity:
    """An entity of this name, or of one nobody chose. Not stored yet."""
    now_ms = directory.sources.now_ms()
    return Entity(
        id=new_uuid(directory.sources),
        name=name or f"entity_{directory.sources.random(4).hex()}",
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _new_entity(directory: Directory, accessor: str, alias_name: str, metadata: Mapping[str, str]) -> Entity:
    entity = new_entity(directory)
    alias = Alias(
        id=new_uuid(directory.sources),
        name=alias_name,
        mount_accessor=accessor,
        created_ms=entity.created_ms,
        updated_ms=entity.created_ms,
        metadata=dict(metadata),
    )
    return replace(entity, aliases=(alias,))


def new_entity_writes(directory: Directory, entity: Entity) -> tuple[Write, ...]:
    """The writes of an entity that is not there yet. Nothing can have been derived from it, so the epoch stays."""
    return (
        Put(store.ENTITIES + entity.id, store.encode_entity(entity), 0),
        # Index 0: of two first logins at the same time the second one finds the entity of the first.
        Put(directory.entity_name_key(entity.name), store.encode_id(entity.id), 0),
        *(write for alias in entity.aliases for write in alias_puts(directory, entity.id, alias)),
    )


def alias_puts(directory: Directory, entity_id: str, alias: Alias) -> tuple[Write, ...]:
    """The writes that make a new alias found."""
    leads = store.encode_id(entity_id)
    return (
        Put(store.ALIASES + alias.id, leads, 0),
        Put(directory.alias_name_key(alias.mount_accessor, alias.name), leads, 0),
    )


def entity_put(directory: Directory, entity: Entity) -> Put:
    """The write of an entity that is there. Commit it with the epoch."""
    key = store.ENTITIES + entity.id
    return Put(key, store.encode_entity(entity), directory.index(key))


def membership_puts(group_id: str, entity_id: str) -> tuple[Write, ...]:
    """The entity joins the group. Commit it with the epoch."""
    return (
        Put(f"{store.MEMBERS}{group_id}/{entity_id}", store.MARK),
        Put(f"{store.GROUPS_OF}{entity_id}/{group_id}", store.MARK),
    )


def membership_removals(group_id: str, entity_id: str) -> tuple[Write, ...]:
    """The entity leaves the group. Commit it with the epoch."""
    return (
        Delete(f"{store.MEMBERS}{group_id}/{entity_id}"),
        Delete(f"{store.GROUPS_OF}{entity_id}/{group_id}"),
    )


def _grouped(
    directory: Directory,
    entity: Entity,
    mount_accessor: str,
    group_names: tuple[str, ...] | None,
    writes: tuple[Write, ...],
    *,
    new: bool = False,
) -> Bound:
    """The entity in exactly those external groups of the mount that the method names now (CVE-2020-10660)."""
    if not writes and group_names is None:  # nearly every login: the entity is known, and the method names no groups
        return Bound(entity.id, directory.usable_profile(entity.id).policies)
    direct = () if new else directory.direct_groups(entity.id)
    is_serial = bool(writes) and not new
    if group_names is not None:
        found = (directory.group_by_alias(mount_accessor, name) for name in group_names)
        wanted = {group.id: group for group in found if group is not None}
        left = [group for group in direct if _is_of(group, mount_accessor) and group.id not in wanted]
        joined = [group for group_id, group in wanted.items() if group_id not in {one.id for one in direct}]
        for group in left:
            writes += membership_removals(group.id, entity.id)
        for group in joined:
            writes += membership_puts(group.id, entity.id)
        direct = (*(group for group in direct if group not in left), *joined)
        is_serial = is_serial or bool(left or joined)
    if not writes:
        return Bound(entity.id, directory.usable_profile(entity.id).policies)
    if is_serial:
        writes += (directory.epoch_put(),)
    return Bound(entity.id, directory.derived(entity, direct).policies, writes)


def _is_of(group: Group, mount_accessor: str) -> bool:
    return group.alias is not None and group.alias.mount_accessor == mount_accessor
