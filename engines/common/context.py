"""What a handler may know besides its request: the mount's storage, the mount, the caller, time and randomness."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from engines.common.held import Held
from engines.common.plan import Write

T = TypeVar("T")

Commit = Callable[[Sequence[Write]], Awaitable[int]]
"""Make writes of the mount true at once, all or none, and give their index; raises when another write came between."""

NewPassword = Callable[[str], str]
"""A new password by the password policy of this name; by the default one for an empty name. Raises InvalidRequest."""


NoteCall = Callable[[str, str, float, bool], None]
"""Told of each call that was made outside: of what ("postgresql"), which ("CreateUser"), its seconds, and if it failed.

They become metrics and parts of their names, so neither may hold anything that a client chose.
"""


def _unnoted(what: str, call: str, took_s: float, failed: bool) -> None:
    pass


class Sources(Protocol):
    """What a request may learn that is not in the request. Tests pass FixedSources(now_ms, seed)."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    def random(self, size: int) -> bytes:
        """That many bytes from a cryptographic source."""


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Seen:
    """A record as it was read, and the index to name in the write that depends on it."""

    key: str
    value: bytes = field(repr=False)
    index: int
    _decoded: Any = field(default=None, init=False, repr=False, compare=False)

    def decoded(self, decode: Callable[[bytes], T]) -> T:
        """What `decode` makes of the value, made once for as long as the record stays in the cache.

        Every caller is handed the same object, so nobody may change it, and all must decode a record alike.
        """
        found: T | None = self._decoded
        if found is None:
            found = self._decoded = decode(self.value)
        return found


class View(Protocol):
    """The storage of one mount, opened. Keys never start or end with "/"."""

    async def get(self, key: str) -> Seen | None:
        """The record at key. Absent records have the index 0."""

    async def has_any(self, prefix: str) -> bool:
        """Whether any key starts with prefix, which ends in "/"."""

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Names directly below prefix (empty or ending in "/"), sorted; folders end in "/"."""

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """Every key that starts with prefix, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountInfo:
    """A mount as its engine sees it. TTLs are effective: the mount's own, or else the system's, in seconds."""

    path: str
    uuid: str
    accessor: str
    type: str
    options: Mapping[str, str]
    default_ttl_s: int
    max_ttl_s: int


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Caller:
    """Who asks. `token_key` names the token in storage without being the token; empty when unauthenticated.

    `has_sudo`: policy grants sudo on the path of this request (a root token always has it). `token` is the token
    itself, as it was sent and unchecked where `token_key` is empty; only auth/token may answer with it, and it stays
    out of every repr.
    """

    token_key: str = ""
    accessor: str = ""
    display_name: str = ""
    entity_id: str = ""
    policies: tuple[str, ...] = ()
    client_address: str = ""
    is_root: bool = False
    has_sudo: bool = False
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Outside:
    """What an engine needs that acts outside the store (docs/decisions/0012): first `commit` the intent, then act, and
    leave the result to the plan. `held` keeps its connections, `note_call` counts and times what was done."""

    commit: Commit
    held: Held
    new_password: NewPassword
    note_call: NoteCall = _unnoted


# Not frozen: one is made per request, and freezing costs as much as filling it does (docs/performance.md).
@dataclass(slots=True, kw_only=True)
class Context:
    """Everything a handler is handed besides the decoded request.

    `wrap_ttl_s`: for how long the caller wants the answer wrapped, in seconds; 0 for not at all. `upload`: the body of
    a path that takes one too large for memory, to be read once.
    """

    view: View
    mount: MountInfo
    caller: Caller
    sources: Sources
    wrap_ttl_s: int = 0
    upload: AsyncIterator[bytes] | None = field(default=None, repr=False)
    outside: Outside | None = None

    @property
    def out(self) -> Outside:
        """`outside`, of an engine that is always handed it."""
        assert self.outside is not None, "the node hands it to every engine of a mount"
        return self.outside
