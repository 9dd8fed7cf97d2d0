"""The settings of a mount: from what `enable` and `tune` are given to MountConfig, and back to what is shown."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from engines.common.duration import parse_duration_s
from engines.common.errors import InvalidRequest
from node.lockout import lockout_answer, tuned_lockout
from node.mounts import Mount, MountConfig
from node.unsealed import Unsealed

RUNNING_VERSION: Final = "v1.18.0+builtin"
LISTS: Final = (
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
)
_VISIBILITIES: Final = frozenset({"", "unauth", "hidden"})
_TOKEN_TYPES: Final = frozenset({"", "default-service", "default-batch", "service", "batch"})


def described(mount: Mount) -> dict[str, object]:
    """A row as sys/mounts and sys/auth show it."""
    config = mount.config
    shown: dict[str, object] = {
        "default_lease_ttl": config.default_lease_ttl_s,
        "force_no_cache": config.force_no_cache,
        "max_lease_ttl": config.max_lease_ttl_s,
    }
    if mount.is_auth:
        shown["token_type"] = config.token_type or "default-service"
    shown.update(_optional(config))
    return {
        "accessor": mount.accessor,
        "config": shown,
        "deprecation_status": "supported",
        "description": mount.description,
        "external_entropy_access": mount.external_entropy_access,
        "local": mount.local,
        "options": dict(mount.options) or None,
        "plugin_version": config.plugin_version,
        "running_plugin_version": RUNNING_VERSION,
        "running_sha256": "",
        "seal_wrap": mount.seal_wrap,
        "type": mount.type,
        "uuid": mount.uuid,
    }


def _optional(config: MountConfig) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name in LISTS:
        if getattr(config, name):
            shown[name] = list(getattr(config, name))
    if config.listing_visibility:
        shown["listing_visibility"] = config.listing_visibility
    if config.user_lockout:
        shown["user_lockout_config"] = lockout_answer(config.user_lockout)
    return shown


def tune_answer(node: Unsealed, mount: Mount) -> dict[str, object]:
    """What reading tune shows: effective TTLs in seconds."""
    default_s, max_s = node.effective_ttls(mount)
    shown: dict[str, object] = {
        "default_lease_ttl": default_s,
        "description": mount.description,
        "force_no_cache": mount.config.force_no_cache,
        "max_lease_ttl": max_s,
    }
    if mount.options:
        shown["options"] = dict(mount.options)
    if mount.is_auth:
        shown["token_type"] = mount.config.token_type or "default-service"
    shown.update(_optional(mount.config))
    return shown


def _ttl_s(value: object, name: str) -> int:
    if value in ("system", "", None):
        return 0
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        seconds = parse_duration_s(value)
    except ValueError:
        raise InvalidRequest(f"field validation failed: {name} must be a duration") from None
    return max(seconds, 0)


def _strings(name: str, value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise InvalidRequest(f"field validation failed: {name} must be a list of strings")
    return tuple(part.strip() for part in parts if part.strip())


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"field validation failed: {name} must be a string")
    return value


def _flag(name: str, value: object) -> bool:
    return value in (True, "true", "1", 1)


_READERS: Final[Mapping[str, Callable[[str, object], object]]] = {
    **dict.fromkeys(LISTS, _strings),
    "listing_visibility": _string,
    "token_type": _string,
    "plugin_version": _string,
    "force_no_cache": _flag,
}


def configured(mount_type: str, config: MountConfig, given: Mapping[str, Any], max_s: int) -> MountConfig:
    """The config of a mount of this type with what was given; `max_s` is the system's maximum TTL.

    Raises:
        InvalidRequest: Something is of a wrong type, or no possible value.
    """
    changes: dict[str, Any] = {
        name: read(name, given[name]) for name, read in _READERS.items() if given.get(name) is not None
    }
    for name in ("default_lease_ttl", "max_lease_ttl"):
        if given.get(name) is not None:
            changes[f"{name}_s"] = _ttl_s(given[name], name)
    lockout = given.get("user_lockout_config")
    if isinstance(lockout, Mapping) and lockout:
        changes["user_lockout"] = tuned_lockout(mount_type, config.user_lockout, lockout)
    changed = replace(config, **changes)
    if changed.listing_visibility not in _VISIBILITIES:
        raise InvalidRequest("invalid listing_visibility: use unauth or hidden")
    if changed.token_type not in _TOKEN_TYPES:
        raise InvalidRequest("invalid token_type")
    if changed.default_lease_ttl_s > (changed.max_lease_ttl_s or max_s):
        raise InvalidRequest("given default lease TTL greater than system/mount max lease TTL")
    return changed


def tuned_options(mount: Mount, given: Mapping[str, str]) -> dict[str, str]:
    """The options of a mount with those that were given. Raises InvalidRequest for what cannot be changed back."""
    options = {**mount.options, **given}
    version, old = options.get("version", ""), mount.options.get("version", "1")
    if mount.type == "kv" and version:
        if version not in ("1", "2"):
            raise InvalidRequest("the option version of a kv mount must be 1 or 2")
        if old == "2" and version == "1":
            raise InvalidRequest("cannot downgrade a kv mount from version 2 to version 1")
    return options
