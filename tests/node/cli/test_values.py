"""K=V arguments."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.errors import UsageError
from node.cli.values import parse_data, text_or_file


def no_stdin() -> bytes:
    raise AssertionError("standard input was read")


@given(st.text().filter(lambda value: value != "-" and not value.startswith(("@", "\\@"))))
def test_a_value_is_taken_as_it_is(value: str) -> None:
    """Everything behind the first = is the value."""
    assert parse_data([f"key={value}"], no_stdin) == {"key": value}


def test_files_keep_every_byte(tmp_path: Path) -> None:
    """`cert=@ca.pem` keeps newlines and everything else (walkthrough B)."""
    file = tmp_path / "ca.pem"
    content = "-----BEGIN-----\r\nabc=\n\n  ü\n"
    file.write_bytes(content.encode())
    assert parse_data([f"cert=@{file}"], no_stdin) == {"cert": content}
    assert text_or_file(f"@{file}") == content


def test_stdin_and_literals() -> None:
    """`key=-` is standard input, `\\@` is an @, and a key given twice is a list."""
    assert parse_data(["a=-", "b=\\@x", "c=1", "c=2", "c=3"], lambda: b"in\n") == {
        "a": "in\n",
        "b": "@x",
        "c": ["1", "2", "3"],
    }


def test_json_from_stdin_and_file(tmp_path: Path) -> None:
    """A lone - or @FILE is a whole object."""
    assert parse_data(["-"], lambda: b'{"a": [1, null]}') == {"a": [1, None]}
    file = tmp_path / "body.json"
    file.write_text('{"b": {"c": true}}')
    assert parse_data([f"@{file}"], no_stdin) == {"b": {"c": True}}


@pytest.mark.parametrize("arguments", [["s3cret"], ["=s3cret"], ["a=@/does/not/exist"], ["a=-", "b=-"], ["-"]])
def test_refusals_repeat_no_value(arguments: list[str]) -> None:
    """A value put in the wrong place does not end up on stderr."""
    with pytest.raises(UsageError) as refused:
        parse_data(arguments, lambda: b"[s3cret")
    assert "s3cret" not in str(refused.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """JSON has no bytes, so they are refused instead of altered."""
    file = tmp_path / "key.der"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        parse_data([f"a=@{file}"], no_stdin)
