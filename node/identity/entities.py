"""identity/entity and identity/lookup/entity (API documentation of the same names)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from engines.common.context import Context
from engines.common.errors import InvalidRequest, NotFound
from engines.common.plan import Answer, Plan
from node.identity import changes
from node.identity.answers import MountOf, entity_data, entity_info, entity_written
from node.identity.binding import new_entity, new_entity_writes
from node.identity.checks import checked_metadata, checked_name, checked_policies
from node.identity.directory import Directory
from node.identity.model import Entity
from node.identity.requests import (
    BatchDelete,
    ById,
    ByName,
    EntityWrite,
    EntityWriteById,
    EntityWriteByName,
    Lookup,
    Merge,
    Nothing,
    require_one,
)

BATCH_MAX: Final = 10_000  # entities of one batch-delete: some 60,000 keys in one Raft entry


@dataclass(frozen=True, slots=True)
class Entities:
    """The handlers of entities."""

    directory: Callable[[], Directory]
    mount_of: MountOf

    async def write(self, request: EntityWrite, ctx: Context) -> Plan:
        """Change the entity of this id, else that of this name, else make one."""
        if request.id:
            return self._change(self._of_id(request.id), request, request.name)
        found = self.directory().entity_by_name(request.name) if request.name else None
        return self._upsert(found, request, request.name)

    async def write_by_id(self, request: EntityWriteById, ctx: Context) -> Plan:
        return self._change(self._of_id(request.id), request, request.name)

    async def write_by_name(self, request: EntityWriteByName, ctx: Context) -> Plan:
        return self._upsert(self.directory().entity_by_name(request.name), request, request.name)

    def _of_id(self, entity_id: str) -> Entity:
        found = self.directory().entity(entity_id)
        if found is None:
            raise InvalidRequest("entity not found from id")
        return found

    def _upsert(
        self, found: Entity | None, given: EntityWrite | EntityWriteById | EntityWriteByName, name: str
    ) -> Plan:
        if found is not None:
            return self._change(found, given, name)
        directory = self.directory()
        entity = _with(new_entity(directory, checked_name(name, "entity")), given)
        return Plan(Answer(data=entity_written(entity)), new_entity_writes(directory, entity))

    def _change(self, old: Entity, given: EntityWrite | EntityWriteById | EntityWriteByName, name: str) -> Plan:
        directory = self.directory()
        new = _with(replace(old, updated_ms=directory.sources.now_ms()), given)
        if name:
            taken = directory.entity_by_name(name)
            if taken is not None and taken.id != old.id:
                raise InvalidRequest("entity name is already in use")
            new = replace(new, name=checked_name(name, "entity"))
        return Plan(Answer(data=entity_written(new)), changes.entity_change(directory, old, new))

    async def read_by_id(self, request: ById, ctx: Context) -> Plan:
        return self._shown(self.directory().entity(request.id))

    async def read_by_name(self, request: ByName, ctx: Context) -> Plan:
        return self._shown(self.directory().entity_by_name(request.name))

    def _shown(self, entity: Entity | None) -> Plan:
        if entity is None:
            raise NotFound
        return Plan(Answer(data=entity_data(entity, self.directory(), self.mount_of)))

    async def lookup(self, request: Lookup, ctx: Context) -> Plan:
        """What is not there is no error: there is nothing to say."""
        require_one(request)
        directory = self.directory()
        if request.id:
            found = directory.entity(request.id)
        elif request.name:
            found = directory.entity_by_name(request.name)
        elif request.alias_id:
            found = directory.entity_by_alias_id(request.alias_id)
        else:
            found = directory.entity_by_alias(request.alias_mount_accessor, request.alias_name)
        return Plan() if found is None else self._shown(found)

    async def delete_by_id(self, request: ById, ctx: Context) -> Plan:
        return self._delete(self.directory().entity(request.id))

    async def delete_by_name(self, request: ByName, ctx: Context) -> Plan:
        return self._delete(self.directory().entity_by_name(request.name))

    async def batch_delete(self, request: BatchDelete, ctx: Context) -> Plan:
        if not request.entity_ids:
            raise InvalidRequest("missing entity ids to delete")
        if len(request.entity_ids) > BATCH_MAX:
            raise InvalidRequest(f"at most {BATCH_MAX} entities can be deleted at once")
        return self._delete(*map(self.directory().entity, dict.fromkeys(request.entity_ids)))

    def _delete(self, *found: Entity | None) -> Plan:
        return Plan(writes=changes.entity_removal(self.directory(), [one for one in found if one is not None]))

    async def list_ids(self, request: Nothing, ctx: Context) -> Plan:
        entities = self._all()
        return self._listed([entity.id for entity in entities], entities)

    async def list_names(self, request: Nothing, ctx: Context) -> Plan:
        entities = sorted(self._all(), key=lambda entity: entity.name)
        return self._listed([entity.name for entity in entities], entities)

    def _all(self) -> list[Entity]:
        directory = self.directory()
        return [found for found in map(directory.entity, directory.entity_ids()) if found is not None]

    def _listed(self, keys: list[str], entities: list[Entity]) -> Plan:
        if not keys:
            raise NotFound
        info = {entity.id: entity_info(entity, self.mount_of) for entity in entities}
        return Plan(Answer(data={"keys": keys, "key_info": info}))

    async def merge(self, request: Merge, ctx: Context) -> Plan:
        directory = self.directory()
        ids = tuple(dict.fromkeys(request.from_entity_ids))
        kept_ids = request.conflicting_alias_ids_to_keep or ()
        if not ids:
            raise InvalidRequest("missing entity ids to merge")
        if request.to_entity_id in ids:
            raise InvalidRequest("to_entity_id should not be present in from_entity_ids")
        if kept_ids and len(ids) > 1:
            raise InvalidRequest(
                "aliases conflicts can only be resolved with one from-entity; merge one entity at a time"
            )
        into = directory.entity(request.to_entity_id)
        if into is None:
            raise InvalidRequest("entity id to merge to is invalid")
        sources = [found for found in map(directory.entity, ids) if found is not None]
        if len(sources) != len(ids):
            raise InvalidRequest("entity id to merge from is invalid")
        return Plan(writes=changes.merge(directory, into, sources, kept_ids))


def _with(entity: Entity, given: EntityWrite | EntityWriteById | EntityWriteByName) -> Entity:
    """The entity with what a request says of it. Raises InvalidRequest."""
    if given.metadata is not None:
        entity = replace(entity, metadata=checked_metadata(given.metadata, "metadata"))
    if given.policies is not None:
        entity = replace(entity, policies=checked_policies(given.policies))
    if given.disabled is not None:
        entity = replace(entity, disabled=given.disabled)
    return entity
