"""What a handler gives back: the answer, and the writes that must be true before it is given.

Keys are relative to the mount's own storage and values are plaintext records; the pipeline prefixes and seals them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Put:
    """Store value at key. With seen_index, only if the key is still as it was read (0: was absent)."""

    key: str
    value: bytes = field(repr=False)
    seen_index: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class Delete:
    """Remove key, if it exists. With seen_index, only if the key is still as it was read."""

    key: str
    seen_index: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class Check:
    """Write nothing, but do not commit unless the key is still as it was read (0: was absent)."""

    key: str
    seen_index: int


Write = Put | Delete | Check


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGrant:
    """A secret that ends: the pipeline registers the lease before the answer is given.

    `internal` is what the engine needs later to renew or revoke; it is stored sealed and never shown. `extend`, in the
    answer to a renewal, is called with the lease's new end (Unix ms) before that is committed; the lease keeps its end
    when it raises.
    """

    ttl_s: int
    max_ttl_s: int = 0
    renewable: bool = True
    internal: bytes = field(default=b"", repr=False)
    extend: Callable[[int], Awaitable[None]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KnownLease:
    """A lease that exists already and is told again: the answer to its renewal."""

    lease_id: str
    ttl_s: int
    renewable: bool


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class TokenGrant:
    """What a login earned: the pipeline makes the token (API documentation, "Tokens"). In seconds, 0 for unset.

    `alias_name` is who logged in, in the method's one spelling, and leads to the entity. `alias_metadata` is what the
    method says of the alias, and `group_names` the groups it says the user is in now; None where it says nothing.
    """

    policies: tuple[str, ...]
    display_name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    ttl_s: int = 0
    max_ttl_s: int = 0
    explicit_max_ttl_s: int = 0
    period_s: int = 0
    num_uses: int = 0
    renewable: bool = True
    token_type: str = "default"  # noqa: S105 - the API's name for "whatever the mount says", not a password
    no_default_policy: bool = False
    bound_cidrs: tuple[str, ...] = ()
    alias_name: str = ""
    alias_metadata: Mapping[str, str] | None = None
    group_names: tuple[str, ...] | None = None
    internal: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """A body that is not the JSON envelope, such as a certificate, a snapshot or an OpenAPI document."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAnswer:
    """A body too large for memory, made chunk by chunk while it is sent."""

    chunks: AsyncIterator[bytes] = field(repr=False)
    content_type: str


# Not frozen: one is made per request, and freezing costs as much as filling it does (docs/performance.md).
@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Answer:
    """The response of one request. All members unset means that there is nothing to say (204).

    `repeat_data` puts the members of data at the top level as well, as many sys reads do for older clients.
    """

    data: Mapping[str, object] | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    lease: LeaseGrant | None = None
    known_lease: KnownLease | None = None
    wrap_info: Mapping[str, object] | None = field(default=None, repr=False)
    login: TokenGrant | None = None
    auth: Mapping[str, object] | None = field(default=None, repr=False)
    raw: RawAnswer | None = None
    stream: StreamAnswer | None = None
    bare: Mapping[str, object] | None = field(default=None, repr=False)
    advisory_ttl_s: int = 0
    repeat_data: bool = False


NOTHING_TO_SAY: Final = Answer()


# Not frozen, as all that each request makes: freezing costs as much as filling does (docs/performance.md).
@dataclass(slots=True, unsafe_hash=True)
class Plan:
    """An answer and its writes, committed together as one set of one Raft entry, or not at all.

    `is_committed`: the handler has had its own entry committed, which is all the proof that its answer needs. `undo`
    takes back what the handler did outside; it is called when the lease it answered with will certainly never be.
    """

    answer: Answer = NOTHING_TO_SAY
    writes: tuple[Write, ...] = ()
    is_committed: bool = False
    undo: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
