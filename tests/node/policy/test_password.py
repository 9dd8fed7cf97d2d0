"""node/policy/password.py: what is refused, and that what is made is uniform and meets every rule."""

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.policy.errors import PasswordPolicyError
from node.policy.password import (
    CHARSET_CHARS_MAX,
    DEFAULT_PASSWORD_POLICY,
    RULES_MAX,
    CharsetRule,
    PasswordPolicy,
    generate,
    parse_password_policy,
)


def test_documented_example() -> None:
    """HCL and JSON give the same policy; a charset in two rules is drawn from once."""
    policy = parse_password_policy(
        'length = 20\nrule "charset" {\n  charset = "abcde"\n  min-chars = 1\n}\nrule "charset" { charset = "cdefg" }'
    )
    assert policy == PasswordPolicy(20, (CharsetRule("abcde", 1), CharsetRule("cdefg", 0)), "abcdefg")
    rules = [{"charset": {"charset": "abcde", "min-chars": 1}}, {"charset": {"charset": "cdefg"}}]
    assert parse_password_policy(json.dumps({"length": 20, "rule": rules})) == policy


def test_default_policy() -> None:
    """Twenty characters, with at least one lower, one upper, one digit and one dash."""
    password = generate(DEFAULT_PASSWORD_POLICY, Random(1).randbytes)
    assert len(password) == 20
    assert any(map(str.islower, password)) and any(map(str.isupper, password))
    assert any(map(str.isdigit, password)) and "-" in password


@given(
    length=st.integers(4, 40),
    charsets=st.lists(
        st.tuples(
            # "${" begins an interpolation, in this dialect's JSON as well, and may then not stand alone.
            st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).filter(
                lambda text: "${" not in text
            ),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 2**32),
)
def test_rules_are_met(length: int, charsets: list[tuple[str, int]], seed: int) -> None:
    """Every password has its length and enough of each charset, overlapping or not."""
    text = json.dumps({"length": length, "rule": [{"charset": {"charset": c, "min-chars": n}} for c, n in charsets]})
    password = generate(parse_password_policy(text), Random(seed).randbytes)
    assert len(password) == length
    assert set(password) <= set("".join(c for c, _ in charsets))
    assert all(sum(character in c for character in password) >= n for c, n in charsets)


def test_no_modulo_bias() -> None:
    """Every byte value offered once, the unfair ones first, yields each of 100 characters equally often."""
    policy = PasswordPolicy(4, (), "".join(map(chr, range(1000, 1100))))
    stream = iter([*range(200, 256), *range(200)])
    seen = "".join(generate(policy, lambda size: bytes(next(stream) for _ in range(size))) for _ in range(50))
    assert set(Counter(seen).values()) == {2}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("length = 20", None),
        ('rule "charset" { charset = "ab" }', None),
        ('length = 3\nrule "charset" { charset = "ab" }', 1),
        ('length = "20"\nrule "charset" { charset = "ab" }', 1),
        ('length = true\nrule "charset" { charset = "ab" }', 1),
        ('length = 20\nlength = 20\nrule "charset" { charset = "ab" }', 2),
        ('length = 20\nrule "charset" {\n}', 2),
        ('length = 20\nrule "charset" {\n  charset = "a\\u0007"\n}', 3),
        ('length = 20\nrule "charset" {\n  charset = ["a"]\n}', 3),
        ('length = 20\nrule "charset" {\n  charset = "a"\n  min-chars = -1\n}', 4),
        ('length = 20\nrule "charset" {\n  charset = "a"\n  least = 1\n}', 4),
        ('length = 20\nrule "words" { charset = "ab" }', 2),
        ('length = 20\nseed = 1\nrule "charset" { charset = "ab" }', 2),
        ('length = 4\nrule "charset" {\n  charset = "ab"\n  min-chars = 5\n}', None),
        ('length = 20\nrule "charset" { charset = "ab" ', 2),
    ],
)
def test_refusals(text: str, line: int | None) -> None:
    """What the documentation does not allow is refused, with its line where it has one."""
    with pytest.raises(PasswordPolicyError) as refused:
        parse_password_policy(text)
    assert refused.value.line == line


def test_charset_bound() -> None:
    """The charsets together have at most as many characters as a byte can choose from."""
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + CHARSET_CHARS_MAX + 1)]
    rule = 'length = 4\nrule "charset" {{ charset = "{}" }}'
    policy = parse_password_policy(rule.format("".join(characters[:-1])))
    assert len(generate(policy, Random(1).randbytes)) == 4
    with pytest.raises(PasswordPolicyError):
        parse_password_policy(rule.format("".join(characters)))


def test_size_bounds() -> None:
    """Neither the text nor the number of rules can make one password cost more than its bound."""
    rule = 'rule "charset" { charset = "ab" }\n'
    assert len(parse_password_policy("length = 4\n" + rule * RULES_MAX).rules) == RULES_MAX
    for text in ("length = 4\n" + rule * (RULES_MAX + 1), "length = 4\n" + rule + "#" * 2**16):
        with pytest.raises(PasswordPolicyError):
            parse_password_policy(text)


def test_impossible_rules_end() -> None:
    """Rules that no password can meet end in a refusal, not in an endless search."""
    policy = parse_password_policy(
        'length = 100\nrule "charset" {\n  charset = "a"\n  min-chars = 51\n}\n'
        'rule "charset" {\n  charset = "b"\n  min-chars = 51\n}'
    )
    with pytest.raises(PasswordPolicyError):
        generate(policy, Random(1).randbytes)
