"""node/tokens/token_store.py: making, finding, checking, using and renewing."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from cluster.errors import Conflict
from engines.common.errors import InvalidRequest, PermissionDenied
from node.tokens import store
from node.tokens.model import TokenSpec, TokenType, Ttls
from node.tokens.token_store import is_last_use, random_token
from tests.node.tokens.rig import NOW_MS, Rig

BATCH = TokenSpec(policies=("p",), path="auth/x/login", display_name="x", ttl_s=60, type=TokenType.BATCH)


async def test_a_token_is_found_by_itself_its_key_and_its_accessor() -> None:
    """One record, three ways to it."""
    rig = Rig()
    made = await rig.child(await rig.root(), metadata={"a": "b"})
    seen = await rig.tokens.lookup(made.token)
    assert seen is not None
    assert seen.entry == made.entry
    assert await rig.tokens.lookup_key(made.key) == seen
    assert await rig.tokens.lookup_accessor(made.entry.accessor) == seen
    assert await rig.tokens.lookup_accessor("x" * 24) is None
    assert await rig.tokens.lookup_accessor("") is None


async def test_storage_holds_no_token_and_no_accessor_in_a_key() -> None:
    """Tokens are stored only under their HMAC; paths are visible, so an accessor is in none of them."""
    rig = Rig()
    made = await rig.child(await rig.root())
    secret = made.token.removeprefix("hvs.")
    for key, (value, _) in rig.store.entries.items():
        assert secret not in key
        assert secret.encode() not in value
        assert made.entry.accessor not in key
    assert made.token not in repr(made)


def test_ids_have_the_documented_shape() -> None:
    """hvs. or hvr., then 24 letters and digits: the documented pattern."""
    rig = Rig()
    assert re.fullmatch(r"hvs\.[a-zA-Z0-9]{24}", random_token(rig.sources, TokenType.SERVICE))
    assert re.fullmatch(r"hvr\.[a-zA-Z0-9]{24}", random_token(rig.sources, TokenType.RECOVERY))


async def test_a_request_without_or_with_an_unknown_token_is_refused() -> None:
    """The texts that clients know; nothing says whether a token ever existed."""
    rig = Rig()
    with pytest.raises(InvalidRequest, match="missing client token"):
        await rig.tokens.resolve("", "")
    for token in ("hvs.unknown", "hvb.unknown", "hvb.", "\udcff", "x" * 100_000, "hvb." + "A" * 200, "hvb.é"):
        with pytest.raises(PermissionDenied, match="permission denied"):
            await rig.tokens.resolve(token, "")


@pytest.mark.parametrize(("left_ms", "usable"), [(1, True), (0, False), (-1, False)])
@pytest.mark.parametrize("kind", [TokenType.SERVICE, TokenType.BATCH])
async def test_a_token_ends_at_its_moment(left_ms: int, usable: bool, kind: TokenType) -> None:
    """By the clock, without waiting for the sweeper."""
    rig = Rig()
    made = await rig.make(replace(BATCH, type=kind))
    rig.sources.advance(60_000 - left_ms)
    assert await rig.alive(made.token) is usable


async def test_only_root_may_have_no_end() -> None:
    """CVE-2021-32923: arithmetic that comes to 0 is a fault, not eternal life."""
    rig = Rig()
    with pytest.raises(ValueError, match="no end"):
        rig.tokens.create_writes(replace(BATCH, ttl_s=0))
    assert await rig.alive(await rig.root())


async def test_bound_addresses_bind_all_but_a_root_token_without_end() -> None:
    """A non-expiring root token is the way back in."""
    rig = Rig()
    bound = ("10.0.0.0/8",)
    made = await rig.make(replace(BATCH, type=TokenType.SERVICE, bound_cidrs=bound))
    await rig.tokens.resolve(made.token, "10.1.2.3")
    with pytest.raises(PermissionDenied):
        await rig.tokens.resolve(made.token, "192.0.2.1")
    root = replace(BATCH, type=TokenType.SERVICE, policies=("root",), bound_cidrs=bound)
    await rig.tokens.resolve((await rig.make(replace(root, ttl_s=0))).token, "192.0.2.1")
    expiring = await rig.make(root)
    with pytest.raises(PermissionDenied):
        await rig.tokens.resolve(expiring.token, "192.0.2.1")


async def test_a_batch_token_is_self_contained_and_cannot_be_changed() -> None:
    """No write, no accessor; one changed or respelled character and it is no token."""
    rig = Rig()
    made = await rig.make(BATCH)
    assert rig.store.commits == 0
    assert made.entry.accessor == ""
    assert (await rig.tokens.resolve(made.token, "")).entry == made.entry
    for other in (made.token + "=", made.token + "!", made.token[:-1], made.token[:20] + "AAAA" + made.token[24:]):
        assert await rig.tokens.lookup(other) is None
    with pytest.raises(InvalidRequest):
        rig.tokens.create_writes(replace(BATCH, policies=("root",)))


async def test_a_batch_token_dies_with_its_parent() -> None:
    """At once on revocation, and at the parent's own end."""
    rig = Rig()
    root = await rig.root()
    for end in ("revoke", "expire"):
        parent = await rig.child(root, ttl_s=100)
        batch = await rig.child(parent.token, type=TokenType.BATCH, ttl_s=1000)
        assert await rig.alive(batch.token)
        if end == "revoke":
            await rig.revoker.revoke(parent.key)
        else:
            rig.sources.advance(100_000)
        assert not await rig.alive(batch.token)


async def test_a_changed_record_is_decoded_anew() -> None:
    """The decoded form is remembered by index, so no change needs to be announced."""
    rig = Rig()
    made = await rig.child(await rig.root())
    first = await rig.tokens.resolve(made.token, "")
    assert await rig.tokens.resolve(made.token, "") is first
    _, writes = rig.tokens.renew_writes(first, NOW_MS + 10_000)
    await rig.store.commit(writes)
    assert (await rig.tokens.resolve(made.token, "")).entry.expire_at_ms == NOW_MS + 10_000


@pytest.mark.parametrize("uses", [1, 2, 5])
async def test_concurrent_uses_never_exceed_the_limit(uses: int) -> None:
    """Each use names the index at which it saw the token: of 12 at once, exactly `uses` are served."""
    rig = Rig()
    made = await rig.child(await rig.root(), num_uses=uses)

    async def use() -> bool:
        while True:
            try:
                seen = await rig.tokens.resolve(made.token, "")
                await rig.store.commit(rig.tokens.use_writes(seen))
            except Conflict:
                continue
            except PermissionDenied:
                return False
            if is_last_use(seen):
                await rig.revoker.revoke(seen.key)
            return True

    served = await asyncio.gather(*(use() for _ in range(12)))
    assert sum(served) == uses
    await rig.sweep_all()
    assert await rig.tokens.lookup(made.token) is None


async def test_a_spent_token_ends_by_itself_if_its_node_fell() -> None:
    """The last use leaves a due entry: after a crash before `revoke` the sweeper ends the token and its leases."""
    rig = Rig()
    made = await rig.child(await rig.root(), num_uses=2)
    lease_id = await rig.lease(made.token)
    for _ in range(2):
        await rig.store.commit(rig.tokens.use_writes(await rig.tokens.resolve(made.token, "")))
    assert not await rig.alive(made.token)
    rig.restart()
    rig.sources.advance(120_000)
    await rig.sweep_all()
    assert await rig.tokens.lookup(made.token) is None
    assert rig.revoked == [lease_id]


async def test_a_child_is_not_made_below_a_parent_that_ended_meanwhile() -> None:
    """Creation names the index of the parent it saw."""
    rig = Rig()
    parent = await rig.child(await rig.root())
    seen = await rig.tokens.resolve(parent.token, "")
    made = rig.tokens.create_writes(
        TokenSpec(policies=("p",), path="auth/token/create", display_name="token", ttl_s=60, parent=seen)
    )
    await rig.revoker.revoke(parent.key)
    with pytest.raises(Conflict):
        await rig.store.commit(made.writes)
    assert not await rig.alive(made.token)


async def test_a_renewal_that_lost_a_race_changes_nothing() -> None:
    """A revoked token does not come back through a renewal that was under way."""
    rig = Rig()
    made = await rig.child(await rig.root())
    seen = await rig.tokens.resolve(made.token, "")
    _, writes = rig.tokens.renew_writes(seen, NOW_MS + 10_000_000)
    await rig.revoker.revoke(made.key)
    with pytest.raises(Conflict):
        await rig.store.commit(writes)


async def test_maxima_are_evaluated_at_each_renewal() -> None:
    """A mount's maximum that was lowered since applies to tokens that exist."""
    rig = Rig()
    made = await rig.child(await rig.root())
    seen = await rig.tokens.resolve(made.token, "")
    assert rig.tokens.renewal(seen, 50_000).at_ms == NOW_MS + 50_000_000
    rig.limits = Ttls(100, 200)
    assert rig.tokens.renewal(seen, 50_000).at_ms == NOW_MS + 200_000


def test_records_read_back_and_other_formats_are_refused() -> None:
    """A format-version byte leads each record."""
    rig = Rig()
    made = rig.tokens.create_writes(replace(BATCH, type=TokenType.SERVICE, metadata={"é": "ü"}, internal=b"\0\xff"))
    data = store.encode_token(made.entry)
    assert store.decode_token(data) == made.entry
    with pytest.raises(ValueError, match="format version"):
        store.decode_token(b"\x02" + data[1:])


def test_an_accessor_is_never_taken_for_a_token() -> None:
    """Both HMACs are under one salt, so they are kept apart by what they are of."""
    rig = Rig()
    assert rig.tokens.accessor_hmac("same") != rig.tokens.key_of("same")
