"""secrets: enable, list, tune, move and disable secrets engines."""

from typing import Final

from node.cli import flags, mounts
from node.cli.command import Call, Command, Group
from node.cli.mounts import MountKind
from node.cli.values import Body

KIND: Final = MountKind(
    noun="secrets engine",
    endpoint="sys/mounts",
    prefix="",
    enabled="Success! Enabled the {engine} secrets engine at: {path}/",
    disabled="Success! Disabled the secrets engine (if it existed) at: {path}/",
    tuned="Success! Tuned the secrets engine at: {path}/",
)


def _kv_settings(call: Call, path: str) -> Body:
    """Send what the key-value store keeps in its own config; it is nothing that a mount is tuned with."""
    if call.flags.given("cas-required"):
        call.client.write(f"{path}/config", {"cas_required": call.flags.switch("cas-required")})
    return {}


_ENGINE_FLAGS: Final = (
    *mounts.mount_flags(),
    flags.items("allowed-managed-keys", "Managed key the engine may use; may be repeated."),
    flags.items("delegated-auth-accessors", "Accessor of an auth method requests may be delegated to."),
)
_DETAILED: Final = (
    *mounts.PATH_TO_MAX_TTL,
    ("Force No Cache", mounts.config_switch("force_no_cache")),
    *mounts.REPLICATION_TO_DEPRECATION,
)
COMMANDS: Final = (
    Group(
        name="secrets",
        summary="Enable, list, tune, move and disable secrets engines.",
        commands=(
            Command(
                name="enable",
                summary="Enable a secrets engine.",
                takes="TYPE",
                run=mounts.enable(KIND),
                flags=(
                    *_ENGINE_FLAGS,
                    *mounts.enable_flags(),
                    flags.switch("force-no-cache", "Keep its entries out of caches.", None),
                ),
                formats=False,
            ),
            Command(
                name="list",
                summary="List the enabled secrets engines.",
                run=mounts.listing(KIND, mounts.BRIEF, _DETAILED),
                flags=(mounts.DETAILED,),
            ),
            Command(
                name="tune",
                summary="Change the settings of a secrets engine.",
                takes="PATH",
                run=mounts.tune(KIND, _kv_settings),
                flags=(
                    *_ENGINE_FLAGS,
                    flags.switch("cas-required", "Ask for -cas on every write (key-value store version 2).", None),
                ),
                formats=False,
            ),
            *mounts.simple_commands(KIND, "a secrets engine"),
        ),
    ),
)
