"""Rate limits follow their mount: they move with it, and go with it."""

from __future__ import annotations

from dataclasses import replace

from engines.common.plan import Delete, Put, Write
from node.quotas.model import PREFIX, RateLimit
from node.view import OpenedStore


def moved(opened: OpenedStore, old_path: str, new_path: str | None) -> tuple[Write, ...]:
    """The writes for the limits of a mount that moves to new_path, or is disabled (None). Paths end in "/"."""
    writes: list[Write] = []
    for key in opened.keys(PREFIX):
        seen = opened.get(key)
        limit = RateLimit.of_bytes(seen.value) if seen is not None else None
        if seen is None or limit is None or not limit.path.startswith(old_path):
            continue
        if new_path is None:
            writes.append(Delete(key, seen.index))
        else:
            path = new_path + limit.path.removeprefix(old_path)
            writes.append(Put(key, replace(limit, path=path).to_bytes(), seen.index))
    return tuple(writes)
