"""engines/database/username.py: the documented functions, the documented default shapes, and clear refusals."""

import hashlib
import re

import pytest

from engines.common.errors import InvalidRequest
from engines.database.plugins import plugin_of
from engines.database.username import parse_template
from tests.engines.memory_view import FixedSources

FIELDS = {"DisplayName": "userpass-alice", "RoleName": "my-long-role"}


def made(template: str) -> str:
    return parse_template(template).render(FIELDS, FixedSources())


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{{random 20}}", r"[a-zA-Z0-9]{20}"),
        ("{{.DisplayName | truncate 8}}", "userpass"),
        ("{{.RoleName | uppercase}}", "MY-LONG-ROLE"),
        ('{{"ABC" | lowercase}}', "abc"),
        ('{{.RoleName | replace "-" "_"}}', "my_long_role"),
        ('{{"a" | sha256}}', hashlib.sha256(b"a").hexdigest()),
        ('{{"a" | base64}}', "YQ=="),
        ('{{timestamp "2006-01-02T15:04:05Z"}}', r"2026-11-21T20:00:00Z"),
        ("{{unix_time}}", "1795291200"),
        ("{{unix_time_millis}}", "1795291200123"),
        ("{{uuid}}", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ('{{ printf "%s_%s" (.RoleName | truncate 2) (random 3) }}', "my_[a-zA-Z0-9]{3}"),
        ("x-{{- .RoleName -}} -y", "x-my-long-role-y"),
    ],
)
def test_documented_functions(template: str, pattern: str) -> None:
    """Each function alone and in a pipe."""
    assert re.fullmatch(pattern, made(template)), made(template)


def test_truncate_sha256_hashes_what_it_cuts_off() -> None:
    """The last eight characters are the hash of the characters that went."""
    cut = hashlib.sha256(b"ss-alice").hexdigest()[:8]
    assert made("{{.DisplayName | truncate_sha256 14}}") == "userpass-alice"
    assert made("{{.DisplayName | truncate_sha256 13}}") == "userp" + hashlib.sha256(b"ass-alice").hexdigest()[:8]
    assert made('{{"userpass-alice" | truncate_sha256 14}}') != "userpa" + cut


@pytest.mark.parametrize(
    ("plugin", "pattern", "most"),
    [
        ("postgresql-database-plugin", r"v-userpass-my-long--[a-zA-Z0-9]{20}-\d{10}", 63),
        ("mysql-database-plugin", r"v-userpass-a-my-long-ro-[a-zA-Z0-9]{8}", 32),
        ("mysql-legacy-database-plugin", r"v-my-l-[a-zA-Z0-9]{9}", 16),
    ],
)
def test_default_names_have_the_documented_shape(plugin: str, pattern: str, most: int) -> None:
    """Parts and lengths per kind of database."""
    name = made(plugin_of(plugin).username_template)
    assert re.fullmatch(pattern, name), name
    assert len(name) <= most


@pytest.mark.parametrize(
    "template",
    [
        *(
            "{{",
            "{{random",
            "{{nothing}}",
            "{{random 20}",
            "{{(random 20}}",
            "{{.A | }}",
            "{{| truncate 2}}",
            "{{'a'}}",
        ),
        *(
            "{{random -1}}",
            "{{random}}",
            "{{truncate 8}}",
            '{{random "a"}}',
            "{{.Nothing}}",
            "{{''}}",
            "{{if .A}}x{{end}}",
        ),
        *('{{printf "%s"}}', "{{random 999999999999}}", "{{" + "(" * 50 + "1" + ")" * 50 + "}}"),
    ],
)
def test_templates_that_do_not_parse_are_refused(template: str) -> None:
    """With a text that says so, at the latest when they are used."""
    with pytest.raises(InvalidRequest, match="username_template"):
        made(template)
