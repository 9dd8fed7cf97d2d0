"""Stored policies, and the compiled ACL of every set of them that is in use."""

from collections.abc import Collection
from typing import Final

from cluster.store import Store
from engines.common.plan import Put
from node.policy import Acl, Policy, Subject, parse_policy
from node.policy.builtin import UNSTORED_POLICIES
from node.view import OpenedStore

POLICY_PREFIX: Final = "sys/policy/"
_FORMAT: Final = b"\x01"
ACLS_MAX: Final = 4096  # distinct sets of policies in use at once; each is a few kilobytes
OWN_ACLS_MAX: Final = 4096  # entities with templated policies in use at once; each has an ACL of its own


def policy_key(name: str) -> str:
    """Where the text of an ACL policy lies. The name must be canonical."""
    return POLICY_PREFIX + name


def policy_put(name: str, text: str) -> Put:
    """The write that stores a policy's text."""
    return Put(policy_key(name), _FORMAT + text.encode())


class Policies:
    """Parsed policies and compiled ACLs, valid until a policy record changes."""

    def __init__(self, opened: OpenedStore, store: Store) -> None:
        self._opened = opened
        self._parsed: dict[str, tuple[int, Policy]] = {}
        self._acls: dict[tuple[str, ...], Acl] = {}
        # With a subject a templated policy depends on who asks: one ACL for each entity, as long as its subject is the
        # same object. The other policies need no subject and share the ACLs above.
        self._templated: dict[tuple[str, ...], bool] = {}
        self._own: dict[tuple[tuple[str, ...], str], tuple[Subject, Acl]] = {}
        self._unwatch = store.watch(self._changed, (POLICY_PREFIX,))

    def close(self) -> None:
        """Forget every policy, for good: the node is sealing."""
        self._unwatch()
        self._acls.clear()
        self._parsed.clear()
        self._templated.clear()
        self._own.clear()

    def text(self, name: str) -> str | None:
        """The stored text of a policy, or None."""
        with self._opened.meters.policy_get.timing():
            seen = self._opened.get(policy_key(name))
        if seen is None:
            return None
        if seen.value[:1] != _FORMAT:
            raise ValueError("policy has an unknown format; was it written by a newer version?")
        return seen.value[1:].decode()

    def names(self) -> list[str]:
        """Every policy's name, `root` included, sorted."""
        with self._opened.meters.policy_list.timing():
            return sorted({*self._opened.list(POLICY_PREFIX), "root"})

    def acl(self, names: tuple[str, ...], subject: Subject | None = None) -> Acl:
        """The union of these policies. One that does not exist grants nothing."""
        if subject is not None and self._is_templated(names):
            return self._own_acl(names, subject)
        acl = self._acls.get(names)
        if acl is None:
            acl = Acl.of(self._named(names))
            if len(self._acls) >= ACLS_MAX:
                self._acls.clear()
            self._acls[names] = acl
        return acl

    def _is_templated(self, names: tuple[str, ...]) -> bool:
        templated = self._templated.get(names)
        if templated is None:
            templated = any(policy.templated for policy in self._named(names))
            if len(self._templated) >= ACLS_MAX:
                self._templated.clear()
            self._templated[names] = templated
        return templated

    def _own_acl(self, names: tuple[str, ...], subject: Subject) -> Acl:
        key = (names, subject.entity_id)
        known = self._own.get(key)
        if known is not None and known[0] is subject:
            return known[1]
        acl = Acl.of(self._named(names), subject)
        if len(self._own) >= OWN_ACLS_MAX:
            self._own.clear()
        self._own[key] = (subject, acl)
        return acl

    def _named(self, names: tuple[str, ...]) -> list[Policy]:
        return [policy for policy in map(self._policy, names) if policy is not None]

    def _policy(self, name: str) -> Policy | None:
        unstored = UNSTORED_POLICIES.get(name)
        if unstored is not None:
            return unstored
        with self._opened.meters.policy_get.timing():
            seen = self._opened.get(policy_key(name))
        if seen is None:
            return None
        cached = self._parsed.get(name)
        if cached is not None and cached[0] == seen.index:
            return cached[1]
        policy = parse_policy(name, seen.value[1:].decode())
        if len(self._parsed) >= ACLS_MAX:
            self._parsed.clear()
        self._parsed[name] = (seen.index, policy)
        return policy

    def _changed(self, keys: Collection[str]) -> None:
        self._acls.clear()
        self._templated.clear()
        self._own.clear()
