"""auth: enable, list, tune and disable auth methods."""

from typing import Final

from node.cli import flags, mounts
from node.cli.command import Call, Command, Group
from node.cli.durations import NANOS
from node.cli.errors import CliError, doing
from node.cli.login_methods import METHODS
from node.cli.mounts import MountKind
from node.cli.values import Body, sanitize_path

KIND: Final = MountKind(
    noun="auth method",
    endpoint="sys/auth",
    prefix="auth/",
    enabled="Success! Enabled {engine} auth method at: {path}/",
    disabled="Success! Disabled the auth method (if it existed) at: {path}/",
    tuned="Success! Tuned the auth method at: {path}/",
)


def _lockout_settings(call: Call, _: str) -> Body:
    """The user lockout settings of an auth method that were named."""
    config: Body = {}
    if call.flags.given("user-lockout-threshold"):
        config["lockout_threshold"] = str(call.flags.number("user-lockout-threshold"))
    for name, key in (("duration", "lockout_duration"), ("counter-reset-duration", "lockout_counter_reset_duration")):
        if call.flags.given(f"user-lockout-{name}"):
            config[key] = f"{call.flags.number(f'user-lockout-{name}') // NANOS['s']}s"
    if call.flags.given("user-lockout-disable"):
        config["lockout_disable"] = call.flags.switch("user-lockout-disable")
    return {"user_lockout_config": config} if config else {}


def _help(call: Call) -> None:
    """Print how to log in with a method, named by its type or by where it is mounted."""
    name = sanitize_path(call.args[0])
    if name not in METHODS:
        with doing("Error listing auth methods"):
            answer = call.client.plain("GET", "sys/auth")
        mount = (answer.get("data") or answer).get(f"{name}/") or {}
        name = str(mount.get("type") or name)
    if name not in METHODS:
        raise CliError(f"No auth method available on the server at {call.args[0]!r} that this program knows")
    call.printer.line(f"Usage: {METHODS[name].help}")


_TOKEN_TYPE: Final = flags.text("token-type", "Type of token its logins give.")
_TUNE_FLAGS: Final = (
    *mounts.mount_flags(),
    _TOKEN_TYPE,
    flags.number("user-lockout-threshold", "Failed logins that lock a user out."),
    flags.duration("user-lockout-duration", "How long a user stays locked out."),
    flags.duration("user-lockout-counter-reset-duration", "How long failed logins count."),
    flags.switch("user-lockout-disable", "Lock nobody out.", None),
)
_DETAILED: Final = (
    *mounts.PATH_TO_MAX_TTL,
    ("Token Type", mounts.config_member("token_type")),
    *mounts.REPLICATION_TO_DEPRECATION,
)
COMMANDS: Final = (
    Group(
        name="auth",
        summary="Enable, list, tune and disable auth methods.",
        commands=(
            Command(
                name="enable",
                summary="Enable an auth method.",
                takes="TYPE",
                run=mounts.enable(KIND),
                flags=(*mounts.mount_flags(), _TOKEN_TYPE, *mounts.enable_flags()),
                formats=False,
            ),
            Command(
                name="list",
                summary="List the enabled auth methods.",
                run=mounts.listing(KIND, mounts.BRIEF, _DETAILED),
                flags=(mounts.DETAILED,),
            ),
            Command(
                name="tune",
                summary="Change the settings of an auth method.",
                takes="PATH",
                run=mounts.tune(KIND, _lockout_settings),
                flags=_TUNE_FLAGS,
                formats=False,
            ),
            Command(name="help", summary="Print how to log in.", takes="TYPE|PATH", run=_help, formats=False),
            *mounts.simple_commands(KIND, "an auth method"),
        ),
    ),
)
