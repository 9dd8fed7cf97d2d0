"""Where KV version 2 keeps what, and in which bytes.

    config                      the engine's settings
    metadata/<path>             a key's metadata: a LIST of names is a LIST below here
    versions/<key id>/<number>  one version's values, as the JSON text that a read answers
    secrets/<path>              a secret of KV version 1, from before the mount was upgraded

Every record starts with a format-version byte. Every change of a key writes its metadata record naming the index at
which it was seen, so of two concurrent writes one is refused and tried again: no version is ever lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgpack
import orjson

from engines.common.context import Context, Seen, View
from engines.common.flat_secret import KV_V1_PREFIX, FlatSecret, kv_v1_key
from engines.common.plan import Delete, Put, Write
from engines.kv_v2.model import EngineConfig, KeyMetadata, Version

CONFIG_KEY: Final = "config"
METADATA_PREFIX: Final = "metadata/"
_FORMAT: Final = b"\x01"
_KEY_ID_RANDOM_BYTES: Final = 6
_PACKER: Final = msgpack.Packer()  # making one costs as much as packing


def metadata_key(path: str) -> str:
    """Where a key's metadata is."""
    return METADATA_PREFIX + path


def version_key(key_id: str, number: int) -> str:
    """Where one version's values are."""
    return f"versions/{key_id}/{number}"


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True)
class Key:
    """A key as it was read. `v1_values` is set while the key is still stored as version 1 left it."""

    path: str
    metadata: KeyMetadata
    seen_index: int
    v1_values: bytes | None = field(default=None, repr=False)
    v1_index: int = 0


async def key_exists(path: str, ctx: Context) -> bool:
    """Whether a key has metadata, or is a secret of version 1."""
    return await ctx.view.get(METADATA_PREFIX + path) is not None or await _v1_secret(path, ctx) is not None


async def read_key(path: str, ctx: Context) -> Key | None:
    """The key, whichever version of the engine wrote it."""
    seen = await ctx.view.get(METADATA_PREFIX + path)
    if seen is not None:
        return Key(path, seen.decoded(decode_metadata), seen.index)
    old = await _v1_secret(path, ctx)
    if old is None:
        return None
    secret = FlatSecret.decode(old.value)
    at_ms = secret.written_ms
    metadata = KeyMetadata(
        key_id=_new_key_id(ctx),
        created_ms=at_ms,
        updated_ms=at_ms,
        current_version=1,
        versions={1: Version(at_ms)},
    )
    return Key(path, metadata, 0, orjson.dumps(secret.fragments()), old.index)


async def _v1_secret(path: str, ctx: Context) -> Seen | None:
    # Nearly every mount has never been of version 1, and then nobody need look for one secret of it after another.
    return await ctx.view.get(kv_v1_key(path)) if await ctx.view.has_any(KV_V1_PREFIX) else None


def new_key(path: str, ctx: Context) -> Key:
    """A key that does not exist yet."""
    now_ms = ctx.sources.now_ms()
    return Key(path, KeyMetadata(_new_key_id(ctx), now_ms, now_ms, versions={}), 0)


def _new_key_id(ctx: Context) -> str:
    # The time first, so that what is written together lies together: random ids would make LMDB rewrite a page each.
    return f"{ctx.sources.now_ms():012x}{ctx.sources.random(_KEY_ID_RANDOM_BYTES).hex()}"


async def read_values(view: View, key: Key, number: int) -> bytes | None:
    """The JSON text of one version's values; None if it was removed after the key was read."""
    if key.v1_values is not None:
        return key.v1_values
    seen = await view.get(version_key(key.metadata.key_id, number))
    return None if seen is None else seen.value[1:]


def key_writes(key: Key, metadata: KeyMetadata, values: Sequence[Write] = ()) -> tuple[Write, ...]:
    """The writes that change a key as one set; a key from version 1 is brought over by them."""
    put = Put(metadata_key(key.path), encode_metadata(metadata), key.seen_index)
    if key.v1_values is None:
        return (put, *values)
    moved = values_write(key.metadata.key_id, 1, key.v1_values)
    # Where its only version is destroyed by this very change, there is nothing to bring over.
    kept = () if any(write.key == moved.key for write in values) else (moved,)
    return (put, Delete(kv_v1_key(key.path), key.v1_index), *kept, *values)


def values_write(key_id: str, number: int, values: bytes) -> Put:
    """The write of one version's values."""
    return Put(version_key(key_id, number), _FORMAT + values)


def removal_writes(key: Key) -> tuple[Write, ...]:
    """The writes after which nothing of the key is left."""
    if key.v1_values is not None:
        return (Delete(kv_v1_key(key.path), key.v1_index),)
    key_id = key.metadata.key_id
    return (
        Delete(metadata_key(key.path), key.seen_index),
        *(Delete(version_key(key_id, number)) for number in key.metadata.versions),
    )


async def read_names(view: View, folder: str) -> list[str]:
    """Names directly below a folder (empty for the top), from both versions of the engine."""
    below = f"{folder}/" if folder else ""
    names = await view.list(METADATA_PREFIX + below)
    old = await view.list(KV_V1_PREFIX + below)
    return sorted({*names, *old}) if old else names


def encode_metadata(metadata: KeyMetadata) -> bytes:
    """The stored record of a key."""
    packed: bytes = _PACKER.pack(metadata)
    return _FORMAT + packed


def decode_metadata(record: bytes) -> KeyMetadata:
    """Undo `encode_metadata`. Raises ValueError for a record of another format."""
    _require_format(record)
    key_id, created_ms, updated_ms, versions, *settings = msgpack.unpackb(record[1:], strict_map_key=False)
    made = {number: Version(*version) for number, version in versions.items()}
    return KeyMetadata(key_id, created_ms, updated_ms, made, *settings)


_DEFAULT_CONFIG: Final = EngineConfig()


async def read_config(view: View) -> tuple[EngineConfig, int]:
    """The engine's settings and the index to name when they are written."""
    seen = await view.get(CONFIG_KEY)
    if seen is None:
        return _DEFAULT_CONFIG, 0
    _require_format(seen.value)
    max_versions, cas_required, after_s = msgpack.unpackb(seen.value[1:])
    config = EngineConfig(max_versions=max_versions, cas_required=cas_required, delete_version_after_s=after_s)
    return config, seen.index


def config_write(config: EngineConfig, seen_index: int) -> Put:
    """The write of the engine's settings."""
    record = msgpack.packb((config.max_versions, config.cas_required, config.delete_version_after_s))
    return Put(CONFIG_KEY, _FORMAT + bytes(record), seen_index)


def _require_format(record: bytes) -> None:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of a stored record")
