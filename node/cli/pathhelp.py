"""path-help: what the server says about a path."""

from typing import Final

from node.cli.command import Call, Command
from node.cli.errors import CliError, doing
from node.cli.values import sanitize_path


def _path_help(call: Call) -> None:
    path = sanitize_path(call.args[0])
    with doing("Error retrieving help"):
        answer = call.client.plain("GET", path, query={"help": "1"})
    if not call.printer.is_table:
        call.printer.encoded(answer.get("openapi") or {})
    elif answer.get("help"):
        call.printer.line(str(answer["help"]))
    else:
        raise CliError(f"the server has no help for {path}", 2)


COMMANDS: Final = (
    Command(
        name="path-help",
        summary="Print the help of a path; as json, its OpenAPI document.",
        takes="PATH",
        run=_path_help,
    ),
)
