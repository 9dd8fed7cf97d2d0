"""operator raft autopilot: the health of the cluster and the rules that judge it."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.durations import NANOS, wire_duration
from node.cli.errors import CliError, doing
from node.cli.gotext import go_text
from node.cli.secret import Data, Secret

_CONFIG: Final = (
    ("Cleanup Dead Servers", "cleanup_dead_servers"),
    ("Last Contact Threshold", "last_contact_threshold"),
    ("Dead Server Last Contact Threshold", "dead_server_last_contact_threshold"),
    ("Server Stabilization Time", "server_stabilization_time"),
    ("Min Quorum", "min_quorum"),
    ("Max Trailing Logs", "max_trailing_logs"),
    ("Disable Upgrade Migration", "disable_upgrade_migration"),
)
_SERVER: Final = (
    ("Name", "name"),
    ("Address", "address"),
    ("Status", "status"),
    ("Node Status", "node_status"),
    ("Healthy", "healthy"),
    ("Last Contact", "last_contact"),
    ("Last Term", "last_term"),
    ("Last Index", "last_index"),
    ("Version", "version"),
    ("Node Type", "node_type"),
)


def _answer(secret: Secret | None) -> Secret:
    if secret is None or not secret.data:
        raise CliError("No autopilot information found: the storage is not raft, or the node is not the leader", 2)
    return secret


def _get_config(call: Call) -> None:
    with doing("Error reading autopilot configuration"):
        secret = _answer(call.client.read("sys/storage/raft/autopilot/configuration"))
    if not call.printer.is_table:
        call.printer.secret(secret)
        return
    from node.cli.output import key_values

    assert secret.data is not None
    call.printer.line(key_values([(name, secret.data[member]) for name, member in _CONFIG if member in secret.data]))


def _set_config(call: Call) -> None:
    body: Data = {}
    for name in _DURATIONS:
        if call.flags.given(name):
            body[name.replace("-", "_")] = wire_duration(call.flags.number(name))
    for name in ("max-trailing-logs", "min-quorum"):
        if call.flags.given(name):
            body[name.replace("-", "_")] = call.flags.number(name)
    for name in ("cleanup-dead-servers", "disable-upgrade-migration"):
        if call.flags.given(name):
            body[name.replace("-", "_")] = call.flags.switch(name)
    if call.flags.given("dr-token"):
        body["dr_operation_token"] = call.flags.text("dr-token")
    with doing("Error writing autopilot configuration"):
        call.client.plain("POST", "sys/storage/raft/autopilot/configuration", body)


def _state(call: Call) -> None:
    with doing("Error checking autopilot state"):
        secret = _answer(call.client.read("sys/storage/raft/autopilot/state"))
    if not call.printer.is_table:
        call.printer.secret(secret)
        return
    assert secret.data is not None
    call.printer.line("\n".join(_state_lines(secret.data)))


def _state_lines(state: Data) -> list[str]:
    lines = [_line(name, state.get(member), 0, 33) for name, member in _STATE]
    lines += ["Voters:", *(f"   {voter}" for voter in state.get("voters") or [])]
    lines.append("Servers:")
    servers = state.get("servers") or {}
    for server_id in sorted(servers):
        lines.append(f"   {server_id}")
        lines += [_line(name, servers[server_id].get(member), 6, 19) for name, member in _SERVER]
    return lines


def _line(name: str, value: object, indent: int, width: int) -> str:
    return " " * indent + f"{name}:".ljust(width) + ("" if value is None else go_text(value))


_STATE: Final = (("Healthy", "healthy"), ("Failure Tolerance", "failure_tolerance"), ("Leader", "leader"))
_DURATIONS: Final = ("last-contact-threshold", "dead-server-last-contact-threshold", "server-stabilization-time")
_DR_TOKEN: Final = flags.text("dr-token", "Operation token of a DR secondary.")
AUTOPILOT: Final = Group(
    name="autopilot",
    summary="Show the health of the cluster and change the rules that judge it.",
    commands=(
        Command(name="get-config", summary="Print the rules.", run=_get_config, flags=(_DR_TOKEN,)),
        Command(
            name="set-config",
            summary="Change the rules that are named.",
            run=_set_config,
            flags=(
                flags.switch("cleanup-dead-servers", "Remove dead members; needs -min-quorum.", None),
                flags.duration("last-contact-threshold", "Longer without the leader is unhealthy.", 10 * NANOS["s"]),
                flags.duration(
                    "dead-server-last-contact-threshold", "Longer without the leader is dead.", 24 * NANOS["h"]
                ),
                flags.number("max-trailing-logs", "More entries behind is unhealthy.", 1000),
                flags.number("min-quorum", "Members that are always left."),
                flags.duration("server-stabilization-time", "Health needed before a vote.", 10 * NANOS["s"]),
                flags.switch("disable-upgrade-migration", "Do not migrate on upgrades.", None),
                _DR_TOKEN,
            ),
        ),
        Command(name="state", summary="Print the health of every member.", run=_state, flags=(_DR_TOKEN,)),
    ),
)
