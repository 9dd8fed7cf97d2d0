"""What changes of entities and groups write. Each returns all writes of one plan; see Directory for what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engines.common.errors import InvalidRequest
from engines.common.plan import Delete, Put, Write
from node.identity import store
from node.identity.binding import entity_put, membership_puts, membership_removals
from node.identity.directory import Directory
from node.identity.model import Alias, Entity, Group


def entity_change(directory: Directory, old: Entity, new: Entity) -> tuple[Write, ...]:
    """An entity's own members change, its name among them; aliases are not looked at."""
    return (
        entity_put(directory, new),
        *renamed(directory.entity_name_key(old.name), directory.entity_name_key(new.name), new.id),
        directory.epoch_put(),
    )


def renamed(old_key: str, new_key: str, leads_to: str) -> tuple[Write, ...]:
    """What a name leads to, after a change of name. Index 0: a name that was taken meanwhile is not taken over."""
    if old_key == new_key:
        return ()
    return Delete(old_key), Put(new_key, store.encode_id(leads_to), 0)


def entity_removal(directory: Directory, entities: Iterable[Entity]) -> tuple[Write, ...]:
    """Entities go, with their aliases and memberships. Their tokens are refused from then on."""
    writes: list[Write] = []
    for entity in entities:
        key = store.ENTITIES + entity.id
        writes += (Delete(key, directory.index(key)), Delete(directory.entity_name_key(entity.name)))
        for alias in entity.aliases:
            writes += alias_removal(directory, alias)
        for group in directory.direct_groups(entity.id):
            writes += membership_removals(group.id, entity.id)
        writes += (Delete(store.MERGED + merged) for merged in entity.merged_ids)
    return (*writes, directory.epoch_put()) if writes else ()


def alias_removal(directory: Directory, alias: Alias) -> tuple[Write, ...]:
    """An alias is found no more; its entity's record is the caller's to write."""
    return (
        Delete(store.ALIASES + alias.id),
        Delete(directory.alias_name_key(alias.mount_accessor, alias.name)),
    )


def with_alias(entity: Entity, alias: Alias) -> Entity:
    """The entity with this alias added, or replaced where its id was."""
    return replace(entity, aliases=(*(one for one in entity.aliases if one.id != alias.id), alias))


def without_alias(entity: Entity, alias_id: str) -> Entity:
    """The entity without the alias."""
    return replace(entity, aliases=tuple(one for one in entity.aliases if one.id != alias_id))


def merge(directory: Directory, into: Entity, sources: Sequence[Entity], kept_ids: Sequence[str]) -> tuple[Write, ...]:
    """Aliases and memberships of the sources become those of `into`; policies and metadata do not.

    Tokens of a source act for `into` from then on: its id leads there.

    Args:
        kept_ids: Of two aliases at one mount, the ids that stay.

    Raises:
        InvalidRequest: Two entities have an alias at the same mount, and it is not said which stays.
    """
    now_ms = directory.sources.now_ms()
    writes: list[Write] = []
    merged = into
    joined: set[str] = {group.id for group in directory.direct_groups(into.id)}
    for source in sources:
        key = store.ENTITIES + source.id
        writes += (Delete(key, directory.index(key)), Delete(directory.entity_name_key(source.name)))
        writes.append(Put(store.MERGED + source.id, store.encode_id(into.id), 0))
        for alias in source.aliases:
            other = merged.alias_at(alias.mount_accessor)
            if other is not None:
                loser = _loser(other, alias, kept_ids)
                writes += alias_removal(directory, loser)
                if loser is alias:
                    continue
                merged = without_alias(merged, other.id)
            moved = replace(alias, merged_from=(*alias.merged_from, source.id), updated_ms=now_ms)
            merged = with_alias(merged, moved)
            leads = store.encode_id(into.id)
            writes += (
                Put(store.ALIASES + alias.id, leads),
                Put(directory.alias_name_key(alias.mount_accessor, alias.name), leads),
            )
        for group in directory.direct_groups(source.id):
            writes += membership_removals(group.id, source.id)
            if group.id not in joined:
                joined.add(group.id)
                writes += membership_puts(group.id, into.id)
    gone = tuple(dict.fromkeys((*into.merged_ids, *(one for s in sources for one in (*s.merged_ids, s.id)))))
    merged = replace(merged, merged_ids=gone, updated_ms=now_ms)
    return (*writes, entity_put(directory, merged), directory.epoch_put())


def _loser(of_target: Alias, of_source: Alias, kept_ids: Sequence[str]) -> Alias:
    keeps = [alias for alias in (of_target, of_source) if alias.id in kept_ids]
    if len(keeps) != 1:
        raise InvalidRequest(
            "conflicting mount accessors between aliases: name one of each pair in conflicting_alias_ids_to_keep"
        )
    return of_source if keeps[0] is of_target else of_target


def group_put(directory: Directory, group: Group) -> Put:
    """The write of a group, new or changed. Commit it with the epoch."""
    key = store.GROUPS + group.id
    return Put(key, store.encode_group(group), directory.index(key))


def member_changes(directory: Directory, group_id: str, wanted: Iterable[str]) -> tuple[Write, ...]:
    """The group has exactly these entities as members. Raises InvalidRequest for one that is not there."""
    wanted, now = set(wanted), set(directory.members(group_id))
    writes: list[Write] = []
    for entity_id in sorted(wanted - now):
        if directory.entity(entity_id) is None:
            raise InvalidRequest("invalid entity ID in member_entity_ids")
        writes += membership_puts(group_id, entity_id)
    for entity_id in sorted(now - wanted):
        writes += membership_removals(group_id, entity_id)
    return tuple(writes)


def child_changes(directory: Directory, group_id: str, old: Iterable[str], new: Iterable[str]) -> tuple[Write, ...]:
    """The group has exactly these groups as members. Raises InvalidRequest for an unknown one, or for a cycle."""
    old, new = set(old), set(new)
    group = directory.group(group_id)
    above = {group_id} | {one.id for one in directory.ancestors((group,) if group is not None else ())}
    for child_id in sorted(new - old):
        if directory.group(child_id) is None:
            raise InvalidRequest("invalid group ID in member_group_ids")
        if child_id in above:
            raise InvalidRequest("member_group_ids would make a cycle: a group cannot be in itself")
    return (
        *(Put(f"{store.PARENTS}{child}/{group_id}", store.MARK) for child in sorted(new - old)),
        *(Delete(f"{store.PARENTS}{child}/{group_id}") for child in sorted(old - new)),
    )


def group_removal(directory: Directory, group: Group) -> tuple[Write, ...]:
    """A group goes, with its alias, from its members and from the groups it is in."""
    key = store.GROUPS + group.id
    writes: list[Write] = [Delete(key, directory.index(key)), Delete(directory.group_name_key(group.name))]
    if group.alias is not None:
        writes += group_alias_removal(directory, group)
    writes += member_changes(directory, group.id, ())
    writes += child_changes(directory, group.id, group.member_group_ids, ())
    for parent_id in directory.parent_ids(group.id):
        writes.append(Delete(f"{store.PARENTS}{group.id}/{parent_id}"))
        parent = directory.group(parent_id)
        if parent is not None:
            rest = tuple(child for child in parent.member_group_ids if child != group.id)
            writes.append(group_put(directory, replace(parent, member_group_ids=rest)))
    return (*writes, directory.epoch_put())


def group_alias_removal(directory: Directory, group: Group) -> tuple[Write, ...]:
    """A group's alias is found no more; the group's record is the caller's to write."""
    alias = group.alias
    if alias is None:
        return ()
    return (
        Delete(store.GROUP_ALIASES + alias.id),
        Delete(directory.group_alias_name_key(alias.mount_accessor, alias.name)),
    )
