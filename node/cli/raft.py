"""operator raft: the members of the cluster and their store."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.errors import CliError, doing
from node.cli.raft_autopilot import AUTOPILOT
from node.cli.raft_snapshot import SNAPSHOT
from node.cli.secret import Data
from node.cli.values import text_or_file

_CERTIFICATES: Final = ("leader-ca-cert", "leader-client-cert", "leader-client-key")


def _join(call: Call) -> None:
    body: Data = {"retry": call.flags.switch("retry"), "non_voter": call.flags.switch("non-voter")}
    target = call.args[0].strip() if call.args else ""
    if "provider=" in target:
        body["auto_join"] = target
        body["auto_join_scheme"] = call.flags.text("auto-join-scheme")
        body["auto_join_port"] = call.flags.number("auto-join-port")
    elif target:
        body["leader_api_addr"] = target
    for name in _CERTIFICATES:
        if call.flags.given(name):
            body[name.replace("-", "_")] = text_or_file(call.flags.text(name))
    with doing("Error joining the node to the Raft cluster"):
        # Joining answers when the leader has taken the node in; asking twice would start a second join.
        answer = call.client.plain("POST", "sys/storage/raft/join", body, retries=0)
    joined = answer.get("data") if isinstance(answer.get("data"), dict) else answer
    assert isinstance(joined, dict)
    name = "Joined" if call.printer.is_table else "joined"
    call.printer.mapping({name: joined.get("joined") is True})


def _list_peers(call: Call) -> None:
    with doing("Error reading the raft cluster configuration"):
        secret = call.client.read("sys/storage/raft/configuration")
    if secret is None or not secret.data or "config" not in secret.data:
        raise CliError("No raft cluster configuration found", 2)
    if not call.printer.is_table:
        call.printer.secret(secret)
        return
    rows = [
        (
            str(server.get("node_id") or ""),
            str(server.get("address") or ""),
            "leader" if server.get("leader") else "follower",
            "true" if server.get("voter") else "false",
        )
        for server in (secret.data["config"] or {}).get("servers") or []
    ]
    call.printer.rows(("Node", "Address", "State", "Voter"), rows, None)


def _remove_peer(call: Call) -> None:
    body: Data = {"server_id": call.args[0].strip()}
    if call.flags.given("dr-token"):
        body["dr_operation_token"] = call.flags.text("dr-token")
    with doing("Error removing the peer from raft cluster"):
        call.client.plain("POST", "sys/storage/raft/remove-peer", body)
    if call.printer.is_table:
        call.printer.line("Peer removed successfully!")


_DR_TOKEN: Final = flags.text("dr-token", "Operation token of a DR secondary.")
RAFT: Final = Group(
    name="raft",
    summary="Look after the members of the cluster and their store.",
    commands=(
        Command(
            name="join",
            summary="Join the node at -address to a cluster.",
            takes="[LEADER_API_ADDR|AUTO_JOIN]",
            run=_join,
            flags=(
                flags.text("auto-join-scheme", "Scheme of discovered addresses.", "https"),
                flags.number("auto-join-port", "Port of discovered addresses.", 8200),
                flags.text("leader-ca-cert", "CA of the leader, as PEM or @FILE."),
                flags.text("leader-client-cert", "Certificate to show to the leader, as PEM or @FILE."),
                flags.text("leader-client-key", "Key of that certificate, as PEM or @FILE."),
                flags.switch("retry", "Try again until it succeeds."),
                flags.switch("non-voter", "Join without a vote."),
            ),
        ),
        Command(name="list-peers", summary="List the members of the cluster.", run=_list_peers, flags=(_DR_TOKEN,)),
        Command(
            name="remove-peer",
            summary="Remove a member from the cluster.",
            takes="SERVER_ID",
            run=_remove_peer,
            flags=(_DR_TOKEN,),
        ),
        SNAPSHOT,
        AUTOPILOT,
    ),
)
