"""identity/group-alias (API documentation of the same name)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.plan import Answer, Plan, Put, Write
from node.identity import store
from node.identity.answers import MountOf, group_alias_data, group_alias_info
from node.identity.changes import group_alias_removal, group_put, member_changes, renamed
from node.identity.checks import checked_name
from node.identity.directory import Directory
from node.identity.groups import new_group
from node.identity.model import Group, GroupAlias, GroupType
from node.identity.requests import ById, GroupAliasWrite, GroupAliasWriteById, Nothing
from node.sources import new_uuid


@dataclass(frozen=True, slots=True)
class GroupAliases:
    """The handlers of group aliases.

    The members of an external group are those the auth method named at their last login under the group's alias, so
    they all leave when that alias goes or comes to mean something else (CVE-2020-10660).
    """

    directory: Callable[[], Directory]
    mount_of: MountOf

    async def write(self, request: GroupAliasWrite, ctx: Context) -> Plan:
        """Change the alias of this id, else the one of this name at this mount, else make one."""
        if request.id:
            return self._change(*self._of_id(request.id), request)
        if not request.name:
            raise InvalidRequest("missing alias name")
        if not request.mount_accessor:
            raise InvalidRequest("missing mount_accessor")
        group = self.directory().group_by_alias(request.mount_accessor, request.name)
        if group is not None and group.alias is not None:
            return self._change(group, group.alias, request)
        return self._create(request)

    async def write_by_id(self, request: GroupAliasWriteById, ctx: Context) -> Plan:
        return self._change(*self._of_id(request.id), request)

    def _of_id(self, alias_id: str) -> tuple[Group, GroupAlias]:
        group = self.directory().group_by_alias_id(alias_id)
        if group is None or group.alias is None:
            raise InvalidRequest("invalid group alias ID")
        return group, group.alias

    def _checked(self, accessor: str, name: str) -> str:
        if self.mount_of(accessor) is None:
            raise InvalidRequest("invalid mount accessor")
        return checked_name(name, "alias")

    def _create(self, request: GroupAliasWrite) -> Plan:
        directory = self.directory()
        now_ms = directory.sources.now_ms()
        alias = GroupAlias(
            id=new_uuid(directory.sources),
            name=self._checked(request.mount_accessor, request.name),
            mount_accessor=request.mount_accessor,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        writes: list[Write] = []
        if request.canonical_id:
            group = self._target(request.canonical_id)
        else:
            group = new_group(directory, "", GroupType.EXTERNAL)
            writes.append(Put(directory.group_name_key(group.name), store.encode_id(group.id), 0))
        leads = store.encode_id(group.id)
        writes += (
            group_put(directory, replace(group, alias=alias, modify_index=group.modify_index + 1)),
            Put(store.GROUP_ALIASES + alias.id, leads, 0),
            Put(directory.group_alias_name_key(alias.mount_accessor, alias.name), leads, 0),
            directory.epoch_put(),
        )
        return _written(alias, group.id, tuple(writes))

    def _target(self, group_id: str) -> Group:
        """The group that is to have the alias. Raises InvalidRequest when it cannot."""
        group = self.directory().group(group_id)
        if group is None:
            raise InvalidRequest("invalid canonical ID")
        if group.type is not GroupType.EXTERNAL:
            raise InvalidRequest("alias can't be set on an internal group")
        if group.alias is not None:
            raise InvalidRequest("alias is already set on the group")
        return group

    def _change(self, owner: Group, old: GroupAlias, request: GroupAliasWrite | GroupAliasWriteById) -> Plan:
        directory = self.directory()
        now_ms = directory.sources.now_ms()
        accessor, name = request.mount_accessor or old.mount_accessor, request.name or old.name
        if (accessor, name) != (old.mount_accessor, old.name):
            self._checked(accessor, name)
        new = replace(old, name=name, mount_accessor=accessor, updated_ms=now_ms)
        old_key = directory.group_alias_name_key(old.mount_accessor, old.name)
        new_key = directory.group_alias_name_key(accessor, name)
        if new_key != old_key and directory.index(new_key):
            raise InvalidRequest("alias with combination of mount accessor and name already exists")
        is_moved = request.canonical_id not in ("", owner.id)
        target = self._target(request.canonical_id) if is_moved else owner
        writes: list[Write] = [
            group_put(directory, replace(target, alias=new, updated_ms=now_ms, modify_index=target.modify_index + 1)),
            *renamed(old_key, new_key, target.id),
        ]
        if is_moved:
            leads = store.encode_id(target.id)
            without = replace(owner, alias=None, updated_ms=now_ms, modify_index=owner.modify_index + 1)
            writes += (group_put(directory, without), Put(store.GROUP_ALIASES + old.id, leads))
            if new_key == old_key:
                writes.append(Put(new_key, leads))
        if is_moved or new_key != old_key:
            writes += member_changes(directory, owner.id, ())
        return _written(new, target.id, (*writes, directory.epoch_put()))

    async def read(self, request: ById, ctx: Context) -> Plan:
        group = self.directory().group_by_alias_id(request.id)
        if group is None or group.alias is None:
            raise NotFound
        return Plan(Answer(data=group_alias_data(group.alias, group.id, self.mount_of)))

    async def delete(self, request: ById, ctx: Context) -> Plan:
        directory = self.directory()
        group = directory.group_by_alias_id(request.id)
        if group is None:
            return Plan()
        without = replace(group, alias=None, modify_index=group.modify_index + 1)
        writes = (
            *group_alias_removal(directory, group),
            *member_changes(directory, group.id, ()),
            group_put(directory, without),
            directory.epoch_put(),
        )
        return Plan(writes=writes)

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        directory = self.directory()
        info: dict[str, object] = {}
        for alias_id in directory.group_alias_ids():
            group = directory.group_by_alias_id(alias_id)
            if group is not None and group.alias is not None:
                info[alias_id] = group_alias_info(group.alias, group.id, self.mount_of)
        if not info:
            raise NotFound
        return Plan(Answer(data={"keys": list(info), "key_info": info}))


def _written(alias: GroupAlias, group_id: str, writes: tuple[Write, ...]) -> Plan:
    return Plan(Answer(data={"canonical_id": group_id, "id": alias.id}), writes)
