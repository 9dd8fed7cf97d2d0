"""identity/group and identity/lookup/group (API documentation of the same names)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.plan import Answer, Plan, Put, Write
from node.identity import changes, store
from node.identity.answers import MountOf, group_data, group_info
from node.identity.checks import MEMBERS_MAX, checked_metadata, checked_name, checked_policies
from node.identity.directory import Directory
from node.identity.model import Group, GroupType
from node.identity.requests import (
    ById,
    ByName,
    GroupWrite,
    GroupWriteById,
    GroupWriteByName,
    Lookup,
    Nothing,
    require_one,
)
from node.sources import new_uuid

AnyGroupWrite = GroupWrite | GroupWriteById | GroupWriteByName


@dataclass(frozen=True, slots=True)
class Groups:
    """The handlers of groups."""

    directory: Callable[[], Directory]
    mount_of: MountOf

    async def write(self, request: GroupWrite, ctx: Context) -> Plan:
        """Change the group of this id, else that of this name, else make one."""
        if request.id:
            return self._change(self._of_id(request.id), request, request.name)
        found = self.directory().group_by_name(request.name) if request.name else None
        return self._upsert(found, request, request.name)

    async def write_by_id(self, request: GroupWriteById, ctx: Context) -> Plan:
        return self._change(self._of_id(request.id), request, request.name)

    async def write_by_name(self, request: GroupWriteByName, ctx: Context) -> Plan:
        return self._upsert(self.directory().group_by_name(request.name), request, request.name)

    def _of_id(self, group_id: str) -> Group:
        found = self.directory().group(group_id)
        if found is None:
            raise InvalidRequest("group not found from id")
        return found

    def _upsert(self, found: Group | None, given: AnyGroupWrite, name: str) -> Plan:
        if found is not None:
            return self._change(found, given, name)
        directory = self.directory()
        group = new_group(directory, checked_name(name, "group"), _type(given.type or GroupType.INTERNAL))
        writes = (
            Put(directory.group_name_key(group.name), store.encode_id(group.id), 0),
            *self._stored(group, group, given),
        )
        return _written(group, writes)

    def _change(self, old: Group, given: AnyGroupWrite, name: str) -> Plan:
        directory = self.directory()
        if given.type and _type(given.type) is not old.type:
            raise InvalidRequest("group type cannot be changed")
        new = replace(old, updated_ms=directory.sources.now_ms(), modify_index=old.modify_index + 1)
        if name:
            taken = directory.group_by_name(name)
            if taken is not None and taken.id != old.id:
                raise InvalidRequest("group name is already in use")
            new = replace(new, name=checked_name(name, "group"))
        names = changes.renamed(directory.group_name_key(old.name), directory.group_name_key(new.name), new.id)
        return _written(new, (*names, *self._stored(old, new, given)))

    def _stored(self, old: Group, new: Group, given: AnyGroupWrite) -> tuple[Write, ...]:
        """The writes of the group with what a request says of it. Raises InvalidRequest."""
        directory = self.directory()
        writes: list[Write] = []
        if given.metadata is not None:
            new = replace(new, metadata=checked_metadata(given.metadata, "metadata"))
        if given.policies is not None:
            new = replace(new, policies=checked_policies(given.policies))
        if given.member_entity_ids is not None:
            if new.type is GroupType.EXTERNAL:
                raise InvalidRequest("member entities can't be set manually for external groups")
            if len(given.member_entity_ids) > MEMBERS_MAX:
                raise InvalidRequest(f"a group can be given at most {MEMBERS_MAX} entities at once")
            writes += changes.member_changes(directory, new.id, given.member_entity_ids)
        if given.member_group_ids is not None:
            if new.type is GroupType.EXTERNAL:
                raise InvalidRequest("member groups can't be set for external groups")
            children = tuple(dict.fromkeys(given.member_group_ids))
            writes += changes.child_changes(directory, new.id, old.member_group_ids, children)
            new = replace(new, member_group_ids=children)
        return (*writes, changes.group_put(directory, new), directory.epoch_put())

    async def read_by_id(self, request: ById, ctx: Context) -> Plan:
        return self._shown(self.directory().group(request.id))

    async def read_by_name(self, request: ByName, ctx: Context) -> Plan:
        return self._shown(self.directory().group_by_name(request.name))

    def _shown(self, group: Group | None) -> Plan:
        if group is None:
            raise NotFound
        return Plan(Answer(data=group_data(group, self.directory(), self.mount_of)))

    async def lookup(self, request: Lookup, ctx: Context) -> Plan:
        """What is not there is no error: there is nothing to say."""
        require_one(request)
        directory = self.directory()
        if request.id:
            found = directory.group(request.id)
        elif request.name:
            found = directory.group_by_name(request.name)
        elif request.alias_id:
            found = directory.group_by_alias_id(request.alias_id)
        else:
            found = directory.group_by_alias(request.alias_mount_accessor, request.alias_name)
        return Plan() if found is None else self._shown(found)

    async def delete_by_id(self, request: ById, ctx: Context) -> Plan:
        return self._delete(self.directory().group(request.id))

    async def delete_by_name(self, request: ByName, ctx: Context) -> Plan:
        return self._delete(self.directory().group_by_name(request.name))

    def _delete(self, group: Group | None) -> Plan:
        return Plan() if group is None else Plan(writes=changes.group_removal(self.directory(), group))

    async def list_ids(self, request: Nothing, ctx: Context) -> Plan:
        groups = self._all()
        return self._listed([group.id for group in groups], groups)

    async def list_names(self, request: Nothing, ctx: Context) -> Plan:
        groups = sorted(self._all(), key=lambda group: group.name)
        return self._listed([group.name for group in groups], groups)

    def _all(self) -> list[Group]:
        directory = self.directory()
        return [found for found in map(directory.group, directory.group_ids()) if found is not None]

    def _listed(self, keys: list[str], groups: list[Group]) -> Plan:
        if not keys:
            raise NotFound
        directory = self.directory()
        info = {group.id: group_info(group, directory, self.mount_of) for group in groups}
        return Plan(Answer(data={"keys": keys, "key_info": info}))


def new_group(directory: Directory, name: str, kind: GroupType) -> Group:
    """A group of this name, or of one nobody chose. Not stored yet."""
    now_ms = directory.sources.now_ms()
    return Group(
        id=new_uuid(directory.sources),
        name=name or f"group_{directory.sources.random(4).hex()}",
        type=kind,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _type(given: str) -> GroupType:
    try:
        return GroupType(given)
    except ValueError:
        raise InvalidRequest("invalid group type: use internal or external") from None


def _written(group: Group, writes: tuple[Write, ...]) -> Plan:
    return Plan(Answer(data={"id": group.id, "name": group.name}), writes)
