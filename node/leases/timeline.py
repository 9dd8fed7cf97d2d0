"""The time-ordered index of everything that ends: `sys/expire/<16 hex of Unix ms>/<kind>/<name>`.

An entry in the past is a piece of work: end this token or lease, or finish clearing away what belonged to it. It goes
only after that is done, so the index is also what survives a crash in the middle. Never loaded as a whole: it is read
from its front.
"""

from dataclasses import dataclass
from typing import Final

from engines.common.context import View
from engines.common.plan import Put

PREFIX: Final = "sys/expire/"
TOKEN: Final = "token"  # noqa: S105 - a kind of index entry, not a password
SPARED: Final = "spared"  # a token that is gone, whose children are to live on as orphans
LEASE: Final = "lease"
MARK: Final = b"\x01"  # format version; the key says the rest


@dataclass(frozen=True, slots=True)
class Due:
    """One entry of the index."""

    key: str
    at_ms: int
    kind: str
    name: str


def due_key(at_ms: int, kind: str, name: str) -> str:
    """Fixed width, so that the order of keys is the order of time."""
    return f"{PREFIX}{at_ms:016x}/{kind}/{name}"


def due_put(at_ms: int, kind: str, name: str) -> Put:
    """The write that makes something end at this moment (Unix ms)."""
    return Put(due_key(at_ms, kind, name), MARK)


def parse_due(key: str) -> Due:
    """The entry that a key stands for."""
    stamp, kind, name = key.removeprefix(PREFIX).split("/", 2)
    return Due(key, int(stamp, 16), kind, name)


async def due_by(view: View, now_ms: int, limit: int) -> list[Due]:
    """The oldest entries that are due, at most `limit`."""
    found: list[Due] = []
    async for key in view.keys(PREFIX):
        due = parse_due(key)
        if due.at_ms > now_ms:
            break
        found.append(due)
        if len(found) == limit:
            break
    return found


async def first_due_ms(view: View) -> int | None:
    """When the next entry is due, in Unix ms; None if nothing ever ends."""
    async for key in view.keys(PREFIX):
        return parse_due(key).at_ms
    return None
