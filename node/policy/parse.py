"""Policy texts, HCL or JSON, into rules. Whatever is not understood is refused with its line.

Nothing is skipped: a misspelt restriction that is passed over would be a wider right than its author wrote.
"""

from collections.abc import Iterator
from typing import Final

from engines.common.duration import parse_duration_s
from engines.common.hcl import Body, HclError, Item, ListValue, Literal, Position, Value, blocks_of, parse, plain
from node.policy.errors import PolicyError, PolicyNameRefused
from node.policy.model import CAPABILITY_OF_NAME, NO_CAPABILITY, Capability, Parameters, PathRule, Policy
from node.policy.names import IMMUTABLE_NAMES, canonical_policy_name
from node.policy.pattern import has_control_character
from node.policy.template import is_templated, template_fault

# As much as fits into one entry of the log with room to spare; reading it takes some 0.2 s.
POLICY_CHARS_MAX: Final = 2**19

# The shorthand of the first releases, which old policies still carry.
_WRITE: Final = Capability.CREATE | Capability.READ | Capability.UPDATE | Capability.DELETE | Capability.LIST
_SHORTHAND: Final = {
    "deny": Capability.DENY,
    "read": Capability.READ | Capability.LIST,
    "write": _WRITE,
    "sudo": _WRITE | Capability.SUDO,
}
_RULE_KEYS: Final = frozenset(
    {
        "allowed_parameters",
        "capabilities",
        "comment",
        "denied_parameters",
        "max_wrapping_ttl",
        "min_wrapping_ttl",
        "policy",
        "required_parameters",
    }
)


def parse_policy(name: str, text: str) -> Policy:
    """Read a policy that a request wants to write.

    Args:
        name: In any spelling; the result has the canonical one.
        text: HCL 1 or JSON. Several `path` blocks may have the same pattern; they count together.

    Raises:
        PolicyNameRefused: The name is not one, or belongs to a policy that cannot be written.
        PolicyError: The text does not hold together; with the line.

    Source: the Vault documentation, "Policies".
    """
    canonical = canonical_policy_name(name)
    if canonical in IMMUTABLE_NAMES:
        raise PolicyNameRefused(f"cannot update {canonical!r} policy")
    return policy_of_text(canonical, text)


def policy_of_text(canonical_name: str, text: str) -> Policy:
    """As `parse_policy`, for names that no request may write: the built-in texts. Raises PolicyError."""
    if len(text) > POLICY_CHARS_MAX:
        raise PolicyError(f"a policy may not be longer than {POLICY_CHARS_MAX} characters")
    try:
        rules = tuple(_rules(parse(text)))
    except HclError as fault:
        raise PolicyError(fault.reason, fault.position.line) from None
    return Policy(canonical_name, rules, any(is_templated(rule.pattern) for rule in rules))


def _rules(document: Body) -> Iterator[PathRule]:
    for item in document.items:
        if item.name == "path":
            for block in blocks_of(item, labels=1):
                yield _rule(block.labels[0].text, block.labels[0].position, block.body)
        elif item.name == "name":
            _text(item.value)  # old texts carry their own name; the one they are stored under counts
        else:
            raise PolicyError(f"unknown key {item.name!r}: a policy is made of path blocks", item.position.line)


def _rule(written: str, position: Position, body: Body) -> PathRule:
    items = _items(body)
    min_wrapping_ttl_s = _seconds(items.get("min_wrapping_ttl"))
    max_wrapping_ttl_s = _seconds(items.get("max_wrapping_ttl"))
    if max_wrapping_ttl_s and max_wrapping_ttl_s < min_wrapping_ttl_s:
        raise PolicyError("max_wrapping_ttl is less than min_wrapping_ttl", items["max_wrapping_ttl"].position.line)
    return PathRule(
        pattern=_pattern(written, position),
        capabilities=_capabilities(items.get("capabilities")) | _shorthand(items.get("policy")),
        allowed_parameters=_parameters(items.get("allowed_parameters")),
        denied_parameters=_parameters(items.get("denied_parameters")),
        required_parameters=_names(items.get("required_parameters")),
        min_wrapping_ttl_s=min_wrapping_ttl_s,
        max_wrapping_ttl_s=max_wrapping_ttl_s,
    )


def _items(body: Body) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for item in body.items:
        if item.name not in _RULE_KEYS:
            raise PolicyError(f"unknown key {item.name!r} in a path block", item.position.line)
        if len(item.keys) != 1:
            raise PolicyError(f"{item.name} takes no label", item.position.line)
        if item.name in found:
            raise PolicyError(f"{item.name} is given twice in one path block", item.position.line)
        found[item.name] = item
    if "comment" in found:
        _text(found["comment"].value)
    return found


def _pattern(written: str, position: Position) -> str:
    pattern = written.removeprefix("/")
    fault = template_fault(pattern)
    if not fault and (pattern == "+*" or pattern.endswith("/+*")):
        fault = '"+*" is no wildcard: use "+" for one segment, or "*" at the end'
    if not fault and has_control_character(pattern):
        fault = "the path holds a control character"
    if fault:
        raise PolicyError(fault, position.line)
    return pattern


def _capabilities(item: Item | None) -> Capability:
    if item is None:
        return NO_CAPABILITY
    capabilities = NO_CAPABILITY
    for element in _list(item.value):
        name = _text(element)
        if name not in CAPABILITY_OF_NAME:
            raise PolicyError(f"unknown capability {name!r}", element.position.line)
        capabilities |= CAPABILITY_OF_NAME[name]
    return capabilities


def _shorthand(item: Item | None) -> Capability:
    if item is None:
        return NO_CAPABILITY
    name = _text(item.value)
    if name not in _SHORTHAND:
        raise PolicyError(f"unknown policy {name!r}: use capabilities", item.value.position.line)
    return _SHORTHAND[name]


def _parameters(item: Item | None) -> Parameters:
    """Names fold to lower case, as the fields of requests are; a name given twice has the values of both."""
    if item is None:
        return {}
    parameters: dict[str, tuple[object, ...]] = {}
    for body in _bodies(item.value):
        for entry in body.items:
            if len(entry.keys) != 1:
                raise PolicyError("expected a parameter and its list of values", entry.position.line)
            name = entry.name.lower()
            values = tuple(plain(element) for element in _list(entry.value))
            if name == "*" and values:
                raise PolicyError('the only value of the parameter "*" is []', entry.value.position.line)
            seen = parameters.get(name)
            parameters[name] = values if seen is None else () if not seen or not values else seen + values
    return parameters


def _bodies(value: Value) -> Iterator[Body]:
    """One object, or a list of them, as which JSON may spell a repeated block."""
    for element in value.items if isinstance(value, ListValue) else (value,):
        if not isinstance(element, Body):
            raise PolicyError("expected parameters with their lists of values, in braces", element.position.line)
        yield element


def _names(item: Item | None) -> tuple[str, ...]:
    return () if item is None else tuple(_text(element) for element in _list(item.value))


def _seconds(item: Item | None) -> int:
    if item is None:
        return 0
    value = item.value.value if isinstance(item.value, Literal) else None
    try:
        if value is None:
            raise ValueError('expected a duration such as "90s"')
        seconds = parse_duration_s(value)
        if seconds < 0:
            raise ValueError("a duration may not be negative")
    except ValueError as fault:
        raise PolicyError(f"{item.name}: {fault}", item.value.position.line) from None
    return seconds


def _list(value: Value) -> tuple[Value, ...]:
    if not isinstance(value, ListValue):
        raise PolicyError("expected a list in brackets", value.position.line)
    return value.items


def _text(value: Value) -> str:
    if not isinstance(value, Literal) or not isinstance(value.value, str):
        raise PolicyError("expected text in quotes", value.position.line)
    return value.value
