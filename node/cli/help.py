"""Help texts, made from the same declarations that parse the command line."""

import textwrap
from collections.abc import Sequence

from node.cli.command import Command, Group
from node.cli.flags import Flag

WIDTH = 80


def command_help(command: Command, words: Sequence[str]) -> str:
    """Usage, what the command does, and every option with its default."""
    parts = [f"Usage: strongroom {' '.join(words)} [options] {command.takes}".rstrip(), _wrapped(command.summary, 2)]
    if command.detail:
        parts.append(_wrapped(command.detail, 2))
    for heading, group in command.groups:
        parts.append(f"{heading}:")
        parts.extend(_flag_help(one) for one in group)
    return "\n\n".join(parts)


def group_help(group: Group, words: Sequence[str]) -> str:
    """The commands of a group, one a line."""
    lines = [f"Usage: strongroom {' '.join(words)} <subcommand> [options] [args]", "", _wrapped(group.summary, 2), ""]
    return "\n".join([*lines, "Subcommands:", *listing([(one.name, one.summary) for one in group.commands])])


def listing(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and summaries in two columns."""
    width = max(len(name) for name, _ in rows)
    return [f"    {name.ljust(width)}    {summary}" for name, summary in sorted(rows)]


def _flag_help(one: Flag) -> str:
    names = ", ".join(f"-{name}" for name in (one.name, *one.aliases))
    head = f"  {names}" if one.switch else f"  {names}=<{'value' if not one.repeats else 'value, repeatable'}>"
    text = one.help
    if one.shown_default and one.shown_default not in ("false",):
        text += f" The default is {one.shown_default}."
    elif one.switch:
        text += " The default is false."
    if one.env:
        text += f" This can also be specified via the {one.env} environment variable."
    return f"{head}\n{_wrapped(text, 6)}"


def _wrapped(text: str, indent: int) -> str:
    margin = " " * indent
    paragraphs = text.split("\n\n")
    return "\n\n".join(textwrap.fill(one, WIDTH, initial_indent=margin, subsequent_indent=margin) for one in paragraphs)
