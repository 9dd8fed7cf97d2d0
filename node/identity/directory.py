"""Finding entities and groups, and what they mean for a request. Everything is read from the store or derived from it.

Invariant: every write that concerns an existing entity or any group names the epoch it saw and changes it. So such
writes are serial, each is planned from what the one before left, and what was derived is valid while the epoch is the
same, on each node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from engines.common.context import Seen
from engines.common.crypto import KeyedHmac
from engines.common.errors import PermissionDenied
from engines.common.plan import Put
from node.identity import store
from node.identity.model import Entity, Group
from node.identity.profile import Profile, profile_of
from node.sources import Sources
from node.view import OpenedStore

PROFILES_MAX: Final = 16_384  # entities in use at a time; each costs a few kilobytes
_MERGES_MAX: Final = 64  # of an entity that was merged again and again; ends a walk that could only go on by damage

T = TypeVar("T")


class Directory:
    """Identity as this node sees it."""

    def __init__(self, opened: OpenedStore, sources: Sources, salt: bytes) -> None:
        self.sources = sources
        self._opened = opened
        self._salted = KeyedHmac(salt)
        self._profiles: dict[str, tuple[int, Profile]] = {}

    # Keys of names

    def entity_name_key(self, name: str) -> str:
        """Where the entity of this name is found. Names are one whatever their capitals are."""
        return store.ENTITY_NAMES + store.named(self._salted, name.casefold())

    def alias_name_key(self, mount_accessor: str, name: str) -> str:
        """Where the entity of an alias is found; exactly as the auth method spells it, per mount (CVE-2022-40186)."""
        return f"{store.ALIAS_NAMES}{mount_accessor}/{store.named(self._salted, name)}"

    def group_name_key(self, name: str) -> str:
        """Where the group of this name is found."""
        return store.GROUP_NAMES + store.named(self._salted, name.casefold())

    def group_alias_name_key(self, mount_accessor: str, name: str) -> str:
        """Where the group of an alias is found."""
        return f"{store.GROUP_ALIAS_NAMES}{mount_accessor}/{store.named(self._salted, name)}"

    # Entities

    def index(self, key: str) -> int:
        """The index of a record, 0 when there is none."""
        seen = self._opened.get(key)
        return 0 if seen is None else seen.index

    def epoch_put(self) -> Put:
        """The write that makes a change serial with every other one, and ends what was derived before it."""
        return Put(store.EPOCH, store.MARK, self.index(store.EPOCH))

    def entity(self, entity_id: str) -> Entity | None:
        """The entity with this id."""
        return self._record(store.ENTITIES, entity_id, store.decode_entity)

    def entity_by_name(self, name: str) -> Entity | None:
        """The entity with this name."""
        return self._led_to(self.entity_name_key(name), self.entity)

    def entity_by_alias(self, mount_accessor: str, name: str) -> Entity | None:
        """The entity with this alias."""
        return self._led_to(self.alias_name_key(mount_accessor, name), self.entity)

    def entity_by_alias_id(self, alias_id: str) -> Entity | None:
        """The entity with the alias of this id."""
        return self._led_to(store.ALIASES + alias_id, self.entity) if _is_name(alias_id) else None

    def entity_ids(self) -> list[str]:
        """The id of every entity."""
        return self._opened.list(store.ENTITIES)

    def alias_ids(self) -> list[str]:
        """The id of every entity alias."""
        return self._opened.list(store.ALIASES)

    # Groups

    def group(self, group_id: str) -> Group | None:
        """The group with this id."""
        return self._record(store.GROUPS, group_id, store.decode_group)

    def group_by_name(self, name: str) -> Group | None:
        """The group with this name."""
        return self._led_to(self.group_name_key(name), self.group)

    def group_by_alias(self, mount_accessor: str, name: str) -> Group | None:
        """The external group that stands for this group of an auth method's world."""
        return self._led_to(self.group_alias_name_key(mount_accessor, name), self.group)

    def group_by_alias_id(self, alias_id: str) -> Group | None:
        """The group with the alias of this id."""
        return self._led_to(store.GROUP_ALIASES + alias_id, self.group) if _is_name(alias_id) else None

    def group_ids(self) -> list[str]:
        """The id of every group."""
        return self._opened.list(store.GROUPS)

    def group_alias_ids(self) -> list[str]:
        """The id of every group alias."""
        return self._opened.list(store.GROUP_ALIASES)

    def members(self, group_id: str) -> tuple[str, ...]:
        """The ids of the entities that are in the group itself."""
        return tuple(self._opened.list(f"{store.MEMBERS}{group_id}/"))

    def direct_groups(self, entity_id: str) -> tuple[Group, ...]:
        """The groups that the entity itself is in."""
        return self._groups(self._opened.list(f"{store.GROUPS_OF}{entity_id}/"))

    def parent_ids(self, group_id: str) -> tuple[str, ...]:
        """The ids of the groups that the group is a member of."""
        return tuple(self._opened.list(f"{store.PARENTS}{group_id}/"))

    def ancestors(self, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        """The groups that those in these groups belong to through them."""
        known = {group.id for group in groups}
        found: list[Group] = []
        wave = groups
        while wave:
            above = {parent for group in wave for parent in self.parent_ids(group.id)} - known
            known |= above
            wave = self._groups(sorted(above))
            found += wave
        return tuple(found)

    # For requests

    def profile(self, entity_id: str) -> Profile | None:
        """What is known of the entity behind a token, which may have been merged into another one since."""
        epoch = self.index(store.EPOCH)
        known = self._profiles.get(entity_id)
        if known is not None and known[0] == epoch:
            return known[1]
        entity = self._surviving(entity_id)
        if entity is None:
            return None
        found = self.derived(entity, self.direct_groups(entity.id))
        if known is not None and known[1] == found:
            # The same object says to whoever derived more from it that nothing has changed.
            found = known[1]
        elif len(self._profiles) >= PROFILES_MAX:
            self._profiles.clear()
        self._profiles[entity_id] = (epoch, found)
        return found

    def usable_profile(self, entity_id: str) -> Profile:
        """The profile of the sender of a request. Raises PermissionDenied when it is disabled or gone."""
        profile = self.profile(entity_id)
        if profile is None or profile.entity.disabled:
            raise PermissionDenied
        return profile

    def derived(self, entity: Entity, direct: tuple[Group, ...]) -> Profile:
        """The profile of an entity that is in these groups itself."""
        return profile_of(entity, direct, self.ancestors(direct))

    def _surviving(self, entity_id: str) -> Entity | None:
        for _ in range(_MERGES_MAX):
            entity = self.entity(entity_id)
            if entity is not None:
                return entity
            merged = self._opened.get(store.MERGED + entity_id)
            if merged is None:
                return None
            entity_id = store.decode_id(merged.value)
        return None

    # Reading

    def _record(self, prefix: str, record_id: str, decode: Callable[[bytes], T]) -> T | None:
        if not _is_name(record_id):
            return None
        seen = self._opened.get(prefix + record_id)
        return None if seen is None else seen.decoded(decode)

    def _led_to(self, key: str, find: Callable[[str], T | None]) -> T | None:
        seen: Seen | None = self._opened.get(key)
        return None if seen is None else find(seen.decoded(store.decode_id))

    def _groups(self, ids: list[str]) -> tuple[Group, ...]:
        return tuple(group for group in map(self.group, ids) if group is not None)


def _is_name(given: str) -> bool:
    """Whether a given id can be one at all: it becomes part of a key."""
    return 0 < len(given) <= 64 and "/" not in given and given.isascii() and given.isprintable()
