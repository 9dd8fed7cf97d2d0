"""How entities, groups and their aliases are shown."""

from __future__ import annotations

from collections.abc import Callable

from engines.common.timestamp import rfc3339
from node.identity.directory import Directory
from node.identity.model import Alias, Entity, Group, GroupAlias
from node.mounts import Mount

MountOf = Callable[[str], Mount | None]  # by accessor


def _mount(accessor: str, mount_of: MountOf) -> dict[str, object]:
    """What is known of an alias's mount; it may be gone."""
    mount = mount_of(accessor)
    return {
        "mount_accessor": accessor,
        "mount_path": mount.path if mount is not None else "",
        "mount_type": mount.type if mount is not None else "",
    }


def alias_data(alias: Alias, entity_id: str, mount_of: MountOf) -> dict[str, object]:
    """An alias, alone or within its entity."""
    return {
        "canonical_id": entity_id,
        "creation_time": rfc3339(alias.created_ms),
        "custom_metadata": dict(alias.custom_metadata),
        "id": alias.id,
        "last_update_time": rfc3339(alias.updated_ms),
        "local": False,
        "merged_from_canonical_ids": list(alias.merged_from) or None,
        "metadata": dict(alias.metadata) or None,
        **_mount(alias.mount_accessor, mount_of),
        "name": alias.name,
        "namespace_id": "root",
    }


def alias_info(alias: Alias, entity_id: str, mount_of: MountOf) -> dict[str, object]:
    """An alias in a list."""
    return {
        "canonical_id": entity_id,
        "custom_metadata": dict(alias.custom_metadata),
        "local": False,
        **_mount(alias.mount_accessor, mount_of),
        "name": alias.name,
    }


def entity_data(entity: Entity, directory: Directory, mount_of: MountOf) -> dict[str, object]:
    """The data of reading an entity."""
    profile = directory.derived(entity, directory.direct_groups(entity.id))
    return {
        "aliases": [alias_data(alias, entity.id, mount_of) for alias in entity.aliases],
        "creation_time": rfc3339(entity.created_ms),
        "direct_group_ids": list(profile.direct_group_ids),
        "disabled": entity.disabled,
        "group_ids": [*profile.direct_group_ids, *profile.inherited_group_ids],
        "id": entity.id,
        "inherited_group_ids": list(profile.inherited_group_ids),
        "last_update_time": rfc3339(entity.updated_ms),
        "merged_entity_ids": list(entity.merged_ids) or None,
        "metadata": dict(entity.metadata) or None,
        "mfa_secrets": {},
        "name": entity.name,
        "namespace_id": "root",
        "policies": list(entity.policies),
    }


def entity_info(entity: Entity, mount_of: MountOf) -> dict[str, object]:
    """An entity in a list."""
    info: dict[str, object] = {"name": entity.name}
    if entity.aliases:
        info["aliases"] = [
            {"id": alias.id, "name": alias.name, **_mount(alias.mount_accessor, mount_of)} for alias in entity.aliases
        ]
    return info


def entity_written(entity: Entity) -> dict[str, object]:
    """The data of a write."""
    return {"aliases": [alias.id for alias in entity.aliases] or None, "id": entity.id, "name": entity.name}


def group_alias_data(alias: GroupAlias, group_id: str, mount_of: MountOf) -> dict[str, object]:
    """A group alias, alone or within its group."""
    return {
        "canonical_id": group_id,
        "creation_time": rfc3339(alias.created_ms),
        "id": alias.id,
        "last_update_time": rfc3339(alias.updated_ms),
        "merged_from_canonical_ids": None,
        "metadata": None,
        **_mount(alias.mount_accessor, mount_of),
        "name": alias.name,
    }


def group_alias_info(alias: GroupAlias, group_id: str, mount_of: MountOf) -> dict[str, object]:
    """A group alias in a list."""
    return {"canonical_id": group_id, **_mount(alias.mount_accessor, mount_of), "name": alias.name}


def group_data(group: Group, directory: Directory, mount_of: MountOf) -> dict[str, object]:
    """The data of reading a group."""
    alias = group.alias
    return {
        "alias": group_alias_data(alias, group.id, mount_of) if alias is not None else {},
        "creation_time": rfc3339(group.created_ms),
        "id": group.id,
        "last_update_time": rfc3339(group.updated_ms),
        "member_entity_ids": list(directory.members(group.id)),
        "member_group_ids": list(group.member_group_ids) or None,
        "metadata": dict(group.metadata) or None,
        "modify_index": group.modify_index,
        "name": group.name,
        "namespace_id": "root",
        "parent_group_ids": list(directory.parent_ids(group.id)) or None,
        "policies": list(group.policies) or None,
        "type": group.type.value,
    }


def group_info(group: Group, directory: Directory, mount_of: MountOf) -> dict[str, object]:
    """A group in a list."""
    info: dict[str, object] = {
        "name": group.name,
        "num_member_entities": len(directory.members(group.id)),
        "num_parent_groups": len(directory.parent_ids(group.id)),
    }
    if group.alias is not None:
        info["alias"] = {
            "id": group.alias.id,
            "name": group.alias.name,
            **_mount(group.alias.mount_accessor, mount_of),
        }
    return info
