"""login: get a token and keep it."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import CliError, UsageError, doing
from node.cli.logical import show
from node.cli.login_methods import METHODS
from node.cli.secret import Secret
from node.cli.values import parse_strings, sanitize_path


def _login(call: Call) -> int:
    name = call.flags.text("method") or "token"
    token_only = call.flags.switch("token-only")
    keep = not (call.flags.switch("no-store") or token_only)
    if token_only and call.field_name:
        raise UsageError("-token-only and -field cannot be used together")
    with doing("Error authenticating"):
        secret = _authenticate(call, name)
        if secret.wrap_info is not None and keep:
            secret = _unwrapped(call, secret)
    if secret.wrap_info is not None:
        _print(call, secret, "wrapping_token" if token_only else "")
        return 0
    if secret.auth is None:
        raise CliError("Authentication gave no token", 2)
    if secret.auth.get("mfa_requirement") and not secret.auth.get("client_token"):
        show(call, secret)
        return 0
    if keep:
        call.helper.store(str(secret.auth.get("client_token") or ""))
        _warn_of_variable(call)
    if not call.flags.switch("no-print"):
        if call.printer.is_table and not call.field_name and not token_only:
            call.printer.line(_GREETING_KEPT if keep else _GREETING_SHOWN)
        _print(call, secret, "token" if token_only else "")
    return 0


def _authenticate(call: Call, name: str) -> Secret:
    method = METHODS.get(name)
    if method is None:
        raise UsageError(f"Unknown auth method: {name}. Use one of {', '.join(sorted(METHODS))}, or write to its path.")
    # A token that has run out must not come along: it would turn a good login into "permission denied".
    given = call.args
    if name != "token":
        call.client.use_token("")
        return method.log_in(
            call, sanitize_path(call.flags.text("path")) or name, parse_strings(given, call.stdin_bytes)
        )
    if len(given) > 1:
        raise UsageError(f"Too many arguments (expected at most 1, got {len(given)})")
    word = given[0].removeprefix("token=") if given else ""
    token = call.stdin_line() if word == "-" else word or call.ask_hidden("Token")
    return method.log_in(call, "token", {"token": token})


def _unwrapped(call: Call, secret: Secret) -> Secret:
    assert secret.wrap_info is not None
    call.client.stop_wrapping()
    call.client.use_token(str(secret.wrap_info.get("token") or ""))
    opened = call.client.write("sys/wrapping/unwrap", {})
    if opened is None:
        raise CliError("the wrapping token held nothing", 2)
    return opened


def _print(call: Call, secret: Secret, field: str) -> None:
    if field:
        from node.cli.output import secret_field

        call.printer.field(secret_field(secret, field), field)
    else:
        show(call, secret)


def _warn_of_variable(call: Call) -> None:
    if call.environ.get("VAULT_TOKEN"):
        call.printer.note(
            "WARNING! The VAULT_TOKEN environment variable is set! Its value is used instead of the token that was\n"
            "just stored. Unset it to use this login.\n"
        )


_GREETING_KEPT: Final = (
    "Success! You are now authenticated. The token shown below has been stored: later\n"
    'commands use it without another "strongroom login".\n'
)
_GREETING_SHOWN: Final = (
    "Success! You are now authenticated. The token shown below was not stored: put it\ninto VAULT_TOKEN to use it.\n"
)
COMMANDS: Final = (
    Command(
        name="login",
        summary="Log in and store the token.",
        detail="Without -method the argument is a token. The other methods take K=V, such as username=alice; what is "
        "missing is asked for without echo.",
        takes="[TOKEN|K=V...]",
        run=_login,
        flags=(
            flags.text("method", "Kind of login: " + ", ".join(sorted(METHODS)) + ".", "token"),
            flags.text("path", "Where the method is mounted; by default at its name."),
            flags.switch("no-store", "Do not store the token."),
            flags.switch("no-print", "Do not print the token."),
            flags.switch("token-only", "Print the token alone and do not store it."),
        ),
        field=True,
    ),
)
