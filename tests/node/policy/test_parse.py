"""node/policy/parse.py: every documented form is read, everything else is refused with its line."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.policy.errors import PolicyError, PolicyNameRefused
from node.policy.model import Capability, PathRule, capability_names
from node.policy.parse import POLICY_CHARS_MAX, parse_policy

READ, LIST = Capability.READ, Capability.LIST


def one(text: str) -> PathRule:
    (rule,) = parse_policy("p", text).rules
    return rule


def test_all_of_a_rule() -> None:
    """Capabilities, the three lists of parameters and both times are read; a leading slash is dropped."""
    assert one("""
        path "/secret/restricted" {
          comment = "documented"
          capabilities = ["create", "update"]
          allowed_parameters = { "foo" = [] "Bar" = ["zip", 1, true, ["a"]] }
          denied_parameters { "baz" = [] }
          required_parameters = ["bar", "foo"]
          min_wrapping_ttl = "1s"
          max_wrapping_ttl = "1h30m"
        }
    """) == PathRule(
        pattern="secret/restricted",
        capabilities=Capability.CREATE | Capability.UPDATE,
        allowed_parameters={"foo": (), "bar": ("zip", 1, True, ["a"])},
        denied_parameters={"baz": ()},
        required_parameters=("bar", "foo"),
        min_wrapping_ttl_s=1,
        max_wrapping_ttl_s=5400,
    )


def test_json_is_equivalent() -> None:
    """JSON says the same, with a path once or several of them in a list."""
    hcl = 'path "a" { capabilities = ["read"] }\npath "b/*" { capabilities = ["list"] }'
    block = {"a": {"capabilities": ["read"]}, "b/*": {"capabilities": ["list"]}}
    listed = [{name: body} for name, body in block.items()]
    expected = parse_policy("p", hcl)
    assert parse_policy("p", json.dumps({"path": block})) == expected
    assert parse_policy("p", json.dumps({"path": listed})) == expected


def test_repeated_paths_all_count() -> None:
    """Two blocks of one path are two rules: neither hides the other."""
    policy = parse_policy("p", 'path "a" { capabilities = ["read"] }\npath "a" { capabilities = ["deny"] }')
    assert [rule.capabilities for rule in policy.rules] == [Capability.READ, Capability.DENY]


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("deny", ["deny"]),
        ("read", ["list", "read"]),
        ("write", ["create", "delete", "list", "read", "update"]),
        ("sudo", ["create", "delete", "list", "read", "sudo", "update"]),
    ],
)
def test_old_shorthand(word: str, names: list[str]) -> None:
    """`policy = "write"` of the first releases still stands for its capabilities."""
    assert capability_names(one(f'name = "old"\npath "a" {{ policy = "{word}" }}').capabilities) == names


def test_every_capability_has_its_name() -> None:
    """The names of the API are accepted and given back."""
    names = ["create", "delete", "list", "patch", "read", "subscribe", "sudo", "update"]
    assert capability_names(one(f'path "a" {{ capabilities = {json.dumps(names)} }}').capabilities) == names


def test_empty_policy_and_empty_rule() -> None:
    """Both are valid and grant nothing."""
    assert parse_policy("p", "# nothing yet\n").rules == ()
    assert one('path "a" {}').capabilities == Capability(0)


def test_templated_is_noticed() -> None:
    """A policy with one templated path is templated."""
    assert parse_policy("p", 'path "a/{{identity.entity.id}}/*" { capabilities = ["read"] }').templated
    assert not parse_policy("p", 'path "a/*" { capabilities = ["read"] }').templated


def test_the_name_is_canonical_and_root_is_refused() -> None:
    """CVE-2025-5999: the name is folded before it is compared; `root` is never written."""
    assert parse_policy(" Dev ", "").name == "dev"
    for name in ("root", " ROOT", "response-wrapping", "../root", "a//b"):
        with pytest.raises(PolicyNameRefused):
            parse_policy(name, "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('path "a" {\n  capabilities = ["raed"]\n}', 2),
        ('path "a" {\n  capabilities = [\n    "read",\n    "fly"\n  ]\n}', 4),
        ('path "a" {\n  capabilities = "read"\n}', 2),
        ('path "a" {\n  capabilities = [1]\n}', 2),
        ('path "a" {\n  capabilties = ["deny"]\n}', 2),
        ('path "a" {\n  capabilities = ["deny"]\n  capabilities = ["read"]\n}', 3),
        ('path "a" {\n  denied_parameters "x" {}\n}', 2),
        ('path "a" {\n  control_group = {}\n}', 2),
        ('path "a" {\n  policy = "all"\n}', 2),
        ('path "a" {\n  comment = 1\n}', 2),
        ('path "a" {\n  min_wrapping_ttl = "soon"\n}', 2),
        ('path "a" {\n  min_wrapping_ttl = -1\n}', 2),
        ('path "a" {\n  min_wrapping_ttl = [1]\n}', 2),
        ('path "a" {\n  max_wrapping_ttl = "1m"\n  min_wrapping_ttl = "2m"\n}', 2),
        ('path "a" {\n  allowed_parameters = ["a"]\n}', 2),
        ('path "a" {\n  allowed_parameters = {\n    "bar" = "zip"\n  }\n}', 3),
        ('path "a" {\n  allowed_parameters = {\n    "*" = ["zip"]\n  }\n}', 3),
        ('path "a" {\n  required_parameters = { "a" = [] }\n}', 2),
        ('# one\npath "a/+*" {}', 2),
        ('# one\npath "a/{{identity.entity.id}" {}', 2),
        ('# one\npath "a/{{identity.entity.shoe_size}}" {}', 2),
        ('# one\npath "a/{{}}" {}', 2),
        ('# one\npath "a\\u0000b" {}', 2),
        ('# one\npath {\n  capabilities = ["read"]\n}', 3),
        ('# one\npath "a" "b" {}', 2),
        ('# one\npath = "a"', 2),
        ('# one\npaths "a" {}', 2),
        ("name = 1", 1),
        ('path "a" {\n  capabilities = ["read"\n', 3),
        ('{\n  "path": {\n    "a": {"capabilities": ["fly"]}\n  }\n}', 3),
        ('{"path": ', 1),
    ],
)
def test_refusals_name_the_line(text: str, line: int) -> None:
    """Walkthrough F: a policy that does not parse is refused with its line."""
    with pytest.raises(PolicyError) as refused:
        parse_policy("p", text)
    assert refused.value.line == line
    assert str(refused.value).startswith(f"line {line}: ")


def test_size_bound() -> None:
    """A text is read up to the bound, and refused above it before any of it is read."""
    assert parse_policy("p", "#" * POLICY_CHARS_MAX).rules == ()
    with pytest.raises(PolicyError):
        parse_policy("p", "#" * POLICY_CHARS_MAX + "#")


@given(st.text(alphabet='path "a/*+{}[]=,\n#capbilites12\\<&', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    with contextlib.suppress(PolicyError):
        parse_policy("p", text)
