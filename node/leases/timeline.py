"""The time-ordered index of everything that ends: `sys/expire/<16 hex of Unix ms>-<kind>-<name>`, in one flat folder.

An entry in the past is a piece of work: end this token or lease, or finish clearing away what belonged to it. It goes
only after that is done, so the index is also what survives a crash in the middle. Never loaded as a whole: it is read
from its front.
"""

from dataclasses import dataclass
from typing import Final

from engines.common.context import View
from engines.common.crypto import sha256
from engines.common.plan import Put

PREFIX: Final = "sys/expire/"
TOKEN: Final = "token"  # noqa: S105 - a kind of index entry, not a password
SPARED: Final = "spared"  # a token that is gone, whose children are to live on as orphans
LEASE: Final = "lease"


@dataclass(frozen=True, slots=True)
class Due:
    """One entry of the index. `name` is a token's HMAC or a lease id."""

    key: str
    at_ms: int
    kind: str
    name: str


def due_key(at_ms: int, kind: str, name: str) -> str:
    """Fixed width, so that the order of keys is the order of time. A lease id, which has slashes, is hashed."""
    return f"{PREFIX}{at_ms:016x}-{kind}-{sha256(name.encode())[:16].hex() if kind == LEASE else name}"


def due_put(at_ms: int, kind: str, name: str) -> Put:
    """The write that makes something end at this moment (Unix ms)."""
    return Put(due_key(at_ms, kind, name), name.encode())


async def due_by(view: View, now_ms: int, limit: int, after: str = "") -> list[Due]:
    """The oldest entries that are due, at most `limit`; only those behind the key `after`."""
    found: list[Due] = []
    for name in await view.list(PREFIX, after=after.removeprefix(PREFIX), limit=limit):
        stamp, kind, rest = name.split("-", 2)
        at_ms = int(stamp, 16)
        if at_ms > now_ms:
            break
        if kind == LEASE:
            seen = await view.get(PREFIX + name)
            if seen is None:
                continue
            rest = seen.value.decode()
        found.append(Due(PREFIX + name, at_ms, kind, rest))
    return found


async def first_due_ms(view: View) -> int | None:
    """When the next entry is due, in Unix ms; None if nothing ever ends."""
    names = await view.list(PREFIX, limit=1)
    return int(names[0][:16], 16) if names else None
