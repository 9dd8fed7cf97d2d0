"""monitor: the server's log lines as they are written."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import doing

LEVELS: Final = ("trace", "debug", "info", "warn", "error")
LOG_FORMATS: Final = ("standard", "json")


def _monitor(call: Call) -> None:
    query = {"log_level": call.flags.text("log-level"), "log_format": call.flags.text("log-format")}
    with doing("Error streaming logs"), call.client.stream("GET", "sys/monitor", query) as stream:
        while line := stream.readline():
            call.printer.line(line.decode(errors="replace").rstrip("\n"))
            call.around.stdout.flush()


COMMANDS: Final = (
    Command(
        name="monitor",
        summary="Print the server's log lines until interrupted.",
        run=_monitor,
        flags=(
            flags.choice("log-level", "Least important level to print.", LEVELS, "info", env="VAULT_LOG_LEVEL"),
            flags.choice("log-format", "standard or json.", LOG_FORMATS, "standard", env="VAULT_LOG_FORMAT"),
        ),
        formats=False,
    ),
)
