"""node/policy/acl.py: documented examples, published weaknesses, and agreement with a plain model."""

import json
import timeit
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.common.frame import Operation
from node.policy.acl import Acl
from node.policy.model import Capability, Policy
from node.policy.parse import parse_policy
from tests.node.policy.model import Rules, allows, matches

READ, LIST = Operation.READ, Operation.LIST


def acl_of(*policies: Rules) -> Acl:
    parsed = []
    for number, rules in enumerate(policies):
        blocks = [f"path {json.dumps(path)} {{ capabilities = {json.dumps(sorted(names))} }}" for path, names in rules]
        parsed.append(parse_policy(f"p{number}", "\n".join(blocks)))
    return Acl.of(parsed)


def one(path: str, names: str) -> tuple[str, frozenset[str]]:
    return path, frozenset(names.split())


def may(acl: Acl, operation: Operation, path: str) -> bool:
    return acl.check(operation, path, None, None).allowed


def test_documented_policy() -> None:
    """The detailed example: a broad right, a denial inside it, an exact path with fewer rights."""
    acl = acl_of(
        [
            one("secret/*", "create read update patch delete list"),
            one("secret/super-secret", "deny"),
            one("secret/restricted", "create"),
        ]
    )
    assert all(may(acl, operation, "secret/foo/bar") for operation in Operation)
    assert not any(may(acl, operation, "secret/super-secret") for operation in Operation)
    assert [o for o in Operation if may(acl, o, "secret/restricted")] == [Operation.CREATE]
    assert not may(acl, READ, "other/foo")


@pytest.mark.parametrize(
    ("pattern", "granted", "refused"),
    [
        ("secret/foo", ["secret/foo"], ["secret/food", "secret/foo/bar", "secret"]),
        ("secret/bar/*", ["secret/bar/zip", "secret/bar/zip/zap"], ["secret/bars/zip", "secret/bar"]),
        ("secret/zip-*", ["secret/zip-zap", "secret/zip-zap/zong"], ["secret/zip/zap"]),
        ("secret/+/teamb", ["secret/foo/teamb"], ["secret/foo/bar/teamb"]),
        ("secret/+/+/teamb", ["secret/foo/bar/teamb"], ["secret/foo/teamb"]),
        ("*", ["a", "sys/raw/x"], []),
        ("a/b*c", ["a/b*c"], ["a/bxc"]),  # `*` is a wildcard at the end only
        ("a/b+c", ["a/b+c"], ["a/bxc"]),
    ],
)
def test_documented_patterns(pattern: str, granted: list[str], refused: list[str]) -> None:
    """The examples of "Policy syntax"."""
    acl = acl_of([one(pattern, "read")])
    assert all(may(acl, READ, path) for path in granted)
    assert not any(may(acl, READ, path) for path in refused)


def test_nothing_is_granted_by_default() -> None:
    """No policy and an empty policy grant nothing, and the API calls that `deny`."""
    for acl in (Acl.of([]), acl_of([]), acl_of([one("a", "")])):
        assert not any(may(acl, operation, "a") for operation in Operation)
        assert acl.capabilities("a") == Capability.DENY
        assert acl.capability_names("a") == ["deny"]


def test_union_of_one_pattern_and_denial() -> None:
    """The same pattern in several policies gives the union; a denial in any of them overrides all, sudo included."""
    union = acl_of([one("a", "read")], [one("a", "update sudo")])
    assert union.capability_names("a") == ["read", "sudo", "update"]
    denied = acl_of([one("a", "read sudo")], [one("a", "deny")], [one("a", "update")])
    assert denied.capability_names("a") == ["deny"]
    assert denied.rules()[0] == {"a": Capability.DENY}
    assert not denied.check(READ, "a", None, None, sudo_needed=True).allowed


def test_sudo() -> None:
    """A root-protected path needs sudo beside the capability, and sudo alone is not enough."""
    acl = acl_of([one("sys/audit", "read sudo"), one("sys/seal", "update"), one("sys/raw", "sudo")])
    assert acl.check(READ, "sys/audit", None, None, sudo_needed=True).sudo
    assert not acl.check(Operation.UPDATE, "sys/seal", None, None, sudo_needed=True).allowed
    assert acl.check(Operation.UPDATE, "sys/seal", None, None).allowed
    assert not acl.check(READ, "sys/raw", None, None, sudo_needed=True).allowed


@pytest.mark.parametrize(
    "deny", ["m/priv/*", "m/priv/", "m/priv", "m/priv*", "m/pri*", "+/priv/*", "+/priv/", "+/priv"]
)
def test_cve_2026_63131_list_with_trailing_slash(deny: str) -> None:
    """CVE-2026-63131: the narrower denial holds for a listing in both spellings, however it is written."""
    broad = "+/*" if deny.startswith("+") else "m/*"
    acl = acl_of([one(broad, "list read")], [one(deny, "deny")])
    assert not may(acl, LIST, "m/priv") and not may(acl, LIST, "m/priv/")
    assert Capability.LIST not in acl.capabilities("m/priv") | acl.capabilities("m/priv/")
    assert may(acl, LIST, "m/other") and may(acl, LIST, "m/other/") and may(acl, LIST, "m")


def test_narrower_grants_also_hold_in_both_spellings() -> None:
    """A listing granted inside a broad denial is granted with and without the slash."""
    for pattern in ("m/pub", "m/pub/", "m/pub/*"):
        acl = acl_of([one("m/*", "deny"), one(pattern, "list")])
        assert may(acl, LIST, "m/pub") and may(acl, LIST, "m/pub/")
        assert not may(acl, LIST, "m/other")


def test_one_pattern_in_both_spellings() -> None:
    """Where a folder is named with and without its slash, a denial in either holds for listing it."""
    for denied, granted in (("m/priv", "m/priv/"), ("m/priv/", "m/priv"), ("m/+", "m/+/"), ("m/+/", "m/+")):
        acl = acl_of([one(denied, "deny"), one(granted, "list")])
        assert not may(acl, LIST, "m/priv") and not may(acl, LIST, "m/priv/")


@pytest.mark.parametrize("path", ["m/a/../b", "m/./b", "m//b", "../m", "/m/b", "m/b\x00", "", "m/b\n"])
def test_cve_2026_3605_uncanonical_paths(path: str) -> None:
    """CVE-2026-3605: a path with another reading is denied whatever the policies say, to root as well."""
    for acl in (acl_of([one("*", "create read update patch delete list sudo")]), Acl.of([Policy("root", (), False)])):
        assert not any(may(acl, operation, path) for operation in Operation)
        assert acl.capability_names(path) == ["deny"]


@pytest.mark.parametrize(
    "path", ["secret/data/EXAMPLE", "secret/data/Example", "secret/data/example ", "secret/data/ﬁx"]
)
def test_cve_2026_89322_case_is_kept(path: str) -> None:
    """CVE-2026-89322: paths are compared as they are stored, so another case is another entry with its own rule."""
    acl = acl_of([one("secret/data/*", "read"), one("secret/data/example", "deny"), one("secret/data/fix", "deny")])
    assert not may(acl, READ, "secret/data/example") and not may(acl, READ, "secret/data/fix")
    assert may(acl, READ, path)
    assert not may(acl_of([one("secret/data/example", "read")]), READ, path)


@pytest.mark.parametrize("name", ["../root", "a/../b", ".", " root", "ROOT", "root\t", "ｒｏｏｔ"])
def test_cve_2026_105820_names_are_ignored_at_evaluation(name: str) -> None:
    """CVE-2026-105820: a policy under a name that cannot have been written grants nothing and is never root."""
    granting = parse_policy("p", 'path "*" { capabilities = ["read", "sudo"] }')
    acl = Acl.of([Policy(name, granting.rules, False)])
    assert not acl.is_root and not may(acl, READ, "a")


def test_cve_2020_10661_prefix_ends_at_segments() -> None:
    """A right on a folder says nothing about paths that merely begin like it."""
    assert not may(acl_of([one("ns/a/*", "read")]), READ, "ns/ab/c")


def test_rules_for_the_user_interface() -> None:
    """`rules` has exact patterns and, without their `*`, globs, each with the capabilities of all policies."""
    acl = acl_of(
        [one("a", "read"), one("b/*", "list"), one("c/+/d", "read")], [one("a", "update"), one("e/+/*", "deny")]
    )
    exact, globs = acl.rules()
    assert exact == {"a": Capability.READ | Capability.UPDATE}
    assert globs == {"b/": Capability.LIST, "c/+/d": Capability.READ, "e/+/": Capability.DENY}


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ([one("secret/a", "read")], True),
        ([one("secret/*", "read")], True),
        ([one("sec*", "read")], True),
        ([one("*", "read")], True),
        ([one("+/a", "read")], True),
        ([one("+/a/b*", "read")], True),
        ([one("secret/", "list")], True),
        ([one("secret", "list")], True),
        ([one("secret", "read")], False),
        ([one("secrets/a", "read")], False),
        ([one("other/*", "read")], False),
        ([one("secret/*", "deny")], False),
        ([one("secret/*", "")], False),
        ([one("secret/*", "deny"), one("*", "read")], False),
        ([one("secret/*", "deny"), one("+/a*", "read")], False),
        ([one("secret/*", "deny"), one("secret/a", "read")], True),
        ([one("secret/*", "deny"), one("secret/+", "read")], True),
        ([], False),
    ],
)
def test_may_touch_below(granted: Rules, expected: bool) -> None:
    """A mount is shown to whoever has any right below it that a covering denial does not take away."""
    acl = acl_of(granted)
    assert acl.may_touch_below("secret/") is expected
    assert acl.may_touch_below("secret") is expected


SEGMENT = st.sampled_from(["a", "b", "ab", "+", "a+", "x*y"])
PATTERN = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(SEGMENT, min_size=1, max_size=4),
    st.sampled_from(["", "*", "/", "/*", "/a*"]),
).filter(lambda text: not text.endswith("+*"))
NAMES = st.frozensets(
    st.sampled_from(["create", "read", "update", "patch", "delete", "list", "sudo", "deny"]), max_size=4
)
POLICIES = st.lists(st.lists(st.tuples(PATTERN, NAMES), max_size=8), max_size=4)
PATH = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(st.sampled_from(["a", "b", "ab", "abc", "a+", "+", "x*y"]), min_size=1, max_size=5),
    st.sampled_from(["", "/"]),
)


@settings(max_examples=400, deadline=None)
@given(POLICIES, st.lists(PATH, min_size=1, max_size=8))
def test_agrees_with_the_model(policies: list[Rules], paths: list[str]) -> None:
    """For any policies, paths and operations the compiled Acl decides as the plain model does."""
    acl = acl_of(*policies)
    for path in paths:
        for operation in Operation:
            for sudo_needed in (False, True):
                decided = acl.check(operation, path, None, None, sudo_needed=sudo_needed).allowed
                assert decided == allows(policies, operation, path, sudo_needed=sudo_needed)


@settings(max_examples=200, deadline=None)
@given(POLICIES, PATH)
def test_capabilities_agree_with_check(policies: list[Rules], path: str) -> None:
    """`sys/capabilities` says exactly what a request may do; a listing is judged alike in both spellings."""
    acl = acl_of(*policies)
    capabilities = acl.capabilities(path)
    for operation in Operation:
        assert may(acl, operation, path) == (Capability[operation.name] in capabilities)
    bare = path.removesuffix("/")
    assert may(acl, LIST, bare) == may(acl, LIST, bare + "/")


@settings(max_examples=200, deadline=None)
@given(POLICIES, PATH)
def test_the_order_of_policies_does_not_matter(policies: list[Rules], path: str) -> None:
    """Neither the order of policies nor that of the rules in them changes a decision."""
    turned = [list(reversed(rules)) for rules in reversed(policies)]
    assert acl_of(*policies).capabilities(path) == acl_of(*turned).capabilities(path)


@settings(max_examples=200, deadline=None)
@given(POLICIES, st.sampled_from(["a/", "b/", "a/b/"]), PATH)
def test_a_touchable_path_shows_its_mount(policies: list[Rules], mount: str, rest: str) -> None:
    """Whoever may do anything at some path below a mount is shown the mount."""
    acl = acl_of(*policies)
    if acl.capabilities(mount + rest) != Capability.DENY:
        assert acl.may_touch_below(mount)


def test_cve_2023_5954_requests_leave_nothing_behind() -> None:
    """CVE-2023-5954: judging many different paths does not make an Acl grow."""
    acl = acl_of([one("a/*", "read"), one("+/b/*", "read"), one("c", "read")])
    tracemalloc.start()
    try:
        may(acl, READ, "a/first")
        before, _ = tracemalloc.get_traced_memory()
        for number in range(20_000):
            acl.check(READ, f"a/{number}/b", {f"k{number}": number}, None)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 16_384


def test_a_decision_takes_microseconds() -> None:
    """With 10,000 rules on one token a decision stays far below what a request costs (measured: 2 µs)."""
    patterns = ["secret/data/t{}/*", "kv/+/t{}/*", "db/creds/t{}", "m/t{}*"]
    acl = acl_of([one(pattern.format(number), "read") for number in range(2500) for pattern in patterns])
    for path in ("secret/data/t77/x/y", "kv/eu/t77/x", "db/creds/t77", "m/t77", "none/of/these"):
        best_s = min(timeit.repeat(lambda path=path: may(acl, READ, path), number=100, repeat=20)) / 100  # type: ignore[misc]
        assert best_s < 50e-6


def test_the_model_matches_as_documented() -> None:
    """The model itself is held to the documented examples."""
    assert matches("secret/+/teamb", "secret/foo/teamb") and not matches("secret/+/teamb", "secret/a/b/teamb")
    assert matches("secret/zip-*", "secret/zip-zap/zong") and not matches("secret/bar/*", "secret/bars/zip")
