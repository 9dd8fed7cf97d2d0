"""operator diagnose: why a node cannot serve, or soon will not. Runs beside the node, not against its API."""

import importlib
from pathlib import Path
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import UsageError


def _diagnose(call: Call) -> int:
    paths = call.flags.items("config")
    if not paths:
        raise UsageError("Must specify a configuration file using -config")
    # By name, because the command line must not pull the node in when it is only imported.
    module = importlib.import_module("node.diagnose.run")
    finding = module.diagnose([Path(path) for path in paths], call.environ, call.flags.items("skip"))
    if call.printer.is_table:
        for line in finding.lines():
            call.printer.line(line)
    else:
        call.printer.encoded(finding.encoded())
    code = module.exit_code(finding)
    assert isinstance(code, int)
    return code


DIAGNOSE: Final = Command(
    name="diagnose",
    summary="Check machine, configuration, storage, seal and listeners of a node.",
    detail="Exit codes: 0 all is well, 1 something fails, 2 something needs attention. Changes nothing.",
    run=_diagnose,
    local=True,
    flags=(
        flags.items("config", "Configuration file, or folder of them; may be repeated."),
        flags.items("skip", "Name of a check to leave out; may be repeated."),
        flags.switch("debug", "Accepted; all that is known is always shown."),
    ),
)
