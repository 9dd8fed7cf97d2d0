"""What a rule demands beyond its capabilities: parameters of the body and the life of a wrapped response."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engines.common.frame import Operation
from node.policy.model import Parameters, PathRule

# Parameters of the other operations are not part of a body that anything stores.
_JUDGED_OPERATIONS: Final = frozenset({Operation.CREATE, Operation.UPDATE, Operation.PATCH})
_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The merged demands of all rules with one pattern. Empty parameters and a time of 0 demand nothing."""

    allowed: Parameters = field(default_factory=dict)
    denied: Parameters = field(default_factory=dict)
    required: tuple[str, ...] = ()
    min_wrapping_ttl_s: int = 0
    max_wrapping_ttl_s: int = 0

    @staticmethod
    def of(rule: PathRule) -> "Limits":
        return Limits(
            allowed=rule.allowed_parameters,
            denied=rule.denied_parameters,
            required=rule.required_parameters,
            min_wrapping_ttl_s=rule.min_wrapping_ttl_s,
            max_wrapping_ttl_s=rule.max_wrapping_ttl_s,
        )

    def merged(self, other: "Limits") -> "Limits":
        """Both together, as documented: names and values are united, of each time the lowest that is set counts."""
        return Limits(
            allowed=_united(self.allowed, other.allowed),
            denied=_united(self.denied, other.denied),
            required=tuple(dict.fromkeys(self.required + other.required)),
            min_wrapping_ttl_s=_lowest_set(self.min_wrapping_ttl_s, other.min_wrapping_ttl_s),
            max_wrapping_ttl_s=_lowest_set(self.max_wrapping_ttl_s, other.max_wrapping_ttl_s),
        )

    def admit(self, operation: str, body: Mapping[str, object] | None, wrap_ttl_s: int | None) -> bool:
        """Whether a request that has the capability also keeps to this."""
        if not self._admit_wrapping(wrap_ttl_s):
            return False
        return operation not in _JUDGED_OPERATIONS or self._admit_body(_NOTHING if body is None else body)

    def _admit_wrapping(self, wrap_ttl_s: int | None) -> bool:
        if self.min_wrapping_ttl_s and (wrap_ttl_s is None or wrap_ttl_s < self.min_wrapping_ttl_s):
            return False
        # A maximum alone also makes wrapping mandatory: an unwrapped response would have no end at all.
        return not self.max_wrapping_ttl_s or (wrap_ttl_s is not None and 0 < wrap_ttl_s <= self.max_wrapping_ttl_s)

    def _admit_body(self, body: Mapping[str, object]) -> bool:
        # A required name counts as written or in lower case, never in another mix: the engine would not find that one.
        if any(name not in body and name.lower() not in body for name in self.required):
            return False
        if body and "*" in self.denied:
            return False
        for name, value in body.items():
            folded = name.lower()
            denied = self.denied.get(folded)
            if denied is not None and (not denied or _is_denied(value, denied)):
                return False
            if self.allowed and not self._is_allowed(folded, value):
                return False
        return True

    def _is_allowed(self, name: str, value: object) -> bool:
        values = self.allowed.get(name)
        if values is None:
            return "*" in self.allowed
        return not values or _matches_all(value, values)


NO_LIMITS: Final = Limits()


def _united(one: Parameters, other: Parameters) -> Parameters:
    united = dict(one)
    for name, values in other.items():
        seen = united.get(name)
        # An empty list stands for every value, so it swallows any other list.
        united[name] = values if seen is None else () if not seen or not values else seen + values
    return united


def _lowest_set(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


def _is_denied(value: object, patterns: tuple[object, ...]) -> bool:
    """A list is denied as a whole or for any of its elements: else one more element would lift the denial."""
    if any(_equal(pattern, value) for pattern in patterns):
        return True
    return isinstance(value, list | tuple) and any(_is_denied(element, patterns) for element in value)


def _matches_all(value: object, patterns: tuple[object, ...]) -> bool:
    """A list is allowed as a whole or when each of its elements is; an empty one only as a whole."""
    if any(_equal(pattern, value) for pattern in patterns):
        return True
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(any(_equal(pattern, element) for pattern in patterns) for element in value)


def _equal(pattern: object, value: object) -> bool:
    """Equality of JSON values: 1 and 1.0 are equal, true and 1 are not; text may start or end in `*`."""
    if isinstance(pattern, str) and isinstance(value, str):
        return _globbed(pattern, value)
    if isinstance(pattern, bool) or isinstance(value, bool):
        return pattern is value
    if isinstance(pattern, list | tuple) and isinstance(value, list | tuple):
        return len(pattern) == len(value) and all(map(_same, pattern, value))
    if isinstance(pattern, Mapping) and isinstance(value, Mapping):
        return pattern.keys() == value.keys() and all(_same(pattern[key], value[key]) for key in pattern)
    return pattern == value


def _same(one: object, other: object) -> bool:
    """As `_equal`, but text inside a list or an object is literal: globs are documented for plain values only."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return _equal(one, other)


def _globbed(pattern: str, value: str) -> bool:
    head, tail = pattern.startswith("*"), pattern.endswith("*")
    if head and tail:
        return pattern[1:-1] in value
    if head:
        return value.endswith(pattern[1:])
    if tail:
        return value.startswith(pattern[:-1])
    return value == pattern
