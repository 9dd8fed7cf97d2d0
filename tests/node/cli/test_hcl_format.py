"""policy fmt: canonical layout that changes nothing but space."""

from pathlib import Path

import pytest

from node.cli.hcl_format import format_hcl
from tests.node.cli.conftest import Terminal

LOOSE = """
# team
path   "secret/data/*"   {
capabilities=["read","list"]   // both
    min_wrapping_ttl   =  "1s"
      allowed_parameters={
  "a"=["b"  ,"c = {"]
  }



}
/* two
   lines */
path "x" { capabilities = ["deny"] }
"""
CANONICAL = """\
# team
path "secret/data/*" {
  capabilities     = ["read", "list"] // both
  min_wrapping_ttl = "1s"
  allowed_parameters = {
    "a" = ["b", "c = {"]
  }
}
/* two
   lines */
path "x" { capabilities = ["deny"] }
"""


def test_layout() -> None:
    """Two spaces a level, aligned =, no spare blank lines; strings and comments are left alone."""
    assert format_hcl(LOOSE) == CANONICAL
    assert format_hcl(CANONICAL) == CANONICAL


def test_policy_fmt(sr: Terminal, tmp_path: Path) -> None:
    """The file is rewritten in place."""
    file = tmp_path / "p.hcl"
    file.write_text(LOOSE)
    assert sr("policy", "fmt", str(file)).out == f"Success! Formatted policy: {file}\n"
    assert file.read_text() == CANONICAL


@pytest.mark.parametrize("text", ['path "a" {', 'path "a" { capabilities = }', "}"])
def test_policy_fmt_of_what_does_not_parse(sr: Terminal, tmp_path: Path, text: str) -> None:
    """It is refused with its line, and the file stays as it was."""
    file = tmp_path / "p.hcl"
    file.write_text(text)
    result = sr("policy", "fmt", str(file))
    assert result.code == 1
    assert result.err.startswith("Failed to parse policy: line 1: ")
    assert file.read_text() == text
    assert sr("policy", "fmt", str(tmp_path / "none")).code == 1
