"""What one request needs to know of the entity behind its token: policies, and the subject that fills templates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.identity.model import Entity, Group
from node.policy import Subject, SubjectAlias, SubjectGroup, may_be_attached


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An entity with its groups. `policies` are those of the entity and of every group, sorted."""

    entity: Entity
    policies: tuple[str, ...]
    subject: Subject
    direct_group_ids: tuple[str, ...]
    inherited_group_ids: tuple[str, ...]


def profile_of(entity: Entity, direct: Iterable[Group], inherited: Iterable[Group]) -> Profile:
    """The profile of an entity in these groups.

    What may not be attached is passed over here as well, whatever a record says: no door to root leads through identity
    (CVE-2024-9180, CVE-2025-64761).
    """
    direct, inherited = tuple(direct), tuple(inherited)
    policies = {*entity.policies}
    for group in (*direct, *inherited):
        policies.update(group.policies)
    return Profile(
        entity=entity,
        policies=tuple(sorted(name for name in policies if may_be_attached(name))),
        subject=Subject(
            entity_id=entity.id,
            entity_name=entity.name,
            metadata=entity.metadata,
            aliases={
                alias.mount_accessor: SubjectAlias(
                    alias_id=alias.id,
                    name=alias.name,
                    metadata=alias.metadata,
                    custom_metadata=alias.custom_metadata,
                )
                for alias in entity.aliases
            },
            groups=tuple(
                SubjectGroup(group_id=group.id, name=group.name, metadata=group.metadata)
                for group in (*direct, *inherited)
            ),
        ),
        direct_group_ids=tuple(group.id for group in direct),
        inherited_group_ids=tuple(group.id for group in inherited),
    )
