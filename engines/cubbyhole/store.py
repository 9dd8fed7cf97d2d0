"""Where the cubbyhole keeps what: <token key>/<path> holds a FlatSecret; revoking a token removes <token key>/."""

from __future__ import annotations

from engines.common.context import View
from engines.common.flat_secret import FlatSecret
from engines.common.plan import Delete, Put


async def read_secret(view: View, folder: str, path: str) -> FlatSecret | None:
    """The secret at a path of a token's folder."""
    seen = await view.get(folder + path)
    return None if seen is None else FlatSecret.decode(seen.value)


async def read_names(view: View, folder: str, below: str) -> list[str]:
    """Names directly below a path of a token's folder; empty for the top."""
    return await view.list(f"{folder}{below}/" if below else folder)


def secret_write(folder: str, path: str, secret: FlatSecret) -> Put:
    """The write that replaces whatever is at the path."""
    return Put(folder + path, secret.encode())


def secret_removal(folder: str, path: str) -> Delete:
    """The write after which nothing is at the path."""
    return Delete(folder + path)
