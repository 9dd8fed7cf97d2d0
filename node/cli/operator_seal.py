"""operator unseal, seal, step-down and members."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import doing
from node.cli.secret import Data
from node.cli.status import show_seal_status


def _unseal(call: Call) -> None:
    body: Data
    if call.flags.switch("reset"):
        body = {"reset": True}
    else:
        body = {"key": key_argument(call, "Unseal Key"), "reset": False, "migrate": call.flags.switch("migrate")}
    with doing("Error unsealing"):
        show_seal_status(call, call.client.plain("PUT", "sys/unseal", body))


def key_argument(call: Call, prompt: str) -> str:
    """A key share: the argument, standard input for -, or typed without echo."""
    given = call.args[0].strip() if call.args else ""
    if given == "-":
        return call.stdin_line()
    return given or call.ask_hidden(prompt)


def _seal(call: Call) -> None:
    with doing("Error sealing"):
        call.client.plain("PUT", "sys/seal")
    call.printer.line("Success! Vault is sealed.")


def _step_down(call: Call) -> None:
    with doing("Error stepping down"):
        call.client.plain("PUT", "sys/step-down")
    call.printer.line(f"Success! Stepped down: {call.client.address}")


def _members(call: Call) -> None:
    with doing("Error reading HA status"):
        answer = call.client.plain("GET", "sys/ha-status")
    data = answer.get("data") if isinstance(answer.get("data"), dict) else answer
    assert isinstance(data, dict)
    nodes = data.get("nodes") or data.get("Nodes") or []
    rows = [
        (
            str(node.get("hostname") or ""),
            str(node.get("api_address") or ""),
            str(node.get("cluster_address") or ""),
            "true" if node.get("active_node") else "false",
            str(node.get("version") or ""),
            str(node.get("upgrade_version") or ""),
            str(node.get("redundancy_zone") or ""),
            str(node.get("last_echo") or ""),
        )
        for node in nodes
    ]
    header = (
        "Host Name",
        "API Address",
        "Cluster Address",
        "Active Node",
        "Version",
        "Upgrade Version",
        "Redundancy Zone",
        "Last Echo",
    )
    call.printer.rows(header, rows, {"Nodes": nodes})


UNSEAL: Final = Command(
    name="unseal",
    summary="Give the server one key share.",
    detail="Without KEY it is asked for without echo. The exit code is 0 when the share was accepted, sealed or not.",
    takes="[KEY]",
    run=_unseal,
    flags=(
        flags.switch("reset", "Drop the shares that were given so far."),
        flags.switch("migrate", "Change over to the seal of the node's configuration; given with every share."),
    ),
)
SEAL: Final = Command(name="seal", summary="Seal the server: its keys leave memory.", run=_seal, formats=False)
STEP_DOWN: Final = Command(
    name="step-down", summary="Make the active node give up its duty.", run=_step_down, formats=False
)
MEMBERS: Final = Command(name="members", summary="List the nodes of the cluster.", run=_members)
