"""Where the token is kept."""

from pathlib import Path

import pytest

from node.cli.errors import CliError
from node.cli.token_helper import token_helper

SCRIPT = """#!/bin/sh
case "$1" in
  get) cat "$0.kept" 2>/dev/null || true ;;
  store) cat > "$0.kept" ;;
  erase) rm -f "$0.kept" ;;
esac
"""


def test_the_file_is_private_and_its_text_is_the_token(tmp_path: Path) -> None:
    """~/.vault-token is mode 0600 even where an older one was not, and a link there is not followed."""
    kept = tmp_path / ".vault-token"
    other = tmp_path / "other"
    other.write_text("x")
    kept.symlink_to(other)
    helper = token_helper({"HOME": str(tmp_path)})
    helper.store("hvs.abc")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert other.read_text() == "x"
    assert helper.get() == "hvs.abc"
    kept.write_text("hvs.def\n")
    assert helper.get() == "hvs.def"
    helper.erase()
    helper.erase()
    assert helper.get() == ""
    assert [file.name for file in tmp_path.iterdir()] == ["other"]


def test_a_program_of_the_user(tmp_path: Path) -> None:
    """token_helper in ~/.vault names a program; it gets, stores and erases through its pipes."""
    program = tmp_path / "helper"
    program.write_text(SCRIPT)
    program.chmod(0o700)
    (tmp_path / ".vault").write_text(f'# mine\ntoken_helper = "{program}"\n')
    helper = token_helper({"HOME": str(tmp_path)})
    assert helper.get() == ""
    helper.store("hvs.abc")
    assert helper.get() == "hvs.abc"
    assert not (tmp_path / ".vault-token").exists()
    helper.erase()
    assert helper.get() == ""


def test_failures_of_a_program_name_no_token(tmp_path: Path) -> None:
    """A failing or missing program is an error of one line."""
    config = tmp_path / "config"
    config.write_text('token_helper = "/bin/false"')
    environ = {"HOME": str(tmp_path), "VAULT_CONFIG_PATH": str(config)}
    with pytest.raises(CliError, match="failed to store") as refused:
        token_helper(environ).store("hvs.s3cret")
    assert "s3cret" not in str(refused.value)
    config.write_text('token_helper = "helper"')
    with pytest.raises(CliError, match="absolute path"):
        token_helper(environ)
    config.write_text('token_helper = "/no/such/program"')
    with pytest.raises(CliError, match="cannot run"):
        token_helper(environ).get()
