"""read, write, list, delete and patch: any path of the API."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import CliError, UsageError, doing
from node.cli.secret import Secret
from node.cli.values import Body, parse_data, parse_strings, sanitize_path, with_slash

FORCE: Final = flags.switch("force", "Allow the request to carry no data.", aliases=("f",))


def show(call: Call, secret: Secret) -> None:
    """Print an answer, or the one field of it that was asked for."""
    if call.field_name:
        from node.cli.output import secret_field

        call.printer.field(secret_field(secret, call.field_name), call.field_name)
    else:
        call.printer.secret(secret)


def show_or_say(call: Call, secret: Secret | None, message: str) -> None:
    """Print an answer, or what was done when there is none.

    Raises:
        UsageError: A field was asked for, and there is no answer to hold it.
    """
    if secret is None:
        if call.field_name:
            call.printer.field(None, call.field_name)
        if call.printer.is_table:
            call.printer.line(message)
    else:
        show(call, secret)


def list_keys(call: Call, path: str, missing: str) -> None:
    """Print the names under a path. Raises CliError when there are none."""
    with doing(f"Error listing {path}"):
        secret = call.client.list(path)
    if secret is not None and secret.wrap_info is not None:
        show(call, secret)
        return
    keys = (secret.data or {}).get("keys") if secret else None
    if not isinstance(keys, list) or not keys:
        raise CliError(f"No value found at {missing}", 2)
    call.printer.warnings(secret.warnings if secret and call.printer.is_table else ())
    call.printer.keys([str(key) for key in keys])


def _read(call: Call) -> None:
    path = sanitize_path(call.args[0])
    query = parse_strings(call.args[1:], call.stdin_bytes)
    with doing(f"Error reading {path}"):
        secret = call.client.read(path, query)
    if secret is None:
        raise CliError(f"No value found at {path}", 2)
    show(call, secret)


def _body(call: Call) -> Body:
    if len(call.args) == 1 and not call.flags.switch("force"):
        raise UsageError("Must supply data or use -force")
    return parse_data(call.args[1:], call.stdin_bytes)


def _write(call: Call) -> None:
    path = sanitize_path(call.args[0])
    body = _body(call)
    with doing(f"Error writing data to {path}"):
        secret = call.client.write(path, body)
    show_or_say(call, secret, f"Success! Data written to: {path}")


def _patch(call: Call) -> None:
    path = sanitize_path(call.args[0])
    body = _body(call)
    with doing(f"Error patching data at {path}"):
        secret = call.client.patch(path, body)
    show_or_say(call, secret, f"Success! Data written to: {path}")


def _list(call: Call) -> None:
    path = with_slash(call.args[0])
    list_keys(call, path, path)


def _delete(call: Call) -> None:
    path = sanitize_path(call.args[0])
    query = parse_strings(call.args[1:], call.stdin_bytes)
    with doing(f"Error deleting {path}"):
        secret = call.client.delete(path, query)
    show_or_say(call, secret, f"Success! Data deleted (if it existed) at: {path}")


_DATA: Final = (
    "A value may be @FILE, or - for standard input; a lone - or @FILE is a whole JSON object; \\@ is a literal @."
)
COMMANDS: Final = (
    Command(
        name="read",
        summary="Read a secret, or whatever else a path answers.",
        takes="PATH [K=V...]",
        run=_read,
        field=True,
    ),
    Command(
        name="write",
        summary="Write data to a path.",
        detail=_DATA,
        takes="PATH [K=V...]",
        run=_write,
        flags=(FORCE,),
        field=True,
    ),
    Command(
        name="patch",
        summary="Change some of the data at a path.",
        detail=_DATA,
        takes="PATH [K=V...]",
        run=_patch,
        flags=(FORCE,),
        field=True,
    ),
    Command(name="list", summary="List the names under a path.", takes="PATH", run=_list),
    Command(name="delete", summary="Delete what is at a path.", takes="PATH [K=V...]", run=_delete, field=True),
)
