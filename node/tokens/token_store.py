"""Tokens in storage: made, found, checked, used and renewed. Ending them is node/tokens/revoker.py.

`lookup` is on the way of every request: one read of the record, and its decoded form remembered for as long as the
record has the same index, so nothing here needs to be told of changes.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from engines.common.cidrs import is_within
from engines.common.context import Sources, View
from engines.common.crypto import KeyedHmac
from engines.common.errors import InvalidRequest, PermissionDenied
from engines.common.plan import Check, Delete, Put, Write
from node.errors import BarrierDamaged
from node.leases import paging
from node.leases.timeline import TOKEN, due_key, due_put
from node.telemetry.meters import NodeMeters
from node.tokens import store
from node.tokens.logic import ID_RANDOM_BYTES, End, base62_id, end_of, least_max
from node.tokens.model import (
    PREFIX_OF,
    ROOT,
    SPENT,
    CreatedToken,
    Sealer,
    SeenToken,
    TokenEntry,
    TokenSpec,
    TokenType,
    TtlsOf,
)

_REMEMBERED: Final = 16384  # tokens in use at a time; beyond that a lookup costs one HMAC and one decoding more
_BATCH_PREFIX: Final = PREFIX_OF[TokenType.BATCH]
_TOKEN_CHARS_MAX: Final = 8192  # a batch token with much metadata has 2,000; more is not worth an HMAC
_LAST_USE_S: Final = 90  # the longest a request may take: until then nobody but its own pipeline clears the token away


def random_token(sources: Sources, kind: TokenType) -> str:
    """A new id for a service or recovery token: the prefix and 142 bits."""
    return PREFIX_OF[kind] + base62_id(sources.random(ID_RANDOM_BYTES))


class TokenStore:
    """Every token, by its HMAC. `ttls_of` tells the limits in force for a request path at this moment."""

    def __init__(
        self,
        view: View,
        sources: Sources,
        salt: bytes,
        sealer: Sealer,
        ttls_of: TtlsOf,
        meters: NodeMeters | None = None,
    ) -> None:
        self.view = view
        self.sources = sources
        self.ttls_of = ttls_of
        self.meters = meters or NodeMeters()
        self._salted = KeyedHmac(salt)
        self._sealer = sealer
        self._named = lru_cache(_REMEMBERED)(self._names_of)
        self._opened: dict[str, SeenToken] = {}
        self._batch: dict[str, SeenToken] = {}

    # Finding

    def key_of(self, token: str) -> str:
        """The HMAC that names a token in storage: 64 hex digits."""
        return self._named(token)[0]

    def _names_of(self, token: str) -> tuple[str, str]:
        # What comes in a header may hold any code point, so encoding must not fail.
        digest = self._salted.digest(token.encode("utf-8", "surrogatepass")).hex()
        return digest, store.record_key(digest)

    def accessor_hmac(self, accessor: str) -> str:
        """The HMAC that names an accessor in the index; never that of a token of the same text."""
        return self._salted.digest(b"accessor\0" + accessor.encode("utf-8", "surrogatepass")).hex()

    async def lookup(self, token: str) -> SeenToken | None:
        """The token as stored, whether or not it is still usable; None if there is none."""
        if len(token) > _TOKEN_CHARS_MAX:
            return None
        if token.startswith(_BATCH_PREFIX):
            return await self._lookup_batch(token)
        key, record = self._named(token)
        return await self._read(key, record)

    async def lookup_key(self, key: str) -> SeenToken | None:
        """The stored token with this HMAC. Batch tokens are not stored."""
        return await self._read(key, store.record_key(key))

    async def _read(self, key: str, record: str) -> SeenToken | None:
        seen = await self.view.get(record)
        if seen is None:
            return None
        known = self._opened.get(key)
        if known is not None and known.index == seen.index:
            return known
        if len(self._opened) >= _REMEMBERED:
            self._opened.clear()
        found = SeenToken(key, store.decode_token(seen.value), seen.index)
        self._opened[key] = found
        return found

    async def _lookup_batch(self, token: str) -> SeenToken | None:
        found = self._batch.get(token)
        if found is None:
            found = self._open_batch(token)
            if found is None:
                return None
            if len(self._batch) >= _REMEMBERED:
                self._batch.clear()
            self._batch[token] = found
        parent = found.entry.parent
        if parent:
            # A batch token has no record that its parent's end could remove, so each use asks for the parent.
            holder = await self.lookup_key(parent)
            if holder is None or not is_alive(holder.entry, self.sources.now_ms()):
                return None
        return found

    def _open_batch(self, token: str) -> SeenToken | None:
        text = token.removeprefix(_BATCH_PREFIX)
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if _text_of(sealed) != text:
                return None  # the decoder skips what is not base64, and one token must not have two spellings
            entry = store.decode_token(self._sealer.open(store.BATCH_AAD, sealed))
        except (ValueError, BarrierDamaged):
            return None
        return SeenToken(self.key_of(token), entry, 0)

    async def lookup_accessor(self, accessor: str) -> SeenToken | None:
        """The token an accessor stands for."""
        if not accessor or len(accessor) > _TOKEN_CHARS_MAX:
            return None
        seen = await self.view.get(store.accessor_key(self.accessor_hmac(accessor)))
        return await self.lookup_key(store.decode_accessor(seen.value)[1]) if seen is not None else None

    async def accessors(self) -> AsyncIterator[str]:
        """Every accessor there is, in no order that says anything."""
        async for name in paging.names(self.view, store.ACCESSORS):
            seen = await self.view.get(store.ACCESSORS + name)
            if seen is not None:
                yield store.decode_accessor(seen.value)[0]

    # Checking and using

    async def resolve(self, token: str, client_address: str) -> SeenToken:
        """The token of a request, checked.

        Raises:
            InvalidRequest: There is none ("missing client token").
            PermissionDenied: It is unknown, ended, used up or not for this address; which of these is not said.
        """
        if not token:
            raise InvalidRequest("missing client token")
        seen = await self.lookup(token)
        if seen is None:
            raise PermissionDenied
        self.usable(seen.entry, self.sources.now_ms(), client_address)
        return seen

    def usable(self, entry: TokenEntry, now_ms: int, client_address: str) -> None:
        """Return only if the token may be used at this moment from this address. Raises PermissionDenied."""
        if not is_alive(entry, now_ms):
            raise PermissionDenied
        if entry.bound_cidrs and not is_within(client_address, entry.bound_cidrs):
            # A root token without an end is the way back in, so no address may lock it out.
            if entry.expire_at_ms == 0 and entry.is_root:
                return
            raise PermissionDenied

    def use_writes(self, seen: SeenToken) -> tuple[Write, ...]:
        """What one use of the token changes; nothing, unless its uses are limited.

        Commit it before the request is served, and read the token again when that meets a Conflict: the seen index
        keeps concurrent uses from exceeding the limit. After the last use (`is_last_use`) call `Revoker.revoke`; should
        the node fall before it does, the sweeper ends the token by itself.
        """
        entry = seen.entry
        if entry.num_uses == 0:
            return ()
        record = store.record_key(seen.key)
        if not is_last_use(seen):
            return (Put(record, store.encode_token(replace(entry, num_uses=entry.num_uses - 1)), seen.index),)
        end_ms = min(entry.expire_at_ms or 2**62, self.sources.now_ms() + _LAST_USE_S * 1000)
        spent = replace(entry, num_uses=SPENT, expire_at_ms=end_ms)
        return (Put(record, store.encode_token(spent), seen.index), *self._moved(seen.key, entry.expire_at_ms, end_ms))

    @staticmethod
    def _moved(key: str, old_ms: int, new_ms: int) -> tuple[Write, ...]:
        if old_ms == new_ms:
            return ()
        put = due_put(new_ms, TOKEN, key)
        return (Delete(due_key(old_ms, TOKEN, key)), put) if old_ms else (put,)

    # Making and renewing

    def create_writes(self, spec: TokenSpec) -> CreatedToken:
        """A new token. All writes belong in one Plan with the request that earned it.

        Raises:
            ValueError: The token would never end, and is not root: a fault of the caller's arithmetic.
            InvalidRequest: A batch token is asked for more than it can be.
        """
        now_ms = self.sources.now_ms()
        if spec.ttl_s <= 0 and spec.policies != (ROOT,):
            raise ValueError("only a root token may have no end")
        is_batch = spec.type is TokenType.BATCH
        entry = TokenEntry(
            accessor="" if is_batch else base62_id(self.sources.random(ID_RANDOM_BYTES)),
            type=spec.type,
            policies=spec.policies,
            path=spec.path,
            display_name=spec.display_name,
            created_at_ms=now_ms,
            ttl_s=spec.ttl_s,
            expire_at_ms=now_ms + spec.ttl_s * 1000 if spec.ttl_s else 0,
            parent=spec.parent.key if spec.parent is not None else "",
            metadata=spec.metadata,
            num_uses=spec.num_uses,
            explicit_max_ttl_s=spec.explicit_max_ttl_s,
            period_s=spec.period_s,
            max_ttl_s=spec.max_ttl_s,
            renewable=spec.renewable and spec.ttl_s > 0 and not is_batch,
            role=spec.role,
            entity_id=spec.entity_id,
            bound_cidrs=spec.bound_cidrs,
            internal=spec.internal,
        )
        self.meters.token_made(entry)
        if is_batch:
            return self._sealed(entry)
        token = spec.id or random_token(self.sources, spec.type)
        return self._stored(token, entry, spec)

    def _sealed(self, entry: TokenEntry) -> CreatedToken:
        if entry.is_root:
            raise InvalidRequest("batch tokens cannot be root tokens")
        sealed = self._sealer.seal(store.BATCH_AAD, store.encode_token(entry))
        token = _BATCH_PREFIX + _text_of(sealed)
        if len(token) > _TOKEN_CHARS_MAX:
            raise InvalidRequest("the batch token would be too long: it carries its policies and metadata in itself")
        return CreatedToken(token, self.key_of(token), entry, ())

    def _stored(self, token: str, entry: TokenEntry, spec: TokenSpec) -> CreatedToken:
        key = self.key_of(token)
        # Index 0: a token that exists is never overwritten, whoever chose its id.
        writes: list[Write] = [
            Put(store.record_key(key), store.encode_token(entry), 0),
            Put(store.accessor_key(self.accessor_hmac(entry.accessor)), store.encode_accessor(entry.accessor, key)),
        ]
        if entry.expire_at_ms:
            writes.append(due_put(entry.expire_at_ms, TOKEN, key))
        if spec.parent is not None:
            # Should the parent end at this moment, one of the two loses: no child is ever left behind.
            writes.append(Check(store.record_key(spec.parent.key), spec.parent.index))
            writes.append(Put(store.child_key(spec.parent.key, key), b"\x01"))
        return CreatedToken(token, key, entry, tuple(writes))

    def renewal(
        self, seen: SeenToken, wanted_s: int, *, period_s: int | None = None, max_ttl_s: int | None = None
    ) -> End:
        """The new end of a token that is renewed now; period and maximum as its role states them today, if it does.

        Raises:
            InvalidRequest: It cannot be renewed ("lease is not renewable"), or has reached its maximum.
        """
        entry, now_ms = seen.entry, self.sources.now_ms()
        if not entry.renewable or entry.expire_at_ms == 0 or not is_alive(entry, now_ms):
            raise InvalidRequest("lease is not renewable")
        return end_of(
            now_ms=now_ms,
            issued_at_ms=entry.created_at_ms,
            wanted_s=wanted_s,
            limits=least_max(self.ttls_of(entry.path), entry.max_ttl_s if max_ttl_s is None else max_ttl_s),
            period_s=entry.period_s if period_s is None else period_s,
            explicit_max_s=entry.explicit_max_ttl_s,
        )

    def renew_writes(self, seen: SeenToken, end_ms: int) -> tuple[TokenEntry, tuple[Write, ...]]:
        """The token with its new end (Unix ms), and the writes; a renewal that lost a race meets a Conflict."""
        entry = replace(seen.entry, expire_at_ms=end_ms, renewed_at_ms=self.sources.now_ms())
        record = Put(store.record_key(seen.key), store.encode_token(entry), seen.index)
        return entry, (record, *self._moved(seen.key, seen.entry.expire_at_ms, end_ms))

    # Ending

    def remove_writes(self, seen: SeenToken, now_ms: int) -> tuple[Write, ...]:
        """Make the token nothing at once, and leave a due entry behind that clears away what belonged to it."""
        entry = seen.entry
        writes: list[Write] = [
            Delete(store.record_key(seen.key), seen.index),
            Delete(store.accessor_key(self.accessor_hmac(entry.accessor))),
        ]
        if entry.parent:
            writes.append(Delete(store.child_key(entry.parent, seen.key)))
        if entry.expire_at_ms and entry.expire_at_ms != now_ms:
            writes.append(Delete(due_key(entry.expire_at_ms, TOKEN, seen.key)))
        writes.append(due_put(now_ms, TOKEN, seen.key))
        return tuple(writes)


def _text_of(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def is_last_use(seen: SeenToken) -> bool:
    """Whether `use_writes` of this token spends it."""
    return seen.entry.num_uses == 1


def is_alive(entry: TokenEntry, now_ms: int) -> bool:
    """Whether the token has neither ended nor been used up."""
    return (entry.expire_at_ms == 0 or now_ms < entry.expire_at_ms) and entry.num_uses >= 0
