"""kv metadata: the settings of a key and the history of its versions."""

from dataclasses import replace
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.durations import wire_duration
from node.cli.errors import CliError, doing
from node.cli.kv_data import print_block, print_path
from node.cli.kv_path import MOUNT, KvPath, locate
from node.cli.logical import show_or_say
from node.cli.values import Body


def _located(call: Call) -> KvPath:
    where = locate(call)
    where.require_version_2()
    return where


def _get(call: Call) -> None:
    path = _located(call).at("metadata")
    with doing(f"Error reading {path}"):
        secret = call.client.read(path)
    if secret is None or (not secret.data and secret.wrap_info is None):
        raise CliError(f"No value found at {path}", 2)
    if secret.wrap_info is not None or not call.printer.is_table or not secret.data:
        show_or_say(call, secret, "")
        return
    call.printer.warnings(secret.warnings)
    print_path(call, "Metadata Path", path)
    print_block(call, "Metadata", {key: value for key, value in secret.data.items() if key != "versions"})
    versions = secret.data.get("versions") or {}
    for number in sorted(versions, key=int):
        call.printer.line()
        print_block(call, f"Version {number}", versions[number])


def _settings(call: Call) -> Body:
    """What was named on the command line; everything else stays as the server has it."""
    given = call.flags.given
    body: Body = {}
    if given("max-versions") and call.flags.number("max-versions") >= 0:
        body["max_versions"] = call.flags.number("max-versions")
    if given("cas-required"):
        body["cas_required"] = call.flags.switch("cas-required")
    if given("delete-version-after"):
        body["delete_version_after"] = wire_duration(call.flags.number("delete-version-after"))
    custom: Body = dict(call.flags.pairs("custom-metadata"))
    if "remove-custom-metadata" in call.flags.known:
        custom.update(dict.fromkeys(call.flags.items("remove-custom-metadata")))
    if custom:
        body["custom_metadata"] = custom
    return body


def _put(call: Call) -> None:
    path = _located(call).at("metadata")
    with doing(f"Error writing data to {path}"):
        secret = call.client.write(path, _settings(call))
    show_or_say(call, secret, f"Success! Data written to: {path}")


def _patch(call: Call) -> None:
    path = _located(call).at("metadata")
    with doing(f"Error writing data to {path}"):
        secret = call.client.patch(path, _settings(call))
    show_or_say(call, secret, f"Success! Data written to: {path}")


def _delete(call: Call) -> None:
    path = _located(call).at("metadata")
    with doing(f"Error deleting {path}"):
        secret = call.client.delete(path)
    show_or_say(call, secret, f"Success! Data deleted (if it existed) at: {path}")


_SETTINGS: Final = (
    MOUNT,
    flags.number("max-versions", "Versions to keep; 0 is what the store says."),
    flags.switch("cas-required", "Ask for -cas on every write.", None),
    flags.duration("delete-version-after", "Delete new versions by themselves after this time."),
    flags.items("custom-metadata", "KEY=VALUE to keep with the key; may be repeated."),
)
_REMOVED: Final = flags.items("remove-custom-metadata", "Custom metadata to remove; may be repeated.")
_DELETE: Final = Command(
    name="delete",
    summary="Remove a key with all its versions, for good.",
    takes="KEY",
    run=_delete,
    flags=(MOUNT,),
)
METADATA: Final = Group(
    name="metadata",
    summary="Look after the settings and versions of a key.",
    commands=(
        Command(name="get", summary="Print settings and versions of a key.", takes="KEY", run=_get, flags=(MOUNT,)),
        Command(name="put", summary="Set the settings of a key.", takes="KEY", run=_put, flags=_SETTINGS),
        Command(
            name="patch",
            summary="Change some settings of a key.",
            takes="KEY",
            run=_patch,
            flags=(*_SETTINGS, _REMOVED),
        ),
        _DELETE,
        replace(_DELETE, name="destroy"),
    ),
)
