"""node/policy/limits.py: parameters and wrapping times, as each example of the documentation has them."""

import pytest

from engines.common.frame import Operation
from node.policy.acl import Acl
from node.policy.parse import parse_policy

CREATE, UPDATE, PATCH = Operation.CREATE, Operation.UPDATE, Operation.PATCH
Body = dict[str, object]


def admits(rule: str, body: Body | None, operation: Operation = CREATE, wrap_ttl_s: int | None = None) -> bool:
    capabilities = 'capabilities = ["create", "read", "update", "patch", "delete", "list"]'
    acl = Acl.of([parse_policy("p", f'path "secret/foo" {{\n{capabilities}\n{rule}\n}}')])
    return acl.check(operation, "secret/foo", body, wrap_ttl_s).allowed


@pytest.mark.parametrize(
    ("rule", "body", "expected"),
    [
        ('required_parameters = ["bar", "baz"]', {"bar": 1, "baz": 2, "more": 3}, True),
        ('required_parameters = ["bar", "baz"]', {"bar": 1}, False),
        ('required_parameters = ["bar"]', None, False),
        ('allowed_parameters = { "bar" = [] }', {"bar": "any"}, True),
        ('allowed_parameters = { "bar" = [] }', {"bar": "any", "other": 1}, False),
        ('allowed_parameters = { "bar" = [] }', {}, True),
        ('allowed_parameters = { "bar" = ["zip", "zap"] }', {"bar": "zap"}, True),
        ('allowed_parameters = { "bar" = ["zip", "zap"] }', {"bar": "zop"}, False),
        ('allowed_parameters = { "bar" = ["zip", "zap"] "*" = [] }', {"bar": "zip", "other": 1}, True),
        ('allowed_parameters = { "bar" = ["zip", "zap"] "*" = [] }', {"bar": "zop", "other": 1}, False),
        ('allowed_parameters = { "*" = [] }', {"anything": 1}, True),
        ('allowed_parameters = { "bar" = ["foo-*"] }', {"bar": "foo-1"}, True),
        ('allowed_parameters = { "bar" = ["foo-*"] }', {"bar": "fo"}, False),
        ('allowed_parameters = { "bar" = ["*-foo"] }', {"bar": "1-foo"}, True),
        ('allowed_parameters = { "bar" = ["*foo*"] }', {"bar": "a-foo-b"}, True),
        ('allowed_parameters = { "bar" = ["baz/*"] }', {"bar": "baz/quux,wibble"}, True),
        ('denied_parameters = { "bar" = [] }', {"bar": 1}, False),
        ('denied_parameters = { "bar" = [] }', {"other": 1}, True),
        ('denied_parameters = { "bar" = ["zip", "zap"] }', {"bar": "zip"}, False),
        ('denied_parameters = { "bar" = ["zip", "zap"] }', {"bar": "zop"}, True),
        ('denied_parameters = { "*" = [] }', {"bar": 1}, False),
        ('denied_parameters = { "*" = [] }', {}, True),
        ('allowed_parameters = { "*" = [] }\ndenied_parameters = { "bar" = [] }', {"bar": 1}, False),
        ('denied_parameters = { "no_store" = [false, "false"] }', {"no_store": False}, False),
        ('denied_parameters = { "no_store" = [false, "false"] }', {"no_store": "false"}, False),
        ('denied_parameters = { "no_store" = [false, "false"] }', {"value": "bar"}, True),
        ('required_parameters = ["no_store"]\ndenied_parameters = { "no_store" = [false] }', {"value": "b"}, False),
    ],
)
def test_documented_examples(rule: str, body: Body | None, expected: bool) -> None:
    """Each example of "Parameter constraints", for every operation that carries a body."""
    assert all(admits(rule, body, operation) is expected for operation in (CREATE, UPDATE, PATCH))


@pytest.mark.parametrize("operation", [Operation.READ, Operation.DELETE, Operation.LIST])
def test_other_operations_have_no_parameters(operation: Operation) -> None:
    """Parameters are judged where a body is written; reading does not need the required ones."""
    assert admits('required_parameters = ["bar"]\ndenied_parameters = { "*" = [] }', {"x": 1}, operation)


@pytest.mark.parametrize(
    ("listed", "value", "equal"),
    [
        ("1", 1, True),
        ("1", 1.0, True),
        ("1", True, False),
        ("1", "1", False),
        ("true", True, True),
        ("true", 1, False),
        ('"1"', 1, False),
        ('["a", "b"]', ["a", "b"], True),
        ('["a", "b"]', ["b", "a"], False),
        ('["a*"]', ["ab"], False),
        ('["a", 1]', ["a", True], False),
        ("{ x = [1] }", {"x": [1]}, True),
        ("{ x = 1 }", {"x": 1, "y": 2}, False),
        ('"a"', None, False),
    ],
)
def test_values_compare_as_json(listed: str, value: object, equal: bool) -> None:
    """Numbers by value, truth values only with themselves, lists and objects as a whole."""
    assert admits(f'allowed_parameters = {{ "bar" = [{listed}] }}', {"bar": value}) is equal
    assert admits(f'denied_parameters = {{ "bar" = [{listed}] }}', {"bar": value}) is not equal


def test_lists_by_element() -> None:
    """A denied value is not let through by listing another beside it; an allowed list has only allowed elements."""
    assert not admits('denied_parameters = { "policies" = ["admin"] }', {"policies": ["dev", "admin"]})
    assert not admits('denied_parameters = { "policies" = ["adm*"] }', {"policies": [["admin"]]})
    assert admits('allowed_parameters = { "policies" = ["dev", "ops-*"] }', {"policies": ["ops-1", "dev"]})
    assert not admits('allowed_parameters = { "policies" = ["dev"] }', {"policies": ["dev", "admin"]})
    assert not admits('allowed_parameters = { "policies" = ["dev"] }', {"policies": []})


def test_names_fold_case() -> None:
    """CVE-2026-89322: another case of a denied parameter is the same parameter."""
    assert not admits('denied_parameters = { "Bar" = [] }', {"bar": 1})
    assert not admits('denied_parameters = { "bar" = [] }', {"BAR": 1})
    assert not admits('required_parameters = ["bar"]', {"BAR": 1})
    assert admits('required_parameters = ["Bar"]', {"bar": 1})


@pytest.mark.parametrize(
    ("rule", "wrap_ttl_s", "expected"),
    [
        ('min_wrapping_ttl = "1s"\nmax_wrapping_ttl = "90s"', None, False),
        ('min_wrapping_ttl = "1s"\nmax_wrapping_ttl = "90s"', 1, True),
        ('min_wrapping_ttl = "1s"\nmax_wrapping_ttl = "90s"', 90, True),
        ('min_wrapping_ttl = "1s"\nmax_wrapping_ttl = "90s"', 91, False),
        ("min_wrapping_ttl = 60", 59, False),
        ("min_wrapping_ttl = 60", 60, True),
        ("max_wrapping_ttl = 60", None, False),
        ("max_wrapping_ttl = 60", 0, False),
        ("", None, True),
        ("", 10**6, True),
    ],
)
def test_wrapping_times(rule: str, wrap_ttl_s: int | None, expected: bool) -> None:
    """A minimum or a maximum makes wrapping mandatory; both bounds are allowed values. True for every operation."""
    assert all(admits(rule, None, operation, wrap_ttl_s) is expected for operation in Operation)


def merged(*rules: str) -> Acl:
    texts = [f'path "a" {{\ncapabilities = ["create"]\n{rule}\n}}' for rule in rules]
    return Acl.of([parse_policy(f"p{i}", text) for i, text in enumerate(texts)])


@pytest.mark.parametrize("order", [1, -1])
def test_merging(order: int) -> None:
    """Of one path in several policies: values are united, an empty list is every value, times are the lowest set."""

    def may(rules: list[str], body: Body, wrap_ttl_s: int | None = None) -> bool:
        return merged(*rules[::order]).check(CREATE, "a", body, wrap_ttl_s).allowed

    allowed = ['allowed_parameters = { "x" = ["1"] }', 'allowed_parameters = { "x" = ["2"] "y" = [] }']
    assert may(allowed, {"x": "1", "y": 0}) and may(allowed, {"x": "2"}) and not may(allowed, {"x": "3"})
    anything = ['allowed_parameters = { "x" = ["1"] }', 'allowed_parameters = { "x" = [] }']
    assert may(anything, {"x": "3"})
    denied = ['denied_parameters = { "x" = ["1"] }', 'denied_parameters = { "x" = [] }']
    assert not may(denied, {"x": "3"})
    required = ['required_parameters = ["x"]', 'required_parameters = ["y"]']
    assert may(required, {"x": 1, "y": 1}) and not may(required, {"x": 1})
    times = ["min_wrapping_ttl = 10\nmax_wrapping_ttl = 60", "min_wrapping_ttl = 20\nmax_wrapping_ttl = 30", ""]
    assert may(times, {}, 10) and may(times, {}, 30) and not may(times, {}, 31) and not may(times, {}, 9)
