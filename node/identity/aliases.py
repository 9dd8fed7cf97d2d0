"""identity/entity-alias (API documentation of the same name)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.plan import Answer, Plan, Put, Write
from node.identity import store
from node.identity.answers import MountOf, alias_data, alias_info
from node.identity.binding import alias_puts, entity_put, new_entity, new_entity_writes
from node.identity.changes import alias_removal, renamed, with_alias, without_alias
from node.identity.checks import checked_metadata, checked_name
from node.identity.directory import Directory
from node.identity.model import Alias, Entity
from node.identity.requests import AliasWrite, AliasWriteById, ById, Nothing
from node.sources import new_uuid

FoldAlias = Callable[[str, str], str]
"""From a mount's accessor and a name to the spelling that the auth method of the mount uses for it."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """The handlers of entity aliases."""

    directory: Callable[[], Directory]
    mount_of: MountOf
    fold: FoldAlias

    async def write(self, request: AliasWrite, ctx: Context) -> Plan:
        """Change the alias of this id, else the one of this name at this mount, else make one."""
        if request.id:
            return self._change(*self._of_id(request.id), request)
        if not request.name:
            raise InvalidRequest("missing alias name")
        if not request.mount_accessor:
            raise InvalidRequest("missing mount_accessor")
        name = self._checked(request.mount_accessor, request.name)
        entity = self.directory().entity_by_alias(request.mount_accessor, name)
        alias = entity.alias_at(request.mount_accessor) if entity is not None else None
        if entity is not None and alias is not None:
            return self._change(entity, alias, request)
        return self._create(request, name)

    async def write_by_id(self, request: AliasWriteById, ctx: Context) -> Plan:
        return self._change(*self._of_id(request.id), request)

    def _of_id(self, alias_id: str) -> tuple[Entity, Alias]:
        found = self._find(alias_id)
        if found is None:
            raise InvalidRequest("invalid alias ID")
        return found

    def _find(self, alias_id: str) -> tuple[Entity, Alias] | None:
        entity = self.directory().entity_by_alias_id(alias_id)
        alias = next((one for one in entity.aliases if one.id == alias_id), None) if entity is not None else None
        return None if entity is None or alias is None else (entity, alias)

    def _checked(self, accessor: str, name: str) -> str:
        """The name as the mount's auth method spells it. Raises InvalidRequest for a mount that is not there."""
        if self.mount_of(accessor) is None:
            raise InvalidRequest("invalid mount accessor")
        return self.fold(accessor, checked_name(name, "alias"))

    def _create(self, request: AliasWrite, name: str) -> Plan:
        directory = self.directory()
        now_ms = directory.sources.now_ms()
        alias = Alias(
            id=new_uuid(directory.sources),
            name=name,
            mount_accessor=request.mount_accessor,
            created_ms=now_ms,
            updated_ms=now_ms,
            custom_metadata=checked_metadata(request.custom_metadata or {}, "custom_metadata"),
        )
        given = request.canonical_id or request.entity_id
        if not given:
            made = with_alias(new_entity(directory), alias)
            return _written(alias, made.id, new_entity_writes(directory, made))
        entity = self._target(given, alias)
        writes = (
            entity_put(directory, with_alias(entity, alias)),
            *alias_puts(directory, entity.id, alias),
            directory.epoch_put(),
        )
        return _written(alias, entity.id, writes)

    def _target(self, entity_id: str, alias: Alias) -> Entity:
        """The entity that is to have the alias. Raises InvalidRequest when it has another one at the mount."""
        entity = self.directory().entity(entity_id)
        if entity is None:
            raise InvalidRequest("invalid canonical ID")
        other = entity.alias_at(alias.mount_accessor)
        if other is not None and other.id != alias.id:
            raise InvalidRequest("alias already exists for requested entity and mount accessor")
        return entity

    def _change(self, owner: Entity, old: Alias, request: AliasWrite | AliasWriteById) -> Plan:
        """The alias with what was given; another entity may get it, and nothing else of its owner (CVE-2021-41802)."""
        directory = self.directory()
        accessor = request.mount_accessor or old.mount_accessor
        is_named = bool(request.name or request.mount_accessor)
        name = self._checked(accessor, request.name or old.name) if is_named else old.name
        new = replace(old, name=name, mount_accessor=accessor, updated_ms=directory.sources.now_ms())
        if request.custom_metadata is not None:
            new = replace(new, custom_metadata=checked_metadata(request.custom_metadata, "custom_metadata"))
        if accessor != old.mount_accessor:
            new = replace(new, metadata={})  # it was said by another auth method (CVE-2022-40186)
        old_key = directory.alias_name_key(old.mount_accessor, old.name)
        new_key = directory.alias_name_key(accessor, name)
        if new_key != old_key and directory.index(new_key):
            raise InvalidRequest("alias with combination of mount accessor and name already exists")
        target = self._target(request.canonical_id or request.entity_id or owner.id, new)
        writes: list[Write] = [entity_put(directory, with_alias(target, new)), *renamed(old_key, new_key, target.id)]
        if target.id != owner.id:
            leads = store.encode_id(target.id)
            writes += (entity_put(directory, without_alias(owner, old.id)), Put(store.ALIASES + old.id, leads))
            if new_key == old_key:
                writes.append(Put(new_key, leads))
        return _written(new, target.id, (*writes, directory.epoch_put()))

    async def read(self, request: ById, ctx: Context) -> Plan:
        found = self._find(request.id)
        if found is None:
            raise NotFound
        entity, alias = found
        return Plan(Answer(data=alias_data(alias, entity.id, self.mount_of)))

    async def delete(self, request: ById, ctx: Context) -> Plan:
        found = self._find(request.id)
        if found is None:
            return Plan()
        directory = self.directory()
        entity, alias = found
        writes = (
            entity_put(directory, without_alias(entity, alias.id)),
            *alias_removal(directory, alias),
            directory.epoch_put(),
        )
        return Plan(writes=writes)

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        info: dict[str, object] = {}
        for alias_id in self.directory().alias_ids():
            found = self._find(alias_id)
            if found is not None:
                info[alias_id] = alias_info(found[1], found[0].id, self.mount_of)
        if not info:
            raise NotFound
        return Plan(Answer(data={"keys": list(info), "key_info": info}))


def _written(alias: Alias, entity_id: str, writes: tuple[Write, ...]) -> Plan:
    return Plan(Answer(data={"canonical_id": entity_id, "id": alias.id}), writes)
