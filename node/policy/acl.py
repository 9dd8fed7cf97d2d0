"""The rights of one token: the rules of all its policies, merged by pattern and compiled for lookup.

Judging a path takes one dictionary lookup for exact patterns, one per length of prefix for those that end in `*`,
and a walk by segments for those with `+`; it never depends on how many rules there are in all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from engines.common.frame import Operation
from node.policy.limits import NO_LIMITS, Limits
from node.policy.model import Capability, Decision, PathRule, Policy, Subject, capability_names
from node.policy.names import ROOT_NAME, is_canonical_policy_name
from node.policy.pattern import Pattern, Priority, is_canonical_path, priority_of
from node.policy.template import fill, is_templated
from node.policy.wildcards import Wildcards

_DENIED: Final = Decision(allowed=False, root=False, sudo=False)
_ALLOWED: Final = Decision(allowed=True, root=False, sudo=False)
_ALLOWED_SUDO: Final = Decision(allowed=True, root=False, sudo=True)
_ROOT: Final = Decision(allowed=True, root=True, sudo=True)

# Plain integers: arithmetic on enum flags costs more than all the rest of a decision.
_DENY: Final = int(Capability.DENY)
_SUDO: Final = int(Capability.SUDO)
_LIST: Final = int(Capability.LIST)
_BIT_OF: Final[Mapping[str, int]] = MappingProxyType({op: int(Capability[op.name]) for op in Operation})


@dataclass(frozen=True, slots=True)
class _Rule:
    """All rules of one pattern together. `limits` is None when nothing beyond the capabilities is asked."""

    pattern: Pattern
    priority: Priority
    bits: int
    limits: Limits | None
    sources: tuple[tuple[str, int], ...]  # each policy that has a rule of this pattern, and what it grants


class Acl:
    """The compiled union of the policies of one token. Immutable; build it with `Acl.of`."""

    __slots__ = ("_exact", "_last", "_prefix_lengths", "_prefixes", "_rules", "_wildcards", "is_root")

    def __init__(self, rules: Iterable[_Rule], *, is_root: bool) -> None:
        self.is_root: Final = is_root
        self._rules: Final = tuple(rules)
        plain = [rule for rule in self._rules if not rule.pattern.wildcard]
        self._exact: Final = {rule.pattern.text: rule for rule in plain if not rule.pattern.prefix}
        self._prefixes: Final = {rule.pattern.stem: rule for rule in plain if rule.pattern.prefix}
        self._prefix_lengths: Final = tuple(sorted({len(stem) for stem in self._prefixes}, reverse=True))
        self._wildcards: Final = Wildcards((r.pattern, r) for r in self._rules if r.pattern.wildcard)
        self._last: tuple[str, _Rule | None] = ("", None)

    @staticmethod
    def of(policies: Sequence[Policy], subject: Subject | None = None) -> "Acl":
        """Compile policies for a token.

        Args:
            policies: Those attached to the token and its identity. One whose name is not canonical is passed over:
                no such name can have been written (CVE-2026-105820).
            subject: Fills the templates; without it, templated rules are passed over.
        """
        counted = [policy for policy in policies if is_canonical_policy_name(policy.name)]
        merged: dict[str, tuple[int, Limits]] = {}
        sources: dict[str, list[tuple[str, int]]] = {}
        for name, rule in ((policy.name, rule) for policy in counted for rule in policy.rules):
            pattern = fill(rule.pattern, subject) if is_templated(rule.pattern) else rule.pattern
            if pattern is not None:
                merged[pattern] = _with(merged.get(pattern), rule)
                sources.setdefault(pattern, []).append((name, int(rule.capabilities)))
        rules = (_compiled(text, bits, limits, sources[text]) for text, (bits, limits) in merged.items())
        return Acl(rules, is_root=any(policy.name == ROOT_NAME for policy in counted))

    def check(
        self,
        operation: Operation,
        path: str,
        body: Mapping[str, object] | None,
        wrap_ttl_s: int | None,
        *,
        sudo_needed: bool = False,
    ) -> Decision:
        """Judge one request; raises nothing.

        Args:
            operation: What is wanted; of a write, CREATE only if its target does not exist.
            path: Canonical, without `v1/`. Any other path is denied, to root as well.
            body: Parameters of a write. None and empty are the same.
            wrap_ttl_s: Seconds the client wants its response wrapped for; None for a plain response.
            sudo_needed: The path is root-protected.
        """
        if not is_canonical_path(path):
            return _DENIED
        if self.is_root:
            return _ROOT
        rule = self._for_list(path) if operation == "list" else self._for_path(path)
        if rule is None or rule.bits & _DENY or not rule.bits & _BIT_OF[operation]:
            return _DENIED
        sudo = rule.bits & _SUDO
        if sudo_needed and not sudo:
            return _DENIED
        if rule.limits is not None and not rule.limits.admit(operation, body, wrap_ttl_s):
            return _DENIED
        return _ALLOWED_SUDO if sudo else _ALLOWED

    def capabilities(self, path: str) -> Capability:
        """What may be done at the path, limits on parameters aside; DENY when nothing may.

        Agrees with `check`, so LIST is in it if a listing of the folder of this name is granted. For root it is all
        but DENY; the API says `root` then, see `capability_names`.
        """
        if not is_canonical_path(path):
            return Capability.DENY
        if self.is_root:
            return ~Capability.DENY
        rule, listing = self._for_path(path), self._for_list(path)
        bits = 0 if rule is None or rule.bits & _DENY else rule.bits & ~_LIST
        if listing is not None and not listing.bits & _DENY:
            bits |= listing.bits & _LIST
        return Capability(bits or _DENY)

    def capability_names(self, path: str) -> list[str]:
        """The capabilities as `sys/capabilities` answers them: sorted, or `root` or `deny` alone."""
        if self.is_root and is_canonical_path(path):
            return [ROOT_NAME]
        return capability_names(self.capabilities(path))

    def granting(self, operation: Operation, path: str) -> tuple[str, ...]:
        """Names of the policies that let an allowed operation pass; of root the audit says so itself."""
        rule = self._for_list(path) if operation == "list" else self._for_path(path)
        if rule is None:
            return ()
        bit = _BIT_OF[operation]
        return tuple(dict.fromkeys(name for name, bits in rule.sources if bits & bit))

    def may_touch_below(self, prefix: str) -> bool:
        """Whether there is any right on anything below a mount, whose path is given with or without its last slash.

        It decides only whether the mount is shown: a right that narrower denials take back completely still counts.
        """
        if self.is_root:
            return True
        mount = prefix.removesuffix("/").split("/")
        inside = [rule for rule in self._rules if _reaches(rule, mount)]
        # What covers the whole mount hides every broader rule, and its own denial goes no deeper than a narrower right.
        covering = max((rule.priority for rule in inside if _covers(rule.pattern, mount)), default=None)
        return any(
            rule.bits and not rule.bits & _DENY and (covering is None or rule.priority >= covering) for rule in inside
        )

    def rules(self) -> tuple[Mapping[str, Capability], Mapping[str, Capability]]:
        """Capabilities by exact pattern, and by glob with its final `*` taken off, as `resultant-acl` shows them.

        A pattern with `+` is among the globs.
        """
        exact = {text: Capability(rule.bits) for text, rule in self._exact.items()}
        globs = (rule for rule in self._rules if rule.pattern.prefix or rule.pattern.wildcard)
        return exact, {rule.pattern.stem: Capability(rule.bits) for rule in globs}

    def _for_path(self, path: str) -> _Rule | None:
        """The most specific rule that matches exactly this spelling.

        The last one found is remembered: the audit asks what the check has just asked, and clients ask again.
        """
        last_path, rule = self._last
        if path != last_path or not path:
            rule = self._found(path)
            self._last = (path, rule)
        return rule

    def _found(self, path: str) -> _Rule | None:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        best = None
        for length in self._prefix_lengths:
            best = self._prefixes.get(path[:length]) if length <= len(path) else None
            if best is not None:
                break
        for rule in self._wildcards.matches(path):
            if best is None or rule.priority > best.priority:
                best = rule
        return best

    def _for_list(self, path: str) -> _Rule | None:
        """The rule for listing a folder, named with or without its last slash: both are judged alike.

        Rules for either spelling apply and the most specific one counts, so that no spelling escapes the narrower
        denial (CVE-2026-63131). If one pattern is given in both spellings, a denial in either counts.
        """
        bare = path.removesuffix("/")
        folder, entry = self._for_path(bare + "/"), self._for_path(bare)
        if folder is None or entry is None:
            return folder or entry
        if folder.pattern.text == entry.pattern.text + "/":
            return entry if entry.bits & _DENY else folder
        return folder if folder.priority >= entry.priority else entry


def _with(seen: tuple[int, Limits] | None, rule: PathRule) -> tuple[int, Limits]:
    """Another rule of the same pattern added: capabilities are united, a denial lets nothing else stand."""
    bits = int(rule.capabilities)
    if bits & _DENY or (seen is not None and seen[0] & _DENY):
        return _DENY, NO_LIMITS
    limits = Limits.of(rule)
    return (bits, limits) if seen is None else (seen[0] | bits, seen[1].merged(limits))


def _compiled(text: str, bits: int, limits: Limits, sources: Sequence[tuple[str, int]]) -> _Rule:
    pattern = Pattern.of(text)
    return _Rule(pattern, priority_of(pattern), bits, None if limits == NO_LIMITS else limits, tuple(sources))


def _reaches(rule: _Rule, mount: Sequence[str]) -> bool:
    """Whether the rule matches any path below the mount, or lets the mount itself be listed."""
    pattern, depth = rule.pattern, len(mount)
    if _covers(pattern, mount):
        return True
    whole = pattern.segments[:-1] if pattern.prefix else pattern.segments
    deep_enough = len(whole) >= depth if pattern.prefix or rule.bits & _LIST else len(whole) > depth
    return deep_enough and _same_segments(whole[:depth], mount)


def _covers(pattern: Pattern, mount: Sequence[str]) -> bool:
    """Whether the pattern matches every path below the mount."""
    if not pattern.prefix:
        return False
    whole, partial = pattern.segments[:-1], pattern.segments[-1]
    if len(whole) > len(mount) or not _same_segments(whole, mount[: len(whole)]):
        return False
    return not partial if len(whole) == len(mount) else mount[len(whole)].startswith(partial)


def _same_segments(pattern: Sequence[str], path: Sequence[str]) -> bool:
    return all(one in ("+", other) for one, other in zip(pattern, path, strict=True))
