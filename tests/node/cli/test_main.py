"""From a command line to an exit code: help, unknown words, argument counts, faults."""

import importlib
from collections.abc import Iterator

import pytest

from node.cli.command import Command, Group
from node.cli.main import TOP
from tests.node.cli.conftest import FakeNode, Terminal


def commands() -> Iterator[tuple[tuple[str, ...], Command | Group]]:
    """Every command and group with its words."""

    def below(words: tuple[str, ...], one: Command | Group) -> Iterator[tuple[tuple[str, ...], Command | Group]]:
        yield words, one
        if isinstance(one, Group):
            for inner in one.commands:
                yield from below((*words, inner.name), inner)

    for name, (module, _) in TOP.items():
        found = [one for one in importlib.import_module(f"node.cli.{module}").COMMANDS if one.name == name]
        assert len(found) == 1
        yield from below((name,), found[0])


ALL = list(commands())


@pytest.mark.parametrize(("words", "one"), ALL, ids=[" ".join(words) for words, _ in ALL])
@pytest.mark.parametrize("asked", ["-h", "-help", "--help"])
def test_every_command_has_help(sr: Terminal, words: tuple[str, ...], one: Command | Group, asked: str) -> None:
    """Help goes to stdout with exit code 0 and names every option."""
    result = sr(*words, asked)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: strongroom {' '.join(words)}")
    if isinstance(one, Command):
        assert all(f"-{flag.name}" in result.out for flag in one.all_flags)
    else:
        assert all(inner.name in result.out for inner in one.commands)


@pytest.mark.parametrize(("words", "one"), [entry for entry in ALL if isinstance(entry[1], Group)])
def test_a_group_alone_prints_its_help(sr: Terminal, words: tuple[str, ...], one: Command | Group) -> None:
    """A group without, or with an unknown, subcommand is exit code 1."""
    for line in (words, (*words, "nope")):
        result = sr(*line)
        assert (result.code, result.out) == (1, "")
        assert "Subcommands:" in result.err


@pytest.mark.parametrize(("words", "one"), [entry for entry in ALL if isinstance(entry[1], Command)])
def test_no_flag_is_declared_twice(words: tuple[str, ...], one: Command | Group) -> None:
    """A spelling means one thing in one command."""
    assert isinstance(one, Command)
    names = [name for flag in one.all_flags for name in (flag.name, *flag.aliases)]
    assert len(names) == len(set(names))


def test_unknown_top_command(sr: Terminal) -> None:
    """An unknown first word is exit code 127, and so is none."""
    assert sr("nope").code == 127
    assert sr().code == 127
    assert "kv" in sr("-help").out
    assert sr("help", "kv", "get").out == sr("kv", "get", "-help").out


def test_argument_counts(sr: Terminal, node: FakeNode) -> None:
    """Wrong counts are refused in the documented words before anything is sent."""
    few, many = sr("read"), sr("status", "x")
    assert (few.code, few.err) == (1, "Not enough arguments (expected 1, got 0)\n")
    assert (many.code, many.err) == (1, "Too many arguments (expected 0, got 1)\n")
    assert sr("read", "-nope", "x").err == "flag provided but not defined: -nope\n"
    wrong = sr("read", "-format=xml", "x")
    assert (wrong.code, wrong.err) == (1, "Invalid output format: xml\n")
    assert node.received == []


def test_version(sr: Terminal) -> None:
    """The line scripts match on: Vault, a v, and the API level first."""
    for words in (("version",), ("-version",), ("-v",), ("--version",)):
        assert sr(*words).out.startswith("Vault v1.18.0+strongroom.")


def test_a_fault_of_this_program_is_one_line(sr: Terminal, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2026-55102: an unexpected exception shows where, never what."""

    def broken(*_: object) -> None:
        raise KeyError("hvs.s3cret")

    monkeypatch.setattr("node.cli.client.Client.read", broken)
    result = sr("read", "secret/x")
    assert result.code == 1
    assert result.err.startswith("Internal error in strongroom: KeyError at test_main.py:")
    assert "s3cret" not in result.err + result.out
    assert result.err.count("\n") == 1


def test_print_token(sr: Terminal) -> None:
    """The variable beats the helper."""
    (sr.home / ".vault-token").write_text("hvs.kept")
    assert sr("print", "token").out == "hvs.test\n"
    del sr.environ["VAULT_TOKEN"]
    assert sr("print", "token").out == "hvs.kept\n"
