"""What secrets engines and auth methods have in common: enable, list, disable, tune and move of a mount."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.durations import short_duration, ttl_setting
from node.cli.errors import CliError, doing
from node.cli.flags import Flag
from node.cli.gotext import go_text
from node.cli.secret import Data
from node.cli.values import Body, sanitize_path, with_slash

POLL_S: Final = 1.0
"""Pause between two questions about a move, which takes seconds at least: it revokes every lease of the mount."""
_CONFIG_DURATIONS: Final = ("default-lease-ttl", "max-lease-ttl")
_CONFIG_TEXTS: Final = ("listing-visibility", "token-type", "plugin-version", "identity-token-key")
_CONFIG_LISTS: Final = (
    "audit-non-hmac-request-keys",
    "audit-non-hmac-response-keys",
    "passthrough-request-headers",
    "allowed-response-headers",
    "allowed-managed-keys",
    "delegated-auth-accessors",
)
_CONFIG_SWITCHES: Final = ("force-no-cache", "trim-request-trailing-slashes")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountKind:
    """Words and paths of one kind of mount. `prefix` is what a move puts in front of its paths."""

    noun: str
    endpoint: str
    prefix: str
    enabled: str
    disabled: str
    tuned: str


def mount_flags() -> tuple[Flag, ...]:
    """Settings that enable and tune share."""
    return (
        flags.duration("default-lease-ttl", "Default lifetime of leases; -1 is the system's own."),
        flags.duration("max-lease-ttl", "Longest lifetime of leases; -1 is the system's own."),
        flags.text("description", "What it is for."),
        flags.text("listing-visibility", "unauth shows it to clients without a token; hidden does not."),
        flags.items("options", "KEY=VALUE setting of the engine; may be repeated."),
        flags.text("version", "Version of the engine, such as 2 of the key-value store."),
        flags.text("plugin-version", "Version of the plugin to run."),
        flags.items("audit-non-hmac-request-keys", "Request key that audit records show as it is; may be repeated."),
        flags.items("audit-non-hmac-response-keys", "Response key that audit records show as it is; may be repeated."),
        flags.items("passthrough-request-headers", "Request header handed to the engine; may be repeated."),
        flags.items("allowed-response-headers", "Response header the engine may set; may be repeated."),
        flags.text("identity-token-key", "Key that signs plugin identity tokens."),
        flags.switch("trim-request-trailing-slashes", "Take slashes off the end of request paths.", None),
    )


def enable_flags() -> tuple[Flag, ...]:
    """Settings that only enable has."""
    return (
        flags.text("path", "Where to mount it; by default at its type's name."),
        flags.switch("local", "Keep it out of replication."),
        flags.switch("seal-wrap", "Wrap its entries with the seal as well."),
        flags.switch("external-entropy-access", "Give it the seal's source of randomness."),
        flags.text("plugin-name", "Plugin to run when the type is plugin."),
    )


def _config(call: Call) -> Body:
    """What was named of the mount's config; the rest is left to the server."""
    given = [name for name in call.flags.known if call.flags.given(name)]
    config: Body = {}
    for name in given:
        if name in _CONFIG_DURATIONS:
            config[_member(name)] = ttl_setting(call.flags.number(name))
        elif name in _CONFIG_TEXTS:
            config[_member(name)] = call.flags.text(name)
        elif name in _CONFIG_LISTS:
            config[_member(name)] = [word.strip() for item in call.flags.items(name) for word in item.split(",")]
        elif name in _CONFIG_SWITCHES:
            config[_member(name)] = call.flags.switch(name)
    return config


def _member(name: str) -> str:
    return name.replace("-", "_")


def _options(call: Call) -> Body:
    options: Body = dict(call.flags.pairs("options"))
    if call.flags.given("version"):
        options["version"] = call.flags.text("version")
    return options


def enable(kind: MountKind) -> Callable[[Call], None]:
    """The run of `enable TYPE`."""

    def run(call: Call) -> None:
        engine = call.args[0].strip()
        plugin = call.flags.text("plugin-name")
        if engine == "plugin" and plugin:
            engine = plugin
        path = sanitize_path(call.flags.text("path") or engine)
        body: Body = {"type": engine, "description": call.flags.text("description"), "config": _config(call)}
        if options := _options(call):
            body["options"] = options
        for name in ("local", "seal-wrap", "external-entropy-access"):
            if call.flags.switch(name):
                body[_member(name)] = True
        with doing(f"Error enabling {kind.noun}"):
            call.client.plain("PUT", f"{kind.endpoint}/{path}", body)
        call.printer.line(kind.enabled.format(engine=engine, path=path))

    return run


def disable(kind: MountKind) -> Callable[[Call], None]:
    """The run of `disable PATH`."""

    def run(call: Call) -> None:
        path = sanitize_path(call.args[0])
        with doing(f"Error disabling {kind.noun} at {path}/"):
            call.client.plain("DELETE", f"{kind.endpoint}/{path}")
        call.printer.line(kind.disabled.format(path=path))

    return run


def tune(kind: MountKind, extra: Callable[[Call, str], Body] | None = None) -> Callable[[Call], None]:
    """The run of `tune PATH`; `extra` adds settings of one kind of mount, or sends them itself."""

    def run(call: Call) -> None:
        path = sanitize_path(call.args[0])
        with doing(f"Error tuning {kind.noun} {path}/"):
            body = {**_config(call), **(extra(call, path) if extra else {})}
            if call.flags.given("description"):
                body["description"] = call.flags.text("description")
            if options := _options(call):
                body["options"] = options
            if body:
                call.client.plain("PUT", f"{kind.endpoint}/{path}/tune", body)
        call.printer.line(kind.tuned.format(path=path))

    return run


def move(kind: MountKind) -> Callable[[Call], None]:
    """The run of `move SRC DST`: the server moves in the background, and this waits until it is done."""

    def run(call: Call) -> None:
        source, target = (with_slash(word) for word in call.args)
        with doing(f"Error moving {kind.noun} {source} to {target}"):
            # Documented with the prefix of auth methods, and often written without it.
            paths = [word if word.startswith(kind.prefix) else kind.prefix + word for word in (source, target)]
            answer = call.client.plain("PUT", "sys/remount", {"from": paths[0], "to": paths[1]})
            migration = str(_inner(answer).get("migration_id") or "")
            tail = f"{kind.noun} {source} to {target}, with migration ID {migration}"
            call.printer.line(f"Started moving {tail}")
            while (state := _migration(call, migration)) == "in-progress":
                call.around.sleep(POLL_S)
        if state != "success":
            raise CliError(f"Failure moving {tail}: {state or 'unknown state'}", 2)
        call.printer.line(f"Success! Finished moving {tail}")

    return run


def _migration(call: Call, migration: str) -> str:
    answer = _inner(call.client.plain("GET", f"sys/remount/status/{migration}"))
    info = answer.get("migration_info") or {}
    return str(info.get("status") or "")


def _inner(answer: Data) -> Data:
    data = answer.get("data")
    return data if isinstance(data, dict) else answer


Column = tuple[str, Callable[[str, Data], str]]


def listing(kind: MountKind, brief: Sequence[Column], detailed: Sequence[Column]) -> Callable[[Call], None]:
    """The run of `list`: mounts sorted by path."""

    def run(call: Call) -> None:
        with doing(f"Error listing {kind.noun}s"):
            mounts = _inner(call.client.plain("GET", kind.endpoint))
        mounts = {path: mount for path, mount in mounts.items() if path.endswith("/") and isinstance(mount, dict)}
        columns = detailed if call.flags.switch("detailed") else brief
        rows = [[cell(path, mounts[path]) for _, cell in columns] for path in sorted(mounts)]
        call.printer.rows([name for name, _ in columns], rows, mounts)

    return run


def member(name: str) -> Callable[[str, Data], str]:
    """A column of the mount's own member."""
    return lambda _, mount: go_text(mount.get(name) if mount.get(name) is not None else "")


def config_member(name: str) -> Callable[[str, Data], str]:
    """A column of a member of the mount's config."""
    return lambda _, mount: go_text((mount.get("config") or {}).get(name) or "")


def config_switch(name: str) -> Callable[[str, Data], str]:
    """A column that is true or false."""
    return lambda _, mount: go_text(bool((mount.get("config") or {}).get(name)))


def switch_member(name: str) -> Callable[[str, Data], str]:
    """A column of a member that is true or false."""
    return lambda _, mount: go_text(bool(mount.get(name)))


def path_of(path: str, _: Data) -> str:
    """The column Path."""
    return path


def replication(_: str, mount: Data) -> str:
    """The column Replication."""
    return "local" if mount.get("local") else "replicated"


def options_of(_: str, mount: Data) -> str:
    """The column Options."""
    return go_text(mount.get("options") or {})


def ttl(name: str) -> Callable[[str, Data], str]:
    """A column of a lifetime: n/a where there are no leases, system where nothing is set."""

    def cell(_: str, mount: Data) -> str:
        if mount.get("type") in ("system", "cubbyhole"):
            return ""
        seconds = (mount.get("config") or {}).get(name)
        return short_duration(int(seconds)) if seconds else "system"

    return cell


DESCRIPTION_TO_DEPRECATION: Final[tuple[Column, ...]] = (
    ("Description", member("description")),
    ("UUID", member("uuid")),
    ("Version", member("plugin_version")),
    ("Running Version", member("running_plugin_version")),
    ("Running SHA256", member("running_sha256")),
    ("Deprecation Status", member("deprecation_status")),
)
# The columns of both listings; the detailed ones differ in one column between the two halves.
BRIEF: Final[tuple[Column, ...]] = (
    ("Path", path_of),
    ("Type", member("type")),
    ("Accessor", member("accessor")),
    ("Description", member("description")),
)
PATH_TO_MAX_TTL: Final[tuple[Column, ...]] = (
    ("Path", path_of),
    ("Plugin", member("type")),
    ("Accessor", member("accessor")),
    ("Default TTL", ttl("default_lease_ttl")),
    ("Max TTL", ttl("max_lease_ttl")),
)
REPLICATION_TO_DEPRECATION: Final[tuple[Column, ...]] = (
    ("Replication", replication),
    ("Seal Wrap", switch_member("seal_wrap")),
    ("External Entropy Access", switch_member("external_entropy_access")),
    ("Options", options_of),
    *DESCRIPTION_TO_DEPRECATION,
)
DETAILED: Final = flags.switch("detailed", "Print every column.")


def simple_commands(kind: MountKind, what: str) -> tuple[Command, ...]:
    """disable and move, which have no flags."""
    return (
        Command(name="disable", summary=f"Disable {what}.", takes="PATH", run=disable(kind), formats=False),
        Command(name="move", summary=f"Move {what} to another path.", takes="SRC DST", run=move(kind), formats=False),
    )
