"""plugin: the catalog of plugins."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.errors import CliError, UsageError, doing
from node.cli.secret import Data
from node.cli.values import Body

TYPES: Final = ("auth", "database", "secret")
_COLUMNS: Final[tuple[tuple[str, str], ...]] = (("Name", "name"), ("Type", "type"), ("Version", "version"))


def _kind(word: str) -> str:
    if word not in TYPES:
        raise UsageError(f"{word!r} is not a type of plugin: use one of {', '.join(TYPES)}")
    return word


def _list(call: Call) -> None:
    kind = _kind(call.args[0]) if call.args else ""
    with doing("Error listing available plugins"):
        secret = call.client.read("sys/plugins/catalog")
    data: Data = (secret.data if secret else None) or {}
    plugins = [one for one in data.get("detailed") or [] if not kind or one.get("type") == kind]
    plugins.sort(key=lambda one: (str(one.get("type")), str(one.get("name"))))
    columns = [column for column in _COLUMNS if not kind or column[1] != "type"]
    if call.flags.switch("detailed"):
        columns.append(("Deprecation Status", "deprecation_status"))
    rows = [[str(one.get(member) or "") for _, member in columns] for one in plugins]
    call.printer.rows([name for name, _ in columns], rows, plugins)


def _path(call: Call) -> str:
    return f"sys/plugins/catalog/{_kind(call.args[0])}/{call.args[1].strip()}"


def _info(call: Call) -> None:
    version = call.flags.text("version")
    with doing(f"Error reading plugin named {call.args[1]}"):
        secret = call.client.read(_path(call), {"version": version} if version else {})
    if secret is None or not secret.data:
        raise CliError(f"No value found for plugin {call.args[1]}", 2)
    if call.field_name:
        call.printer.field(secret.data.get(call.field_name), call.field_name)
    else:
        call.printer.mapping(secret.data)


def _register(call: Call) -> None:
    body: Body = {"command": call.flags.text("command") or call.args[1].strip()}
    for name in ("sha256", "version", "oci_image", "runtime"):
        if call.flags.given(name):
            body[name] = call.flags.text(name)
    if call.flags.given("args"):
        body["args"] = list(call.flags.items("args"))
    if call.flags.given("env"):
        body["env"] = [f"{key}={value}" for key, value in call.flags.pairs("env").items()]
    with doing(f"Error registering plugin {call.args[1]}"):
        call.client.write(_path(call), body)
    call.printer.line(f"Success! Registered plugin: {call.args[1].strip()}")


def _deregister(call: Call) -> None:
    version = call.flags.text("version")
    with doing(f"Error deregistering plugin named {call.args[1]}"):
        call.client.delete(_path(call), {"version": version} if version else {})
    call.printer.line(f"Success! Deregistered plugin (if it was registered): {call.args[1].strip()}")


def _reload(call: Call) -> None:
    plugin = call.flags.text("plugin")
    mounts = [path.strip() for item in call.flags.items("mounts") for path in item.split(",") if path.strip()]
    if bool(plugin) == bool(mounts):
        raise UsageError("Must specify exactly one of -plugin or -mounts")
    body: Body = {"plugin": plugin} if plugin else {"mounts": mounts}
    scope = call.flags.text("scope")
    if scope:
        body["scope"] = scope
    with doing("Error reloading plugin or mounts"):
        secret = call.client.write("sys/plugins/reload/backend", body)
    reload_id = ((secret.data if secret else None) or {}).get("reload_id", "")
    if scope == "global":
        call.printer.line(f"Success! Reloading plugin: {plugin or mounts}, reload_id: {reload_id}")
    elif plugin:
        call.printer.line(f"Success! Reloaded plugin: {plugin}")
    else:
        call.printer.line(f"Success! Reloaded mounts: [{' '.join(mounts)}]")


_VERSION: Final = flags.text("version", "Version of the plugin.")
COMMANDS: Final = (
    Group(
        name="plugin",
        summary="Look at and change the catalog of plugins.",
        commands=(
            Command(
                name="list",
                summary="List plugins.",
                takes="[TYPE]",
                run=_list,
                flags=(flags.switch("detailed", "Print every column."),),
            ),
            Command(name="info", summary="Show a plugin.", takes="TYPE NAME", run=_info, flags=(_VERSION,), field=True),
            Command(
                name="register",
                summary="Add a plugin to the catalog.",
                takes="TYPE NAME",
                run=_register,
                flags=(
                    flags.text("sha256", "SHA-256 of the binary."),
                    flags.items("args", "Argument to start it with; may be repeated."),
                    flags.text("command", "Command to start it with; by default its name."),
                    _VERSION,
                    flags.items("env", "KEY=VALUE of its environment; may be repeated."),
                    flags.text("oci_image", "Container image of the plugin."),
                    flags.text("runtime", "Runtime of the container."),
                ),
                formats=False,
            ),
            Command(
                name="deregister",
                summary="Take a plugin out of the catalog.",
                takes="TYPE NAME",
                run=_deregister,
                flags=(_VERSION,),
                formats=False,
            ),
            Command(
                name="reload",
                summary="Start a plugin, or the mounts that use it, anew.",
                run=_reload,
                flags=(
                    flags.text("plugin", "Name of the plugin."),
                    flags.items("mounts", "Comma-separated paths of mounts."),
                    flags.choice("scope", "global reloads on every node.", ("", "global"), ""),
                ),
                formats=False,
            ),
        ),
    ),
)
