"""audit: enable, list and disable audit devices."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.errors import CliError, doing
from node.cli.mounts import replication
from node.cli.secret import Data
from node.cli.values import Body, parse_strings, sanitize_path


def _enable(call: Call) -> None:
    device = call.args[0].strip()
    path = sanitize_path(call.flags.text("path") or device)
    body: Body = {
        "type": device,
        "description": call.flags.text("description"),
        "options": parse_strings(call.args[1:], call.stdin_bytes),
        "local": call.flags.switch("local"),
    }
    with doing("Error enabling audit device"):
        call.client.plain("PUT", f"sys/audit/{path}", body)
    call.printer.line(f"Success! Enabled the {device} audit device at: {path}/")


def _disable(call: Call) -> None:
    path = sanitize_path(call.args[0])
    with doing("Error disabling audit device"):
        call.client.plain("DELETE", f"sys/audit/{path}")
    call.printer.line(f"Success! Disabled audit device (if it was enabled) at: {path}/")


def _list(call: Call) -> None:
    with doing("Error listing audits"):
        answer = call.client.plain("GET", "sys/audit")
    source = answer["data"] if isinstance(answer.get("data"), dict) else answer
    devices: Data = {path: one for path, one in source.items() if path.endswith("/") and isinstance(one, dict)}
    if not devices:
        raise CliError("No audit devices are enabled.", 2)
    header = ["Path", "Type", "Description"]
    detailed = call.flags.switch("detailed")
    if detailed:
        header += ["Replication", "Options"]
    rows = [_row(path, devices[path], detailed) for path in sorted(devices)]
    call.printer.rows(header, rows, devices)


def _row(path: str, device: Data, detailed: bool) -> list[str]:
    row = [path, str(device.get("type") or ""), str(device.get("description") or "")]
    if not detailed:
        return row
    options = device.get("options") or {}
    return [*row, replication(path, device), " ".join(f"{key}={options[key]}" for key in sorted(options))]


COMMANDS: Final = (
    Group(
        name="audit",
        summary="Enable, list and disable audit devices.",
        commands=(
            Command(
                name="enable",
                summary="Enable an audit device, such as: audit enable file file_path=/var/log/audit.log",
                takes="TYPE [K=V...]",
                run=_enable,
                flags=(
                    flags.text("path", "Where to enable it; by default at its type's name."),
                    flags.text("description", "What it is for."),
                    flags.switch("local", "Keep it out of replication."),
                ),
                formats=False,
            ),
            Command(
                name="list",
                summary="List the enabled audit devices.",
                run=_list,
                flags=(flags.switch("detailed", "Print every column."),),
            ),
            Command(name="disable", summary="Disable an audit device.", takes="PATH", run=_disable, formats=False),
        ),
    ),
)
