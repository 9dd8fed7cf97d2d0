"""kv get, put, patch and rollback: the values of a key."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import ApiError, CliError, UsageError, doing
from node.cli.kv_path import MOUNT, KvPath, locate
from node.cli.logical import show_or_say
from node.cli.output import data_rows, heading, heading_for, key_values
from node.cli.secret import Data, Secret
from node.cli.values import Body, parse_data

_PATH_HEADING: Final = "Secret Path"


def print_path(call: Call, title: str, path: str) -> None:
    """The path an answer came from, under its heading."""
    call.printer.line(f"{heading(title, len(path))}\n{path}\n")


def print_block(call: Call, title: str, data: Data) -> None:
    """A table under a heading of its width."""
    call.printer.line(heading_for(title, data))
    if data:
        call.printer.line(key_values(data_rows(data)))


def _get(call: Call) -> int:
    where = locate(call)
    path = where.at("data")
    query = {"version": str(call.flags.number("version"))} if call.flags.number("version") > 0 else {}
    with doing(f"Error reading {path}"):
        secret = call.client.read(path, query if where.version == 2 else {})
    if secret is None or (secret.data is None and secret.wrap_info is None):
        raise CliError(f"No value found at {path}", 2)
    if call.field_name and secret.wrap_info is None:
        _print_field(call, secret, where, path)
        return 0
    if secret.wrap_info is not None or not call.printer.is_table:
        show_or_say(call, secret, "")
        return 0
    return _print_blocks(call, secret, where, path)


def _print_field(call: Call, secret: Secret, where: KvPath, path: str) -> None:
    data = secret.data or {}
    values = data.get("data") if where.version == 2 else data
    if not isinstance(values, dict):
        raise CliError(f"No data found at {path}", 2)
    name = call.field_name
    # "data" is the whole value, unless the value has a member of that name.
    call.printer.field(values.get(name, values if name == "data" else None), name)


def _print_blocks(call: Call, secret: Secret, where: KvPath, path: str) -> int:
    call.printer.warnings(secret.warnings)
    data = secret.data or {}
    if where.version == 1:
        print_block(call, "Data", data)
        return 0
    print_path(call, _PATH_HEADING, path)
    print_block(call, "Metadata", data.get("metadata") or {})
    values = data.get("data")
    if not isinstance(values, dict):
        # A deleted or destroyed version: its metadata is on stdout, and the exit code says that there is no value.
        raise CliError(f"No value found at {path}", 2)
    call.printer.line()
    print_block(call, "Data", values)
    return 0


def _put(call: Call) -> None:
    values = _required_values(call)
    where = locate(call)
    path = where.at("data")
    body: Body = values
    if where.version == 2:
        body = {"data": values, "options": _options(call)}
    with doing(f"Error writing data to {path}"):
        secret = call.client.write(path, body)
    _show_written(call, secret, path)


def _required_values(call: Call) -> Body:
    if len(call.args) < 2:
        raise UsageError("Must supply data")
    return parse_data(call.args[1:], call.stdin_bytes)


def _options(call: Call) -> Body:
    return {"cas": call.flags.number("cas")} if call.flags.number("cas") >= 0 and call.flags.given("cas") else {}


def _show_written(call: Call, secret: Secret | None, path: str) -> None:
    if secret is None or secret.wrap_info is not None or call.field_name or not call.printer.is_table:
        show_or_say(call, secret, f"Success! Data written to: {path}")
        return
    call.printer.warnings(secret.warnings)
    print_path(call, _PATH_HEADING, path)
    print_block(call, "Metadata", secret.data or {})


def _patch(call: Call) -> None:
    removed = call.flags.items("remove-data")
    values = parse_data(call.args[1:], call.stdin_bytes)
    if not values and not removed:
        raise UsageError("Must supply data")
    where = locate(call)
    where.require_version_2()
    if call.flags.text("method") == "rw":
        if call.flags.given("cas"):
            raise UsageError("-cas can be used with -method=patch only; rw uses the version it has read")
        _read_then_write(call, where, values, removed)
        return
    try:
        _merge(call, where, values, removed)
    except ApiError as error:
        # 405: a server without PATCH. 403: a policy from before the patch capability. Neither has changed anything.
        if call.flags.given("method") or call.flags.given("cas") or error.status not in (403, 405):
            raise
        _read_then_write(call, where, values, removed)


def _merge(call: Call, where: KvPath, values: Body, removed: tuple[str, ...]) -> None:
    path = where.at("data")
    options = {"cas": call.flags.number("cas")} if call.flags.number("cas") > 0 else {}
    with doing(f"Error writing data to {path}"):
        secret = call.client.patch(path, {"data": {**values, **dict.fromkeys(removed)}, "options": options})
    _show_written(call, secret, path)


def _read_then_write(call: Call, where: KvPath, values: Body, removed: tuple[str, ...]) -> None:
    path = where.at("data")
    before, version = _stored(call, path)
    merged = {key: value for key, value in {**before, **values}.items() if key not in removed}
    _write_version(call, path, merged, version)


def _stored(call: Call, path: str, version: int = 0) -> tuple[Data, int]:
    """The values of a version and its number; 0 is the newest. Raises CliError when it holds none."""
    with doing(f"Error reading {path}"):
        secret = call.client.read(path, {"version": str(version)} if version else {})
    data = (secret.data if secret else None) or {}
    values, metadata = data.get("data"), data.get("metadata")
    if not isinstance(values, dict) or not isinstance(metadata, dict):
        raise CliError(f"No value found at {path}", 2)
    return values, int(metadata["version"])


def _write_version(call: Call, path: str, values: Body, seen_version: int) -> None:
    # cas makes sure that nobody has written between our read and this write.
    with doing(f"Error writing data to {path}"):
        secret = call.client.write(path, {"data": values, "options": {"cas": seen_version}})
    _show_written(call, secret, path)


def _rollback(call: Call) -> None:
    version = call.flags.number("version")
    if version <= 0:
        raise UsageError("Missing required flag: -version must be greater than 0")
    where = locate(call)
    where.require_version_2()
    with doing(f"Error reading {where.at('metadata')}"):
        metadata = call.client.read(where.at("metadata"))
    if metadata is None or not metadata.data:
        raise CliError(f"No value found at {where.at('data')}", 2)
    values, _ = _stored(call, where.at("data"), version)
    _write_version(call, where.at("data"), values, int(metadata.data["current_version"]))


_VALUES: Final = "A value may be @FILE, or - for standard input; \\@ is a literal @."
DATA_COMMANDS: Final = (
    Command(
        name="get",
        summary="Print the value of a key.",
        takes="KEY",
        run=_get,
        flags=(MOUNT, flags.number("version", "Version to print; 0 is the newest.", 0)),
        field=True,
    ),
    Command(
        name="put",
        summary="Write a new value of a key, in place of the old one.",
        detail=_VALUES,
        takes="KEY [K=V...]",
        run=_put,
        flags=(MOUNT, flags.number("cas", "Write only if the newest version is this one; 0: only a new key.", -1)),
        field=True,
    ),
    Command(
        name="patch",
        summary="Change some members of a key's value.",
        detail=_VALUES,
        takes="KEY [K=V...]",
        run=_patch,
        flags=(
            MOUNT,
            flags.choice("method", "patch, or rw for reading and writing back.", ("patch", "rw"), "patch"),
            flags.number("cas", "Patch only if the newest version is this one.", 0),
            flags.items("remove-data", "Member to remove; may be repeated."),
        ),
        field=True,
    ),
    Command(
        name="rollback",
        summary="Write an older version again, as the newest.",
        takes="KEY",
        run=_rollback,
        flags=(MOUNT, flags.number("version", "Version to write again.", 0)),
    ),
)
