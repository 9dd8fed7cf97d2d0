"""unwrap: the one use of a wrapping token."""

from typing import Final

from node.cli.command import Call, Command
from node.cli.errors import CliError, doing
from node.cli.logical import show
from node.cli.values import Body


def _unwrap(call: Call) -> None:
    wrapping = call.stdin_line() if call.args[:1] == ["-"] else "".join(call.args[:1]).strip()
    body: Body = {}
    if wrapping and not call.client.token():
        call.client.use_token(wrapping)
    elif wrapping and wrapping != call.client.token():
        # Only where it differs: in header and body it would count as used twice.
        body["token"] = wrapping
    with doing("Error unwrapping"):
        secret = call.client.write("sys/wrapping/unwrap", body)
    if secret is None:
        raise CliError("No secret found in the wrapping token", 2)
    show(call, secret)


COMMANDS: Final = (
    Command(
        name="unwrap",
        summary="Open a wrapping token and print what it holds.",
        detail="Without argument the token in use is the wrapping token.",
        takes="[TOKEN]",
        run=_unwrap,
        field=True,
    ),
)
