"""lease: look up, renew and revoke leases."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.durations import wire_duration
from node.cli.errors import CliError, UsageError, doing
from node.cli.logical import show
from node.cli.secret import Secret
from node.cli.token import INCREMENT
from node.cli.values import Body


def _lookup(call: Call) -> None:
    with doing("Error looking up lease"):
        _show(call, call.client.write("sys/leases/lookup", {"lease_id": call.args[0].strip()}))


def _renew(call: Call) -> None:
    body: Body = {"lease_id": call.args[0].strip()}
    if call.flags.given("increment"):
        body["increment"] = wire_duration(call.flags.number("increment"))
    with doing("Error renewing lease"):
        _show(call, call.client.write("sys/leases/renew", body))


def _show(call: Call, secret: Secret | None) -> None:
    if secret is None:
        raise CliError("the server's answer holds no lease", 2)
    show(call, secret)


def _revoke(call: Call) -> None:
    lease, by_prefix, force = call.args[0].strip(), call.flags.switch("prefix"), call.flags.switch("force")
    sync = call.flags.switch("sync")
    if force and not by_prefix:
        raise UsageError("Specifying -force requires also specifying -prefix")
    with doing("Error revoking lease"):
        if force:
            call.printer.note("Warning! Force-removing leases can leave credentials behind that still work!")
            call.client.write(f"sys/leases/revoke-force/{lease}", {})
        elif by_prefix and sync:
            from node.cli.lease_progress import revoke_prefix

            revoke_prefix(call.client, call.another_client(), lease, call.around.stderr)
        elif by_prefix:
            call.client.write(f"sys/leases/revoke-prefix/{lease}", {"sync": sync})
        else:
            call.client.write("sys/leases/revoke", {"lease_id": lease, "sync": sync})
    call.printer.line(_done(lease, by_prefix, force, sync))


def _done(lease: str, by_prefix: bool, force: bool, sync: bool) -> str:
    if force:
        return f"Success! Force revoked any leases with prefix: {lease}"
    if not sync:
        return "All revocation operations queued successfully!"
    return f"Success! Revoked any leases with prefix: {lease}" if by_prefix else f"Success! Revoked lease: {lease}"


COMMANDS: Final = (
    Group(
        name="lease",
        summary="Look up, renew and revoke leases.",
        commands=(
            Command(name="lookup", summary="Show a lease.", takes="ID", run=_lookup),
            Command(name="renew", summary="Let a lease live on.", takes="ID", run=_renew, flags=(INCREMENT,)),
            Command(
                name="revoke",
                summary="Revoke a lease, or all under a prefix.",
                takes="ID",
                run=_revoke,
                flags=(
                    flags.switch("force", "Forget the leases even where revoking fails.", aliases=("f",)),
                    flags.switch("prefix", "ID is a prefix: revoke everything under it."),
                    flags.switch("sync", "Wait until it is done."),
                ),
                formats=False,
            ),
        ),
    ),
)
