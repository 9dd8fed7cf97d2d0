"""Which mount a key belongs to and which version of the key-value store serves it."""

from dataclasses import dataclass

from node.cli import flags
from node.cli.command import Call
from node.cli.errors import ApiError, CliError, doing
from node.cli.values import sanitize_path

MOUNT = flags.text("mount", "Where the store is mounted; the argument is then the key alone.")


@dataclass(frozen=True, slots=True)
class KvPath:
    """A key in its store. `key` may be empty for the store itself."""

    mount: str
    key: str
    version: int

    def at(self, part: str) -> str:
        """The API path of one part of the store (data, metadata, ...); version 1 has no parts."""
        parts = (self.mount, part, self.key) if self.version == 2 else (self.mount, self.key)
        return "/".join(one for one in parts if one)

    def require_version_2(self) -> None:
        """Raises CliError for a version 1 store, which keeps no versions."""
        if self.version != 2:
            raise CliError("this command needs version 2 of the key-value store; the mount has version 1")


def locate(call: Call) -> KvPath:
    """Ask the server where the key of a command is. Raises RemoteError when it will not say."""
    named = sanitize_path(call.flags.text("mount"))
    argument = sanitize_path(call.args[0]) if call.args else ""
    asked = named or argument
    with doing("Error making preflight request"):
        try:
            with call.client.unwrapped():
                answer = call.client.plain("GET", f"sys/internal/ui/mounts/{asked}", dry=False)
        except ApiError as error:
            if error.status != 404:
                raise
            # A server from before this endpoint knows version 1 only; the first segment is its mount.
            mount, _, key = (f"{named}/{argument}" if named else argument).partition("/")
            return KvPath(named or mount, argument if named else key, 1)
    data = answer.get("data") or {}
    mount = sanitize_path(str(data.get("path") or ""))
    options = data.get("options") or {}
    version = 2 if str(options.get("version")) == "2" else 1
    key = argument if named else sanitize_path(argument.removeprefix(mount))
    return KvPath(mount, key, version)
