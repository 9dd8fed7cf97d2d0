"""policy: write, read, list, delete and format policies."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.cli.command import Call, Command, Group
from node.cli.errors import CliError, UsageError, doing
from node.cli.values import as_text, read_file

if TYPE_CHECKING:
    from engines.common.hcl import Value


def _write(call: Call) -> None:
    name, source = call.args[0].strip().lower(), call.args[1]
    try:
        text = as_text(call.stdin_bytes(), "standard input") if source == "-" else as_text(read_file(source), source)
    except UsageError as error:
        raise CliError(str(error), 2) from None  # as documented for this command
    if not text.strip():
        raise UsageError("the policy is empty")
    with doing("Error uploading policy"):
        call.client.plain("PUT", f"sys/policies/acl/{name}", {"policy": text})
    call.printer.line(f"Success! Uploaded policy: {name}")


def _read(call: Call) -> None:
    name = call.args[0].strip().lower()
    with doing(f"Error reading policy named {name}"):
        secret = call.client.read(f"sys/policies/acl/{name}")
    policy = ((secret.data if secret else None) or {}).get("policy")
    if not isinstance(policy, str) or not policy:
        raise CliError(f"No policy named: {name}", 2)
    if call.printer.is_table:
        call.printer.line(policy.strip())
    else:
        call.printer.encoded({"policy": policy})


def _list(call: Call) -> None:
    with doing("Error listing policies"):
        secret = call.client.list("sys/policies/acl")
    names = [str(name) for name in ((secret.data if secret else None) or {}).get("keys") or []]
    if call.printer.is_table:
        call.printer.line("\n".join(names))
    else:
        call.printer.encoded(names)


def _delete(call: Call) -> None:
    name = call.args[0].strip().lower()
    with doing(f"Error deleting {name}"):
        call.client.plain("DELETE", f"sys/policies/acl/{name}")
    call.printer.line(f"Success! Deleted policy: {name}")


def _fmt(call: Call) -> None:
    # The HCL parser and the formatter are loaded by this command alone.
    from engines.common.hcl import HclError, parse
    from node.cli.hcl_format import format_hcl

    path = Path(call.args[0]).expanduser()
    text = as_text(read_file(str(path)), str(path))
    try:
        before = parse(text)
        formatted = format_hcl(text)
        unchanged = _meaning(parse(formatted)) == _meaning(before)
    except HclError as fault:
        raise CliError(f"Failed to parse policy: line {fault.position.line}: {fault.reason}") from None
    if not unchanged:
        raise CliError(f"{path} is written in a way that cannot be formatted without changing what it says")
    try:
        path.write_text(formatted)
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from None
    call.printer.line(f"Success! Formatted policy: {path}")


def _meaning(value: "Value") -> object:
    """What a parsed text says, without where it says it; comments do not count."""
    from engines.common.hcl import ListValue, Literal

    if isinstance(value, Literal):
        return value.value
    if isinstance(value, ListValue):
        return tuple(_meaning(element) for element in value.items)
    return tuple((tuple(key.text for key in item.keys), _meaning(item.value)) for item in value.items)


COMMANDS: Final = (
    Group(
        name="policy",
        summary="Write, read, list, delete and format policies.",
        commands=(
            Command(
                name="write",
                summary="Upload a policy from a file, or from standard input for -.",
                takes="NAME PATH",
                run=_write,
                formats=False,
            ),
            Command(name="read", summary="Print the text of a policy.", takes="NAME", run=_read),
            Command(name="list", summary="List the names of policies.", run=_list),
            Command(name="delete", summary="Delete a policy.", takes="NAME", run=_delete, formats=False),
            Command(
                name="fmt",
                summary="Format a policy file in place.",
                takes="PATH",
                run=_fmt,
                local=True,
                formats=False,
            ),
        ),
    ),
)
