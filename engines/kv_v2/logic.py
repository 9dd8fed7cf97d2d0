"""The rules of KV version 2 as pure functions over its records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from engines.common.duration import format_go
from engines.common.errors import InvalidRequest
from engines.common.timestamp import rfc3339
from engines.kv_v2.model import EngineConfig, KeyMetadata, MetadataPatch, MetadataWrite, Version

# The API documentation, "Create/update metadata" and "Configure the KV engine".
MAX_VERSIONS_DEFAULT: Final = 10
MAX_VERSIONS_LIMIT: Final = 2**32 - 1
CUSTOM_METADATA_MAX: Final = 64
CUSTOM_METADATA_NAME_BYTES_MAX: Final = 128
CUSTOM_METADATA_TEXT_BYTES_MAX: Final = 512


def require_cas(options: Mapping[str, object] | None, current_version: int, *, required: bool) -> None:
    """Check-and-set: the version that the writer has seen must be the current one. Raises InvalidRequest."""
    given = (options or {}).get("cas")
    if given is None:
        if required:
            raise InvalidRequest("check-and-set parameter required for this call")
        return
    cas = integer(given)
    if cas is None:
        raise InvalidRequest("error parsing check-and-set parameter: options.cas must be an integer")
    if cas != current_version:
        raise InvalidRequest("check-and-set parameter did not match the current version")


def integer(value: object) -> int | None:
    """The whole number of a JSON number or of its text, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value.strip(), 10)
        except ValueError:
            return None
    return value if isinstance(value, int) else None


def version_numbers(value: object) -> tuple[int, ...]:
    """The numbers of a `versions` field: a list, one number, or text with commas. Raises InvalidRequest."""
    if value is None:
        raise InvalidRequest("No version number provided")
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise InvalidRequest("No version number provided")
    numbers = [integer(item) for item in items]
    if None in numbers:
        raise InvalidRequest("field validation failed: versions must be a list of integers")
    return tuple(n for n in numbers if n is not None)


def is_gone(version: Version, now_ms: int) -> bool:
    """Whether the version's values may no longer be read."""
    return version.destroyed or version.deleted or 0 < version.deletion_ms <= now_ms


def deletion_ms(config: EngineConfig, metadata: KeyMetadata, now_ms: int) -> int:
    """When a version made now ends by itself; 0 for never. The shorter of the engine's and the key's time wins."""
    engine_s, key_s = config.delete_version_after_s, metadata.delete_version_after_s
    if engine_s < 0:
        return 0
    after_s = min(engine_s, key_s) if engine_s and key_s else engine_s or key_s
    return now_ms + after_s * 1000 if after_s else 0


def with_new_version(metadata: KeyMetadata, config: EngineConfig, now_ms: int) -> tuple[KeyMetadata, tuple[int, ...]]:
    """The metadata with one version more, and the numbers of the versions that this pushes out."""
    number = metadata.current_version + 1
    kept = metadata.max_versions or config.max_versions or MAX_VERSIONS_DEFAULT
    versions = {**metadata.versions, number: Version(now_ms, deletion_ms(config, metadata, now_ms))}
    pruned = tuple(n for n in versions if n <= number - kept)
    for n in pruned:
        del versions[n]
    oldest = number - kept + 1 if pruned else metadata.oldest_version
    # In the order of the fields, as `_replace` would take as long as all the rest of a write's logic.
    grown = KeyMetadata(metadata.key_id, metadata.created_ms, now_ms, versions, number, oldest, *metadata[6:])
    return grown, pruned


def with_deleted(metadata: KeyMetadata, numbers: Collection[int], now_ms: int) -> KeyMetadata:
    """Soft delete: the time of a version that is deleted already stays."""

    def deleted(version: Version) -> Version:
        if version.destroyed or version.deleted:
            return version
        at_ms = version.deletion_ms if is_gone(version, now_ms) else now_ms
        return version._replace(deletion_ms=at_ms, deleted=True)

    return _changed(metadata, numbers, deleted)


def with_undeleted(metadata: KeyMetadata, numbers: Collection[int]) -> KeyMetadata:
    """Undo soft deletes, also those that delete_version_after planned."""
    return _changed(metadata, numbers, lambda v: v if v.destroyed else Version(v.created_ms))


def with_destroyed(metadata: KeyMetadata, numbers: Collection[int]) -> KeyMetadata:
    """Mark versions whose values are removed for good."""
    return _changed(metadata, numbers, lambda v: v._replace(destroyed=True))


def _changed(metadata: KeyMetadata, numbers: Collection[int], change: Callable[[Version], Version]) -> KeyMetadata:
    changed = {n: change(metadata.versions[n]) for n in numbers if n in metadata.versions}
    return metadata._replace(versions={**metadata.versions, **changed})


def merge_patch(target: object, patch: object) -> object:
    """RFC 7396: members of patch replace those of target, null removes them, objects merge. Neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, object] = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def subkeys(value: Mapping[str, object], depth: int) -> dict[str, object]:
    """The names of a secret without its values, down to `depth` levels (0: all)."""
    return {
        name: subkeys(item, depth - 1 if depth else 0) if isinstance(item, Mapping) and item and depth != 1 else None
        for name, item in value.items()
    }


def reconfigured(
    config: EngineConfig, max_versions: int | None, cas_required: bool | None, after_s: int | None
) -> EngineConfig:
    """The engine's settings with those that are given. Raises InvalidRequest."""
    return EngineConfig(
        max_versions=config.max_versions if max_versions is None else _max_versions(max_versions),
        cas_required=config.cas_required if cas_required is None else cas_required,
        # Any negative duration means "off"; one of them is kept, so that a read does not depend on which was sent.
        delete_version_after_s=config.delete_version_after_s if after_s is None else max(after_s, -1),
    )


def with_settings(metadata: KeyMetadata, given: MetadataWrite, now_ms: int) -> KeyMetadata:
    """The metadata with the settings that are given. Raises InvalidRequest."""
    after_s, custom = given.delete_version_after, given.custom_metadata
    if after_s is not None and after_s < 0:
        raise InvalidRequest("delete_version_after must not be negative")
    return metadata._replace(
        updated_ms=now_ms,
        max_versions=metadata.max_versions if given.max_versions is None else _max_versions(given.max_versions),
        cas_required=metadata.cas_required if given.cas_required is None else given.cas_required,
        delete_version_after_s=metadata.delete_version_after_s if after_s is None else after_s,
        custom_metadata=metadata.custom_metadata if custom is None else valid_custom_metadata(custom),
    )


def patched_settings(metadata: KeyMetadata, patch: MetadataPatch, now_ms: int) -> KeyMetadata:
    """The metadata after a merge patch. Raises InvalidRequest."""
    nulled = {name for name, value in patch.body.items() if value is None}
    custom: dict[str, str] | None = None
    if "custom_metadata" in nulled:
        custom = {}
    elif patch.custom_metadata is not None:
        custom = _patched_texts(metadata.custom_metadata or {}, patch.custom_metadata)
    return with_settings(
        metadata,
        MetadataWrite(
            max_versions=0 if "max_versions" in nulled else patch.max_versions,
            cas_required=False if "cas_required" in nulled else patch.cas_required,
            delete_version_after=0 if "delete_version_after" in nulled else patch.delete_version_after,
            custom_metadata=custom,
        ),
        now_ms,
    )


def _patched_texts(texts: Mapping[str, str], patch: Mapping[str, object]) -> dict[str, str]:
    patched = {name: text for name, text in texts.items() if name not in patch}
    for name, text in patch.items():
        if isinstance(text, str):
            patched[name] = text
        elif text is not None:
            raise InvalidRequest("field validation failed: custom_metadata must be a map of strings")
    return patched


def valid_custom_metadata(given: Mapping[str, str]) -> dict[str, str] | None:
    """The map itself, or None for an empty one. Raises InvalidRequest when it is over a documented limit."""
    if len(given) > CUSTOM_METADATA_MAX:
        raise InvalidRequest(f"custom_metadata must contain at most {CUSTOM_METADATA_MAX} keys, provided {len(given)}")
    for name, text in given.items():
        if not 0 < _size_bytes(name) <= CUSTOM_METADATA_NAME_BYTES_MAX:
            raise InvalidRequest(f"a key of custom_metadata must have 1 to {CUSTOM_METADATA_NAME_BYTES_MAX} bytes")
        if not 0 < _size_bytes(text) <= CUSTOM_METADATA_TEXT_BYTES_MAX:
            raise InvalidRequest(f"a value of custom_metadata must have 1 to {CUSTOM_METADATA_TEXT_BYTES_MAX} bytes")
        if not (name.isprintable() and text.isprintable()):
            raise InvalidRequest("custom_metadata must hold only printable characters")
    return dict(given) or None


def _size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _max_versions(given: int) -> int:
    if not 0 <= given <= MAX_VERSIONS_LIMIT:
        raise InvalidRequest(f"max_versions must be between 0 and {MAX_VERSIONS_LIMIT}")
    return given


def version_answer(metadata: KeyMetadata, number: int) -> dict[str, object]:
    """What reads and writes of data say about one version."""
    version = metadata.versions[number]
    return {
        "created_time": rfc3339(version.created_ms),
        "custom_metadata": metadata.custom_metadata,
        "deletion_time": rfc3339(version.deletion_ms) if version.deletion_ms else "",
        "destroyed": version.destroyed,
        "version": number,
    }


def metadata_answer(metadata: KeyMetadata) -> dict[str, object]:
    """The key's own settings (not inherited ones) and all its versions."""
    return {
        "cas_required": metadata.cas_required,
        "created_time": rfc3339(metadata.created_ms),
        "current_version": metadata.current_version,
        "custom_metadata": metadata.custom_metadata,
        "delete_version_after": format_go(metadata.delete_version_after_s),
        "max_versions": metadata.max_versions,
        "oldest_version": metadata.oldest_version,
        "updated_time": rfc3339(metadata.updated_ms),
        "versions": {
            str(number): {
                "created_time": rfc3339(version.created_ms),
                "deletion_time": rfc3339(version.deletion_ms) if version.deletion_ms else "",
                "destroyed": version.destroyed,
            }
            for number, version in metadata.versions.items()
        },
    }
