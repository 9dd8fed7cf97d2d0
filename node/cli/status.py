"""status, and the table that unseal prints as well."""

from typing import Final

from node.cli.command import Call, Command
from node.cli.errors import EXIT_LOCAL, EXIT_REMOTE, ApiError, doing
from node.cli.secret import Data


def _status(call: Call) -> int:
    with doing("Error checking seal status"):
        status = call.client.plain("GET", "sys/seal-status")
    show_seal_status(call, status)
    return EXIT_REMOTE if status.get("sealed") else 0


def show_seal_status(call: Call, status: Data) -> None:
    """Print a seal status with what the node knows about its leader."""
    leader = _leader(call)
    if call.printer.is_table:
        from node.cli.output import key_values

        call.printer.line(key_values([*_seal_rows(status), *_ha_rows(status, leader)]))
    else:
        call.printer.encoded({**status, **_ha_members(leader)})


def _leader(call: Call) -> Data:
    try:
        # Not retried: a sealed node says 503 here, and that is an answer.
        return call.client.plain("GET", "sys/leader", retries=0)
    except ApiError as error:
        if error.status != 503:
            raise
        return {"ha_enabled": True}


def _seal_rows(status: Data) -> list[tuple[str, object]]:
    recovery = bool(status.get("recovery_seal"))
    rows: list[tuple[str, object]] = [("Seal Type", status.get("type", ""))]
    if recovery:
        rows.append(("Recovery Seal Type", status.get("recovery_seal_type") or "shamir"))
    rows += [
        ("Initialized", status.get("initialized")),
        ("Sealed", status.get("sealed")),
        ("Total Recovery Shares" if recovery else "Total Shares", status.get("n")),
        ("Threshold", status.get("t")),
    ]
    if status.get("sealed"):
        rows += [
            ("Unseal Progress", f"{status.get('progress', 0)}/{status.get('t', 0)}"),
            ("Unseal Nonce", status.get("nonce") or ""),
        ]
    if status.get("migration"):
        rows.append(("Seal Migration in Progress", True))
    rows += [
        ("Version", status.get("version") or ""),
        ("Build Date", status.get("build_date") or ""),
        ("Storage Type", status.get("storage_type") or ""),
    ]
    if status.get("cluster_name") and status.get("cluster_id"):
        rows += [("Cluster Name", status["cluster_name"]), ("Cluster ID", status["cluster_id"])]
    if "removed_from_cluster" in status:
        rows.append(("Removed From Cluster", status["removed_from_cluster"]))
    return rows


def _ha_rows(status: Data, leader: Data) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("HA Enabled", bool(leader.get("ha_enabled")))]
    if not leader.get("ha_enabled") or status.get("sealed"):
        return rows
    active = bool(leader.get("is_self"))
    rows += [
        ("HA Cluster", leader.get("leader_cluster_address") or ""),
        ("HA Mode", "active" if active else "standby"),
    ]
    if active and leader.get("active_time"):
        rows.append(("Active Since", leader["active_time"]))
    if not active:
        rows.append(("Active Node Address", leader.get("leader_address") or "<none>"))
    optional = (
        ("Raft Committed Index", "raft_committed_index"),
        ("Raft Applied Index", "raft_applied_index"),
        ("Last WAL", "last_wal"),
    )
    return rows + [(name, leader[member]) for name, member in optional if leader.get(member)]


def _ha_members(leader: Data) -> Data:
    """What json shows of the leader: the members that have something to say."""
    names = (
        "is_self",
        "active_time",
        "leader_address",
        "leader_cluster_address",
        "performance_standby",
        "performance_standby_last_remote_wal",
        "last_wal",
        "raft_committed_index",
        "raft_applied_index",
    )
    return {"ha_enabled": bool(leader.get("ha_enabled")), **{name: leader[name] for name in names if leader.get(name)}}


COMMANDS: Final = (
    Command(
        name="status",
        summary="Print the seal and HA status of a node.",
        detail="The exit code is 0 when the node is unsealed, 2 when it is sealed and 1 when it cannot be asked.",
        run=_status,
        exit_remote=EXIT_LOCAL,
    ),
)
