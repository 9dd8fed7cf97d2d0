"""print: what this command line would use."""

from typing import Final

from node.cli.command import Call, Command, Group


def _token(call: Call) -> None:
    call.printer.line(call.current_token())


COMMANDS: Final = (
    Group(
        name="print",
        summary="Print what this command line would use.",
        commands=(
            Command(name="token", summary="Print the token that is in use.", run=_token, local=True, formats=False),
        ),
    ),
)
