"""The answer to ?help=1."""

import pytest
from openapi_spec_validator import validate

from engines.common.errors import UnsupportedPath
from engines.common.help import help_for
from engines.registry import engine_for

KV_V2 = engine_for("kv-v2", {})


def test_the_help_of_a_mount_lists_its_paths() -> None:
    """Every pattern is named, and the document holds every path."""
    answer = help_for(KV_V2, "secret/", "")
    text, openapi = answer["help"], answer["openapi"]
    assert isinstance(text, str)
    assert isinstance(openapi, dict)
    assert all(pattern.text in text for pattern in KV_V2.table.patterns)
    assert len(openapi["paths"]) == len(KV_V2.table.patterns) + 1


def test_the_help_of_a_path_is_about_that_path_only() -> None:
    """Its parameters are told, and the document holds nothing else."""
    answer = help_for(KV_V2, "secret/", "data/my/secret")
    text, openapi = answer["help"], answer["openapi"]
    assert isinstance(text, str)
    assert isinstance(openapi, dict)
    assert "Request:        data/my/secret" in text
    assert "version (integer)" in text
    assert list(openapi["paths"]) == ["/secret/data/{path}"]
    validate(openapi)


def test_a_path_that_no_pattern_matches_has_no_help() -> None:
    """It is answered like any request to it."""
    with pytest.raises(UnsupportedPath):
        help_for(KV_V2, "secret/", "nothing/here")
