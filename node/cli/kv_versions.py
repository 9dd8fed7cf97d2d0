"""kv list, delete, undelete, destroy and enable-versioning."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import UsageError, doing
from node.cli.kv_path import MOUNT, KvPath, locate
from node.cli.logical import list_keys, show_or_say
from node.cli.values import sanitize_path

_VERSIONS: Final = flags.items("versions", "Comma-separated versions; may be repeated.")


def _versions(call: Call) -> list[int]:
    words = [word.strip() for item in call.flags.items("versions") for word in item.split(",")]
    try:
        return [int(word) for word in words if word]
    except ValueError:
        raise UsageError("invalid value for flag -versions: expected whole numbers") from None


def _required_versions(call: Call) -> list[int]:
    versions = _versions(call)
    if not versions:
        raise UsageError('No versions provided, use the "-versions" flag to specify the version to change')
    return versions


def _list(call: Call) -> None:
    path = locate(call).at("metadata")
    list_keys(call, path, path)


def _delete(call: Call) -> None:
    versions = _versions(call)
    where = locate(call)
    path = where.at("data")
    with doing(f"Error deleting {path}"):
        if versions:
            where.require_version_2()
            secret = call.client.write(where.at("delete"), {"versions": versions})
        else:
            secret = call.client.delete(path)
    show_or_say(call, secret, f"Success! Data deleted (if it existed) at: {path}")


def _undelete(call: Call) -> None:
    _change_versions(call, "undelete", _required_versions(call))


def _destroy(call: Call) -> None:
    _change_versions(call, "destroy", _required_versions(call))


def _change_versions(call: Call, part: str, versions: list[int]) -> None:
    where: KvPath = locate(call)
    where.require_version_2()
    path = where.at(part)
    with doing(f"Error writing data to {path}"):
        secret = call.client.write(path, {"versions": versions})
    show_or_say(call, secret, f"Success! Data written to: {path}")


def _enable_versioning(call: Call) -> None:
    mount = sanitize_path(call.args[0])
    with doing(f"Error tuning secrets engine {mount}/"):
        call.client.write(f"sys/mounts/{mount}/tune", {"options": {"version": "2"}})
    call.printer.line(f"Success! Tuned the secrets engine at: {mount}/")


VERSION_COMMANDS: Final = (
    Command(name="list", summary="List the keys under a path.", takes="PATH", run=_list, flags=(MOUNT,)),
    Command(
        name="delete",
        summary="Delete the newest version of a key, or the versions named; undelete brings them back.",
        takes="KEY",
        run=_delete,
        flags=(MOUNT, _VERSIONS),
    ),
    Command(
        name="undelete",
        summary="Bring deleted versions back.",
        takes="KEY",
        run=_undelete,
        flags=(MOUNT, _VERSIONS),
    ),
    Command(
        name="destroy",
        summary="Remove the values of versions for good.",
        takes="KEY",
        run=_destroy,
        flags=(MOUNT, _VERSIONS),
    ),
    Command(
        name="enable-versioning",
        summary="Make a version 1 store keep versions.",
        takes="MOUNT",
        run=_enable_versioning,
    ),
)
