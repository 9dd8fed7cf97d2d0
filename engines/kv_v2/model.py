"""Requests and stored records of KV version 2. Times are Unix milliseconds, durations seconds, 0 means unset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engines.common.fields import Kind, body_param, path_param, whole_body

_PATH = "Path of the secret."
_MAX_VERSIONS = "Number of versions to keep; the oldest beyond it are deleted for good. 0: "
_VERSIONS = "Version numbers to act on; numbers that do not exist are passed over."


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRead:
    """GET config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigWrite:
    """POST config: what is left out stays."""

    max_versions: int | None = body_param(Kind.INT, _MAX_VERSIONS + "10.")
    cas_required: bool | None = body_param(Kind.BOOL, "If true, every write to any key must carry the cas option.")
    delete_version_after: int | None = body_param(
        Kind.DURATION,
        "Time after which each new version counts as deleted. Zero clears it, a negative value switches it off for "
        "every key.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPath:
    """A request about one key that says no more than its path."""

    path: str = path_param(_PATH)


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, kw_only=True)
class DataRead:
    """GET data/:path."""

    path: str = path_param(_PATH)
    version: int = body_param(Kind.INT, "Version to read; 0 is the newest.", default=0)


@dataclass(slots=True, kw_only=True)
class DataWrite:
    """POST and PATCH data/:path."""

    path: str = path_param(_PATH)
    data: Mapping[str, object] | None = body_param(
        Kind.MAP, "The values to keep. In a patch, null removes a member.", secret=True
    )
    options: Mapping[str, object] | None = body_param(
        Kind.MAP, "Option cas: the write happens only if this is the current version; 0: only if there is none."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubkeysRead:
    """GET subkeys/:path."""

    path: str = path_param(_PATH)
    version: int = body_param(Kind.INT, "Version to read; 0 is the newest.", default=0)
    depth: int = body_param(Kind.INT, "Deepest level of names to show; 0 shows all.", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsWrite:
    """POST delete/:path, undelete/:path and destroy/:path."""

    path: str = path_param(_PATH)
    versions: object = body_param(Kind.ANY, _VERSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataWrite:
    """POST metadata/:path: what is left out stays; custom_metadata is replaced as a whole."""

    path: str = path_param(_PATH)
    max_versions: int | None = body_param(Kind.INT, _MAX_VERSIONS + "the engine's setting.")
    cas_required: bool | None = body_param(Kind.BOOL, "If true, every write to this key must carry the cas option.")
    delete_version_after: int | None = body_param(
        Kind.DURATION, "Time after which each new version counts as deleted, capped by the engine's. Zero clears it."
    )
    custom_metadata: Mapping[str, str] | None = body_param(
        Kind.STRING_MAP, "Names and texts that describe the secret: at most 64, of 128 and 512 bytes."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataPatch:
    """PATCH metadata/:path, a JSON merge patch: null puts a setting back to its default."""

    path: str = path_param(_PATH)
    max_versions: int | None = body_param(Kind.INT, _MAX_VERSIONS + "the engine's setting.")
    cas_required: bool | None = body_param(Kind.BOOL, "If true, every write to this key must carry the cas option.")
    delete_version_after: int | None = body_param(
        Kind.DURATION, "Time after which each new version counts as deleted, capped by the engine's. Zero clears it."
    )
    custom_metadata: Mapping[str, object] | None = body_param(
        Kind.MAP, "Names and texts to add or change; null removes a name."
    )
    # Decoding takes null for absent; only the body itself tells the two apart.
    body: Mapping[str, object] = whole_body("The merge patch.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Settings for every key of the mount. A negative delete_version_after_s switches it off for every key."""

    max_versions: int = 0
    cas_required: bool = False
    delete_version_after_s: int = 0


# The next two are named tuples: every read and write of a secret builds them, and as dataclasses they would be half of
# the engine's time. A tuple is also its own stored form, so the order of the fields is part of the format.


class Version(NamedTuple):
    """One version of a secret.

    `deletion_ms` is when it was deleted, or will be. What a client has deleted says so by itself: its time is of the
    clock of one node, and another node's, or the same one set back, may not have come to it.
    """

    created_ms: int
    deletion_ms: int = 0
    destroyed: bool = False
    deleted: bool = False


class KeyMetadata(NamedTuple):
    """All that is known of a key except its values.

    `key_id` is unique and names the key's values in storage, so that a key that is removed and made again never
    shows a value of its former life. Invariant: `versions` holds at most the numbers up to `current_version`;
    `oldest_version` is 0 until a version has been pruned.
    """

    key_id: str
    created_ms: int
    updated_ms: int
    versions: dict[int, Version]
    current_version: int = 0
    oldest_version: int = 0
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after_s: int = 0
    custom_metadata: dict[str, str] | None = None
