"""Password policies: how passwords for other systems are made. Unrelated to access, but for the name.

A candidate is drawn uniformly from the union of all charsets and thrown away unless it meets every rule, so that each
password that meets the rules is equally likely. Source: the Vault documentation, "Password policies".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engines.common.hcl import Block, HclError, Item, Literal, blocks_of, parse
from node.policy.errors import PasswordPolicyError

LENGTH_MIN: Final = 4
LENGTH_MAX: Final = 4096  # no system takes longer ones; bounds the work for one candidate
CHARSET_CHARS_MAX: Final = 256  # one random byte chooses one character
RULES_MAX: Final = 64  # each candidate is held against each of them
_TEXT_CHARS_MAX: Final = 2**16  # room for that many charsets, with escapes
# Bounds the work for one password to about 0.1 s, counted in characters looked at. Rules that are not met in that
# time are refused: the documented ones are met within a few candidates.
_WORK_MAX: Final = 2**21


@dataclass(frozen=True, slots=True)
class CharsetRule:
    """At least min_chars characters of a password are in charset."""

    charset: str
    min_chars: int


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """`length` is in characters; `charset` is the union of the charsets of all rules, each character once."""

    length: int
    rules: tuple[CharsetRule, ...]
    charset: str


def parse_password_policy(text: str) -> PasswordPolicy:
    """Read a password policy, HCL 1 or JSON. Raises PasswordPolicyError, with the line of the fault if it has one."""
    try:
        return _policy_of(text)
    except HclError as fault:
        raise PasswordPolicyError(fault.reason, fault.position.line) from None


def generate(policy: PasswordPolicy, random: Callable[[int], bytes]) -> str:
    """A password that meets the policy, each with the same probability.

    Args:
        policy: As parsed.
        random: Gives that many bytes, unpredictable and uniform.

    Raises:
        PasswordPolicyError: The rules are so narrow that no candidate met them within the bound on work.
    """
    demands = [(frozenset(rule.charset), rule.min_chars) for rule in policy.rules if rule.min_chars]
    for _ in range(_WORK_MAX // (policy.length * (1 + len(demands)))):
        candidate = _candidate(policy, random)
        if all(sum(map(charset.__contains__, candidate)) >= least for charset, least in demands):
            return candidate
    raise PasswordPolicyError("the rules are too narrow: no password that meets them was found")


def _candidate(policy: PasswordPolicy, random: Callable[[int], bytes]) -> str:
    size = len(policy.charset)
    # Bytes at or above the greatest multiple of the size would favour the first characters, so they are passed over.
    fair = 256 - 256 % size
    found: list[str] = []
    while len(found) < policy.length:
        drawn = random(policy.length - len(found))
        found += [policy.charset[byte % size] for byte in drawn if byte < fair]
    return "".join(found)


def _policy_of(text: str) -> PasswordPolicy:
    if len(text) > _TEXT_CHARS_MAX:
        raise PasswordPolicyError(f"a password policy may not be longer than {_TEXT_CHARS_MAX} characters")
    length: int | None = None
    rules: list[CharsetRule] = []
    for item in parse(text).items:
        if item.name == "length" and length is None:
            length = _integer(item, LENGTH_MIN, LENGTH_MAX)
        elif item.name == "length":
            raise PasswordPolicyError("length is given twice", item.position.line)
        elif item.name == "rule":
            rules += [_rule(block) for block in blocks_of(item, labels=1)]
        else:
            raise PasswordPolicyError(f"unknown key {item.name!r}", item.position.line)
    charset = "".join(dict.fromkeys("".join(rule.charset for rule in rules)))
    if length is None:
        raise PasswordPolicyError("length is missing")
    if not charset:
        raise PasswordPolicyError("at least one charset rule is needed")
    if len(rules) > RULES_MAX:
        raise PasswordPolicyError(f"there are more than {RULES_MAX} rules")
    if len(charset) > CHARSET_CHARS_MAX:
        raise PasswordPolicyError(f"the charsets have more than {CHARSET_CHARS_MAX} characters together")
    if any(rule.min_chars > length for rule in rules):
        raise PasswordPolicyError("a rule demands more characters than length allows")
    return PasswordPolicy(length, tuple(rules), charset)


def _rule(block: Block) -> CharsetRule:
    (label,) = block.labels
    if label.text != "charset":
        raise PasswordPolicyError(f"unknown rule {label.text!r}", label.position.line)
    charset, min_chars = "", 0
    for item in block.body.items:
        if item.name == "charset":
            charset = _charset(item)
        elif item.name == "min-chars":
            min_chars = _integer(item, 0, LENGTH_MAX)
        else:
            raise PasswordPolicyError(f"unknown key {item.name!r} in a charset rule", item.position.line)
    if not charset:
        raise PasswordPolicyError("the rule needs a charset", block.position.line)
    return CharsetRule(charset, min_chars)


def _charset(item: Item) -> str:
    value = item.value.value if isinstance(item.value, Literal) else None
    if not isinstance(value, str):
        raise PasswordPolicyError("charset: expected text in quotes", item.value.position.line)
    if not value.isprintable():
        raise PasswordPolicyError("charset: all characters must be printable", item.value.position.line)
    return "".join(dict.fromkeys(value))


def _integer(item: Item, least: int, most: int) -> int:
    value = item.value.value if isinstance(item.value, Literal) else None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise PasswordPolicyError(f"{item.name}: expected a number from {least} to {most}", item.value.position.line)
    return value


# What is used where no policy is named: 20 characters with at least one of each kind.
DEFAULT_PASSWORD_POLICY: Final = parse_password_policy("""
length = 20
rule "charset" {
  charset   = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 1
}
rule "charset" {
  charset   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  min-chars = 1
}
rule "charset" {
  charset   = "0123456789"
  min-chars = 1
}
rule "charset" {
  charset   = "-"
  min-chars = 1
}
""")
