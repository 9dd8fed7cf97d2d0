"""Every path of KV version 2, in the order of its API reference, and what each does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import orjson

from engines.common.context import Context
from engines.common.duration import format_go
from engines.common.errors import InvalidRequest, NotFound, UnsupportedPath
from engines.common.frame import Operation, Route, RouteTable
from engines.common.json_values import decode_json, encode_json
from engines.common.plan import Answer, Delete, Plan
from engines.kv_v2 import logic, store
from engines.kv_v2.model import (
    ConfigRead,
    ConfigWrite,
    DataRead,
    DataWrite,
    KeyMetadata,
    KeyPath,
    MetadataPatch,
    MetadataWrite,
    SubkeysRead,
    VersionsWrite,
)

_NOTHING: Final = Plan()


async def _read_config(_request: ConfigRead, ctx: Context) -> Plan:
    config, _ = await store.read_config(ctx.view)
    return Plan(
        Answer(
            data={
                "cas_required": config.cas_required,
                "delete_version_after": format_go(config.delete_version_after_s),
                "max_versions": config.max_versions,
            }
        )
    )


async def _write_config(request: ConfigWrite, ctx: Context) -> Plan:
    config, seen_index = await store.read_config(ctx.view)
    changed = logic.reconfigured(config, request.max_versions, request.cas_required, request.delete_version_after)
    return Plan(writes=(store.config_write(changed, seen_index),))


async def _key_exists(request: DataWrite | MetadataWrite, ctx: Context) -> bool:
    """A key exists while it has metadata, also when all its versions are deleted."""
    _require_name(request.path)
    return await store.key_exists(request.path, ctx)


def _require_name(path: str) -> None:
    """The top of the mount can be listed, but is no key."""
    if not path:
        raise UnsupportedPath


async def _existing_key(path: str, ctx: Context) -> store.Key:
    _require_name(path)
    key = await store.read_key(path, ctx)
    if key is None:
        raise NotFound
    return key


async def _key_to_write(path: str, ctx: Context) -> store.Key:
    _require_name(path)
    return await store.read_key(path, ctx) or store.new_key(path, ctx)


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True)
class _Held:
    """A version whose values may be read."""

    key: store.Key
    number: int
    values: bytes = field(repr=False)

    def metadata_answer(self) -> dict[str, object]:
        return logic.version_answer(self.key.metadata, self.number)


async def _held_version(path: str, version: int, values_name: str, ctx: Context) -> _Held:
    """A version (0: the newest) with its values. Raises NotFound, with what is known of one that ended."""
    if version < 0:
        raise InvalidRequest("version must not be negative")
    seen_index = -1
    while True:
        key = await _existing_key(path, ctx)
        metadata = key.metadata
        number = version or metadata.current_version
        if number not in metadata.versions:
            raise NotFound
        if logic.is_gone(metadata.versions[number], ctx.sources.now_ms()):
            gone = {values_name: None, "metadata": logic.version_answer(metadata, number)}
            raise NotFound(answer=Answer(data=gone))
        values = await store.read_values(ctx.view, key, number)
        if values is not None:
            return _Held(key, number, values)
        # A write came between the two reads; if the metadata did not change either, the values are lost.
        if key.seen_index == seen_index:
            raise LookupError("a version has metadata but no values")
        seen_index = key.seen_index


async def _read_data(request: DataRead, ctx: Context) -> Plan:
    held = await _held_version(request.path, request.version, "data", ctx)
    return Plan(Answer(data={"data": orjson.Fragment(held.values), "metadata": held.metadata_answer()}))


async def _write_data(request: DataWrite, ctx: Context) -> Plan:
    if request.data is None:
        raise InvalidRequest("no data provided")
    key = await _key_to_write(request.path, ctx)
    return await _write_version(key, request, encode_json(request.data), ctx)


async def _patch_data(request: DataWrite, ctx: Context) -> Plan:
    if request.data is None:
        raise InvalidRequest("no data provided")
    try:
        newest = await _held_version(request.path, 0, "data", ctx)
    except NotFound:
        # Without the metadata that a read shows: a client must not take that for a patch that was made.
        raise NotFound from None
    merged = logic.merge_patch(decode_json(newest.values), request.data)
    return await _write_version(newest.key, request, encode_json(merged), ctx)


async def _write_version(key: store.Key, request: DataWrite, values: bytes, ctx: Context) -> Plan:
    config, _ = await store.read_config(ctx.view)
    required = config.cas_required or key.metadata.cas_required
    logic.require_cas(request.options, key.metadata.current_version, required=required)
    metadata, pruned = logic.with_new_version(key.metadata, config, ctx.sources.now_ms())
    number, key_id = metadata.current_version, metadata.key_id
    writes = store.key_writes(
        key,
        metadata,
        (
            store.values_write(key_id, number, values),
            *(Delete(store.version_key(key_id, old)) for old in pruned),
        ),
    )
    return Plan(Answer(data=logic.version_answer(metadata, number)), writes)


async def _delete_data(request: KeyPath, ctx: Context) -> Plan:
    key = await _key_to_write(request.path, ctx)
    return _delete(key, (key.metadata.current_version,), ctx)


async def _delete_versions(request: VersionsWrite, ctx: Context) -> Plan:
    numbers = logic.version_numbers(request.versions)
    return _delete(await _key_to_write(request.path, ctx), numbers, ctx)


def _delete(key: store.Key, numbers: tuple[int, ...], ctx: Context) -> Plan:
    return _change(key, logic.with_deleted(key.metadata, numbers, ctx.sources.now_ms()))


async def _undelete_versions(request: VersionsWrite, ctx: Context) -> Plan:
    numbers = logic.version_numbers(request.versions)
    key = await _key_to_write(request.path, ctx)
    return _change(key, logic.with_undeleted(key.metadata, numbers))


async def _destroy_versions(request: VersionsWrite, ctx: Context) -> Plan:
    numbers = logic.version_numbers(request.versions)
    key = await _key_to_write(request.path, ctx)
    key_id = key.metadata.key_id
    present = sorted(key.metadata.versions.keys() & set(numbers))
    removals = tuple(Delete(store.version_key(key_id, number)) for number in present)
    return _change(key, logic.with_destroyed(key.metadata, present), removals)


def _change(key: store.Key, changed: KeyMetadata, values: tuple[Delete, ...] = ()) -> Plan:
    """Versions that are not there are passed over, and so is a key that is not there."""
    return _NOTHING if changed == key.metadata else Plan(writes=store.key_writes(key, changed, values))


async def _read_subkeys(request: SubkeysRead, ctx: Context) -> Plan:
    if request.depth < 0:
        raise InvalidRequest("depth must not be negative")
    held = await _held_version(request.path, request.version, "subkeys", ctx)
    names = logic.subkeys(decode_json(held.values), request.depth)
    # As text, because the encoder of answers ends at 254 levels and a secret may be deeper.
    subkeys = orjson.Fragment(encode_json(names))
    return Plan(Answer(data={"subkeys": subkeys, "metadata": held.metadata_answer()}))


async def _list_names(request: KeyPath, ctx: Context) -> Plan:
    names = await store.read_names(ctx.view, request.path)
    if not names:
        raise NotFound
    return Plan(Answer(data={"keys": names}))


async def _read_metadata(request: KeyPath, ctx: Context) -> Plan:
    key = await _existing_key(request.path, ctx)
    return Plan(Answer(data=logic.metadata_answer(key.metadata)))


async def _write_metadata(request: MetadataWrite, ctx: Context) -> Plan:
    key = await _key_to_write(request.path, ctx)
    changed = logic.with_settings(key.metadata, request, ctx.sources.now_ms())
    return Plan(writes=store.key_writes(key, changed))


async def _patch_metadata(request: MetadataPatch, ctx: Context) -> Plan:
    key = await _existing_key(request.path, ctx)
    changed = logic.patched_settings(key.metadata, request, ctx.sources.now_ms())
    return Plan(writes=store.key_writes(key, changed))


async def _delete_metadata(request: KeyPath, ctx: Context) -> Plan:
    _require_name(request.path)
    key = await store.read_key(request.path, ctx)
    return _NOTHING if key is None else Plan(writes=store.removal_writes(key))


TABLE: Final = RouteTable(
    (
        Route(
            pattern="config",
            operation=Operation.UPDATE,
            request=ConfigWrite,
            handler=_write_config,
            summary="Change the settings that hold for every key.",
        ),
        Route(
            pattern="config",
            operation=Operation.READ,
            request=ConfigRead,
            handler=_read_config,
            summary="Read the settings that hold for every key.",
        ),
        Route(
            pattern="data/*path",
            operation=Operation.READ,
            request=DataRead,
            handler=_read_data,
            summary="Read a version of a secret.",
            description="A deleted or destroyed version is not found; the answer then shows its metadata only.",
        ),
        Route(
            pattern="data/*path",
            operation=Operation.UPDATE,
            request=DataWrite,
            handler=_write_data,
            exists=_key_exists,
            summary="Write a new version of a secret.",
        ),
        Route(
            pattern="data/*path",
            operation=Operation.PATCH,
            request=DataWrite,
            handler=_patch_data,
            summary="Write a new version that differs from the newest one by a JSON merge patch.",
        ),
        Route(
            pattern="data/*path",
            operation=Operation.DELETE,
            request=KeyPath,
            handler=_delete_data,
            summary="Delete the newest version of a secret; undelete brings it back.",
        ),
        Route(
            pattern="subkeys/*path",
            operation=Operation.READ,
            request=SubkeysRead,
            handler=_read_subkeys,
            summary="Read the names inside a secret without its values.",
        ),
        Route(
            pattern="delete/*path",
            operation=Operation.UPDATE,
            request=VersionsWrite,
            handler=_delete_versions,
            summary="Delete versions of a secret; undelete brings them back.",
        ),
        Route(
            pattern="undelete/*path",
            operation=Operation.UPDATE,
            request=VersionsWrite,
            handler=_undelete_versions,
            summary="Bring deleted versions of a secret back.",
        ),
        Route(
            pattern="destroy/*path",
            operation=Operation.UPDATE,
            request=VersionsWrite,
            handler=_destroy_versions,
            summary="Remove the values of versions for good.",
        ),
        Route(
            pattern="metadata/*path",
            operation=Operation.LIST,
            request=KeyPath,
            handler=_list_names,
            summary="List the names in a folder; folders end in a slash.",
        ),
        Route(
            pattern="metadata/*path",
            operation=Operation.READ,
            request=KeyPath,
            handler=_read_metadata,
            summary="Read the settings of a secret and the state of its versions.",
        ),
        Route(
            pattern="metadata/*path",
            operation=Operation.UPDATE,
            request=MetadataWrite,
            handler=_write_metadata,
            exists=_key_exists,
            summary="Change the settings of a secret, without a new version.",
        ),
        Route(
            pattern="metadata/*path",
            operation=Operation.PATCH,
            request=MetadataPatch,
            handler=_patch_metadata,
            summary="Change some of the settings of a secret by a JSON merge patch.",
        ),
        Route(
            pattern="metadata/*path",
            operation=Operation.DELETE,
            request=KeyPath,
            handler=_delete_metadata,
            summary="Remove a secret with all its versions and settings for good.",
        ),
    )
)
