"""Which versions of this program have been active in a cluster, and since when."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import msgpack

from engines.common.plan import Put
from node.sources import Sources
from node.version import BUILD_DATE, VERSION
from node.view import OpenedStore

PREFIX: Final = "sys/version/"
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A version, and when it was active for the first time (Unix ms)."""

    version: str
    build_date: str
    at_ms: int


def installed(opened: OpenedStore) -> list[Installed]:
    """The versions in the order in which they came."""
    found = []
    for name in opened.list(PREFIX):
        seen = opened.get(PREFIX + name)
        if seen is not None:
            if seen.value[:1] != _FORMAT:
                raise ValueError("unknown format of a version record; was it written by a newer version?")
            found.append(Installed(**msgpack.unpackb(seen.value[1:])))
    return sorted(found, key=lambda one: one.at_ms)


async def note_version(opened: OpenedStore, sources: Sources) -> None:
    """Store that this version is active, unless that is known. Raises ClusterError."""
    if opened.get(PREFIX + VERSION) is None:
        own = Installed(version=VERSION, build_date=BUILD_DATE, at_ms=sources.now_ms())
        await opened.commit("", [Put(PREFIX + VERSION, _FORMAT + bytes(msgpack.packb(asdict(own))), 0)])
