"""From a command line to an exit code."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from node.cli.errors import EXIT_LOCAL, EXIT_UNKNOWN_COMMAND, CliError, DryRun, RemoteError

if TYPE_CHECKING:
    from node.cli.command import Command, Group, Surroundings

TOP: Final[dict[str, tuple[str, str]]] = {
    "audit": ("audit", "Interact with audit devices"),
    "auth": ("auth", "Interact with auth methods"),
    "delete": ("logical", "Delete secrets and configuration"),
    "kv": ("kv", "Interact with the key-value store"),
    "lease": ("lease", "Interact with leases"),
    "list": ("logical", "List data or secrets"),
    "login": ("login", "Authenticate locally"),
    "monitor": ("monitor", "Stream log messages of a server"),
    "operator": ("operator", "Perform operator-specific tasks"),
    "patch": ("logical", "Patch data, configuration and secrets"),
    "path-help": ("pathhelp", "Retrieve help for a path"),
    "plugin": ("plugin", "Interact with plugins"),
    "policy": ("policy", "Interact with policies"),
    "print": ("printing", "Print runtime configuration"),
    "read": ("logical", "Read data and retrieve secrets"),
    "secrets": ("secrets", "Interact with secrets engines"),
    "server": ("server", "Start a server"),
    "status": ("status", "Print seal and HA status"),
    "token": ("token", "Interact with tokens"),
    "unwrap": ("wrapping", "Unwrap a wrapped secret"),
    "version": ("version", "Print the version of this program"),
    "version-history": ("version", "Print the version history of the server"),
    "write": ("logical", "Write data, configuration and secrets"),
}
"""The module of node.cli that holds each top command, and its line in the help."""
HELP_WORDS: Final = frozenset(("-h", "-help", "--help"))
VERSION_WORDS: Final = frozenset(("-v", "-version", "--version"))


def main(argv: Sequence[str] | None = None, around: "Surroundings | None" = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 wrong here, 2 refused there, 127 no such command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if around is None:
        from node.cli.command import process_surroundings

        around = process_surroundings()
    try:
        code = _dispatch(words, around)
        around.stdout.flush()
        return code
    except CliError as error:
        print(error, file=around.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_LOCAL
    except BrokenPipeError:
        # Whoever read the output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_LOCAL
    except Exception as error:
        # A fault of this program. Neither its message nor a traceback is shown: both may repeat a token or a body.
        print(f"Internal error in strongroom: {_place(error)}; please report it", file=around.stderr)
        return EXIT_LOCAL


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "unknown place"  # noqa: PTH119
    return f"{type(error).__name__} at {where}"


def _dispatch(words: list[str], around: "Surroundings") -> int:
    if not words:
        print(_top_help(), file=around.stderr)
        return EXIT_UNKNOWN_COMMAND
    if words[0] in HELP_WORDS or words == ["help"]:
        print(_top_help(), file=around.stdout)
        return 0
    if words[0] in VERSION_WORDS:
        words = ["version"]
    if words[0] == "help":
        words = [*words[1:], "-help"]
    if words[0] not in TOP:
        print(_top_help(), file=around.stderr)
        return EXIT_UNKNOWN_COMMAND
    return _descend(_load(words[0]), words, around)


def _load(name: str) -> "Command | Group":
    commands: tuple[Command | Group, ...] = importlib.import_module(f"node.cli.{TOP[name][0]}").COMMANDS
    return next(one for one in commands if one.name == name)


def _descend(node: "Command | Group", words: list[str], around: "Surroundings") -> int:
    from node.cli.command import Group

    depth = 1
    while isinstance(node, Group):
        word = words[depth] if len(words) > depth else ""
        below = next((one for one in node.commands if one.name == word), None)
        if below is None:
            from node.cli.help import group_help

            asked = word in HELP_WORDS
            print(group_help(node, words[:depth]), file=around.stdout if asked else around.stderr)
            return 0 if asked else EXIT_LOCAL
        node = below
        depth += 1
    return _run(node, words[:depth], words[depth:], around)


def _run(command: "Command", name: list[str], words: list[str], around: "Surroundings") -> int:
    from node.cli.command import Call
    from node.cli.flags import parse

    if HELP_WORDS & set(words[: words.index("--")] if "--" in words else words):
        from node.cli.help import command_help

        print(command_help(command, name), file=around.stdout)
        return 0
    values, arguments = parse(command.all_flags, words, around.environ)
    command.check_count(arguments)
    call = Call(flags=values, args=arguments, around=around)
    try:
        return command.run(call) or 0
    except RemoteError as error:
        error.exit_code = command.exit_remote
        raise
    except DryRun as shown:
        print(shown, file=around.stdout)
        return 0


def _top_help() -> str:
    from node.cli.help import listing

    return "\n".join(
        [
            "Usage: strongroom <command> [args]",
            "",
            "Commands:",
            *listing([(name, summary) for name, (_, summary) in TOP.items()]),
        ]
    )
