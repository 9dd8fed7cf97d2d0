"""version and version-history."""

from typing import Final

from node.cli.command import Call, Command
from node.cli.errors import CliError, doing

PROGRAM_VERSION: Final = "0.1.0"
API_LEVEL: Final = "1.18.0"


def _version(call: Call) -> None:
    # The first word and the v are what scripts match on; the API level comes first for the same reason.
    call.printer.line(f"Vault v{API_LEVEL}+strongroom.{PROGRAM_VERSION}")


def _history(call: Call) -> None:
    with doing("Error listing version history"):
        secret = call.client.list("sys/version-history")
    data = (secret.data if secret else None) or {}
    if not data.get("keys"):
        raise CliError("No version history returned by the server", 2)
    info = data.get("key_info") or {}
    rows = [(key, _of(info, key, "timestamp_installed"), _of(info, key, "build_date")) for key in data["keys"]]
    if call.printer.is_table:
        call.printer.line("Installation times are as each version first ran on this cluster.")
        call.printer.line("Build dates are as that version stated them.\n")
    call.printer.rows(("Version", "Installation Time", "Build Date"), rows, data)


def _of(info: dict[str, dict[str, object]], key: str, member: str) -> str:
    return str(info.get(key, {}).get(member) or "")


COMMANDS: Final = (
    Command(name="version", summary="Print the version of this program.", run=_version, local=True, formats=False),
    Command(name="version-history", summary="Print which versions the server has run, and since when.", run=_history),
)
