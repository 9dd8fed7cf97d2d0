"""Where KV version 1 keeps what: secrets/<path> holds a FlatSecret, and a LIST of names is a LIST below there."""

from __future__ import annotations

from engines.common.context import View
from engines.common.flat_secret import FlatSecret, kv_v1_key
from engines.common.plan import Delete, Put


async def read_secret(view: View, path: str) -> FlatSecret | None:
    """The secret at a path."""
    seen = await view.get(kv_v1_key(path))
    return None if seen is None else FlatSecret.decode(seen.value)


async def read_names(view: View, folder: str) -> list[str]:
    """Names directly below a folder; empty for the top."""
    return await view.list(kv_v1_key(f"{folder}/" if folder else ""))


def secret_write(path: str, secret: FlatSecret) -> Put:
    """The write that replaces whatever is at the path: version 1 has no check-and-set."""
    return Put(kv_v1_key(path), secret.encode())


def secret_removal(path: str) -> Delete:
    """The write after which nothing is at the path."""
    return Delete(kv_v1_key(path))
