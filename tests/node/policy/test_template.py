"""node/policy/template.py: each documented parameter, and values that may never widen a rule."""

import pytest

from node.policy.acl import Acl
from node.policy.model import Subject, SubjectAlias, SubjectGroup
from node.policy.parse import parse_policy
from node.policy.template import fill, template_fault

ALICE = Subject(
    entity_id="e-1",
    entity_name="alice",
    metadata={"team": "blue", "a.b": "dotted", "empty": ""},
    aliases={
        "auth_userpass_1": SubjectAlias(alias_id="al-1", name="alice@up", metadata={"k": "up"}),
        "auth_userpass_2": SubjectAlias(alias_id="al-2", name="alice@2", custom_metadata={"k.l": "two"}),
    },
    groups=(
        SubjectGroup(group_id="g-1", name="ops", metadata={"floor": "3"}),
        SubjectGroup(group_id="g-2", name="dev.eu", metadata={"floor": "4"}),
    ),
)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("identity.entity.id", "e-1"),
        (" identity.entity.name ", "alice"),
        ("identity.entity.metadata.team", "blue"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.aliases.auth_userpass_1.id", "al-1"),
        ("identity.entity.aliases.auth_userpass_1.name", "alice@up"),
        ("identity.entity.aliases.auth_userpass_1.metadata.k", "up"),
        ("identity.entity.aliases.auth_userpass_2.custom_metadata.k.l", "two"),
        ("identity.groups.ids.g-1.name", "ops"),
        ("identity.groups.ids.g-2.metadata.floor", "4"),
        ("identity.groups.names.ops.id", "g-1"),
        ("identity.groups.names.dev.eu.id", "g-2"),
        ("identity.groups.names.dev.eu.metadata.floor", "4"),
    ],
)
def test_documented_parameters(parameter: str, value: str) -> None:
    """Each parameter of the documentation's table is replaced by its value, in place."""
    pattern = f"secret/{{{{{parameter}}}}}/x-{{{{identity.entity.id}}}}/*"
    assert template_fault(pattern) is None
    assert fill(pattern, ALICE) == f"secret/{value}/x-e-1/*"


@pytest.mark.parametrize(
    "parameter",
    [
        "identity.entity.metadata.absent",
        "identity.entity.metadata.empty",
        "identity.entity.aliases.auth_ldap_9.name",
        "identity.entity.aliases.auth_userpass_1.metadata.absent",
        "identity.entity.aliases.auth_userpass_1.custom_metadata.k",
        "identity.groups.ids.g-9.name",
        "identity.groups.names.other.id",
        "identity.groups.names.ops.metadata.absent",
    ],
)
def test_a_missing_value_removes_the_rule(parameter: str) -> None:
    """Without its value a rule matches nothing, rather than everything under its start."""
    assert fill(f"secret/{{{{{parameter}}}}}*", ALICE) is None
    policy = parse_policy("p", f'path "secret/{{{{{parameter}}}}}*" {{ capabilities = ["read"] }}')
    acl = Acl.of([policy], ALICE)
    assert acl.capability_names("secret/") == acl.capability_names("secret/x") == ["deny"]


def test_without_a_subject_templated_rules_vanish() -> None:
    """A token without an entity has the untemplated rules only."""
    policy = parse_policy("p", 'path "a/{{identity.entity.id}}" { policy = "read" }\npath "b" { policy = "read" }')
    exact, globs = Acl.of([policy]).rules()
    assert (list(exact), list(globs)) == (["b"], [])


@pytest.mark.parametrize(
    "value", ["*", "+", "a/b", "a,b", "x*", "..", ".", "a\nb", "a\x00", "{{identity.entity.id}}", "\\"]
)
@pytest.mark.parametrize("pattern", ["secret/{0}/*", "secret/{0}", "secret/x{0}"])
def test_cve_2026_71543_metacharacters(value: str, pattern: str) -> None:
    """CVE-2026-71543: a value that holds a wildcard, a separator or a traversal makes its rule match nothing."""
    subject = Subject(entity_id="e", entity_name=value, metadata={"m": value})
    for parameter in ("identity.entity.name", "identity.entity.metadata.m"):
        text = pattern.replace("{0}", f"{{{{{parameter}}}}}")
        policy = parse_policy("p", f'path "{text}" {{ capabilities = ["read", "list"] }}')
        acl = Acl.of([policy], subject)
        paths = [
            "secret/",
            "secret/a",
            "secret/a/b",
            "secret/e",
            "secret/x",
            "secret/xa",
            "secret/a/b/c",
            f"secret/{value}",
        ]
        assert all(acl.capability_names(path) == ["deny"] for path in paths)


def test_cve_2021_43998_the_alias_of_the_mount_named() -> None:
    """CVE-2021-43998: with an alias at each of two mounts, a rule gets that of the mount it names."""
    assert fill("{{identity.entity.aliases.auth_userpass_2.name}}", ALICE) == "alice@2"
    assert fill("{{identity.entity.aliases.auth_userpass_1.name}}", ALICE) == "alice@up"


def test_values_are_not_expanded_again() -> None:
    """A pattern is filled once, from left to right; what is put in is never read as a template."""
    subject = Subject(entity_id="e", entity_name="{{identity.entity.id}}")
    assert fill("a/{{identity.entity.name}}", subject) is None


@pytest.mark.parametrize("pattern", ["{{identity.entity.id", "identity}}", "{{a}}", "{{identity.groups.ids.g}}"])
def test_templates_that_can_never_be_filled(pattern: str) -> None:
    """They are told to the author, who would otherwise think the rule in force."""
    assert template_fault(pattern)
