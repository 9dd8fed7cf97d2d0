"""token: create, look up, renew and revoke."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.durations import wire_duration
from node.cli.errors import CliError, UsageError, doing
from node.cli.logical import show_or_say
from node.cli.secret import Secret
from node.cli.values import Body

_BY_ACCESSOR: Final = flags.switch("accessor", "The argument is an accessor, not a token.")
INCREMENT: Final = flags.duration("increment", "How long it should live from now on.", aliases=("i",))


def _create(call: Call) -> None:
    role = call.flags.text("role")
    with doing("Error creating token"):
        secret = call.client.write(f"auth/token/create/{role}" if role else "auth/token/create", _wanted(call))
    _show(call, secret)


def _wanted(call: Call) -> Body:
    """The token that flags describe; what was not named is left to the server."""
    given = call.flags.given
    body: Body = {
        "renewable": call.flags.switch("renewable"),
        "no_parent": call.flags.switch("orphan"),
        "no_default_policy": call.flags.switch("no-default-policy"),
        "type": call.flags.text("type"),
    }
    for name in ("id", "display-name", "entity-alias"):
        if given(name):
            body[name.replace("-", "_")] = call.flags.text(name)
    for name in ("ttl", "explicit-max-ttl", "period"):
        if given(name):
            body[name.replace("-", "_")] = wire_duration(call.flags.number(name))
    if given("use-limit"):
        body["num_uses"] = call.flags.number("use-limit")
    if given("metadata"):
        body["meta"] = call.flags.pairs("metadata")
    if given("policy"):
        body["policies"] = list(call.flags.items("policy"))
    return body


def _show(call: Call, secret: Secret | None) -> None:
    if secret is None:
        raise CliError("the server's answer holds no token", 2)
    show_or_say(call, secret, "")


def _lookup(call: Call) -> None:
    with doing("Error looking up token"):
        secret = _lookup_answer(call)
    _show(call, secret)


def _lookup_answer(call: Call) -> Secret | None:
    if call.flags.switch("accessor"):
        return call.client.write("auth/token/lookup-accessor", {"accessor": _argument(call)})
    if call.args:
        return call.client.write("auth/token/lookup", {"token": _argument(call)})
    return call.client.read("auth/token/lookup-self")


def _argument(call: Call) -> str:
    """The token or accessor that a command names; - is standard input."""
    if not call.args:
        raise UsageError("Not enough arguments with -accessor (expected 1, got 0)")
    return call.stdin_line() if call.args[0] == "-" else call.args[0].strip()


def _renew(call: Call) -> None:
    body: Body = {}
    if call.flags.given("increment"):
        body["increment"] = wire_duration(call.flags.number("increment"))
    with doing("Error renewing token"):
        if call.flags.switch("accessor"):
            secret = call.client.write("auth/token/renew-accessor", {"accessor": _argument(call), **body})
        elif call.args:
            secret = call.client.write("auth/token/renew", {"token": _argument(call), **body})
        else:
            secret = call.client.write("auth/token/renew-self", body)
    _show(call, secret)


def _revoke(call: Call) -> None:
    self_, accessor, mode = call.flags.switch("self"), call.flags.switch("accessor"), call.flags.text("mode")
    if self_ and (call.args or accessor or mode):
        raise UsageError("Too many arguments with -self (expected no token, -accessor or -mode)")
    if not self_ and not call.args:
        raise UsageError("Not enough arguments (expected 1, got 0)")
    if accessor and mode:
        raise UsageError("Cannot use -mode with -accessor")
    with doing("Error revoking token"):
        _revoke_named(call, self_, accessor, mode)
    call.printer.line("Success! Revoked token (if it existed)")


def _revoke_named(call: Call, self_: bool, accessor: bool, mode: str) -> None:
    if self_:
        call.client.write("auth/token/revoke-self", {})
    elif accessor:
        call.client.write("auth/token/revoke-accessor", {"accessor": _argument(call)})
    elif mode == "orphan":
        call.client.write("auth/token/revoke-orphan", {"token": _argument(call)})
    elif mode == "path":
        call.client.write(f"sys/leases/revoke-prefix/{_argument(call)}", {})
    else:
        call.client.write("auth/token/revoke", {"token": _argument(call)})


def _capabilities(call: Call) -> None:
    path = call.args[-1]
    body: Body = {"paths": [path]}
    if call.flags.switch("accessor"):
        if len(call.args) < 2:
            raise UsageError("Not enough arguments with -accessor (expected 2, got 1)")
        endpoint, body["accessor"] = "sys/capabilities-accessor", _argument(call)
    elif len(call.args) == 2:
        endpoint, body["token"] = "sys/capabilities", _argument(call)
    else:
        endpoint = "sys/capabilities-self"
    with doing("Error listing capabilities"):
        secret = call.client.write(endpoint, body)
    data = (secret.data if secret else None) or {}
    capabilities = sorted(data.get(path) or data.get("capabilities") or ["deny"])
    if call.printer.is_table:
        call.printer.line(", ".join(capabilities))
    else:
        call.printer.encoded(capabilities)


_CREATE_FLAGS: Final = (
    flags.text("id", "The token itself; only root may choose it."),
    flags.text("display-name", "Name that audit records and leases show."),
    flags.duration("ttl", "How long it lives at first."),
    flags.duration("explicit-max-ttl", "How long it lives at most, renewed or not."),
    flags.duration("period", "Make it periodic: every renewal gives it this long."),
    flags.switch("renewable", "Whether it can be renewed.", True),
    flags.switch("orphan", "Give it no parent, so that it outlives the token that makes it."),
    flags.switch("no-default-policy", "Leave the policy named default off."),
    flags.number("use-limit", "How often it can be used; 0 is without limit.", 0),
    flags.text("role", "Role of the token store to create it with."),
    flags.choice("type", "service or batch.", ("service", "batch"), "service"),
    flags.items("metadata", "KEY=VALUE to keep with it; may be repeated."),
    flags.items("policy", "Policy to attach; may be repeated."),
    flags.text("entity-alias", "Alias to attach it to an entity by."),
)
COMMANDS: Final = (
    Group(
        name="token",
        summary="Create, look up, renew and revoke tokens.",
        commands=(
            Command(name="create", summary="Create a token.", run=_create, flags=_CREATE_FLAGS, field=True),
            Command(
                name="lookup",
                summary="Show a token; without argument, the one in use.",
                takes="[TOKEN|ACCESSOR]",
                run=_lookup,
                flags=(_BY_ACCESSOR,),
                field=True,
            ),
            Command(
                name="renew",
                summary="Let a token live on; without argument, the one in use.",
                takes="[TOKEN|ACCESSOR]",
                run=_renew,
                flags=(INCREMENT, _BY_ACCESSOR),
                field=True,
            ),
            Command(
                name="revoke",
                summary="Revoke a token with its children and leases.",
                takes="[TOKEN|ACCESSOR]",
                run=_revoke,
                flags=(
                    flags.switch("self", "Revoke the token in use."),
                    _BY_ACCESSOR,
                    flags.choice("mode", "orphan spares its children; path takes a path.", ("", "orphan", "path"), ""),
                ),
                formats=False,
            ),
            Command(
                name="capabilities",
                summary="Print what a token may do at a path.",
                takes="[TOKEN|ACCESSOR] PATH",
                run=_capabilities,
                flags=(_BY_ACCESSOR,),
            ),
        ),
    ),
)
