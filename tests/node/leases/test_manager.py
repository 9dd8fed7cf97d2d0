"""node/leases/manager.py: registering, renewing and revoking leases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.errors import Conflict
from engines.common.errors import InvalidRequest
from engines.common.plan import LeaseGrant, Put
from node.leases import store
from node.leases.model import Lease, LeaseState, Renewal
from node.tokens.model import TokenType, Ttls
from tests.node.tokens.rig import NOW_MS, Rig


async def test_a_lease_is_named_by_its_path_and_found_by_it() -> None:
    """Request path, slash, random: hence revocation and listing by prefix."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    assert lease_id.startswith("database/creds/app/")
    assert (await rig.leases.lookup(lease_id)).expire_at_ms == NOW_MS + 3_600_000
    assert await rig.leases.names_below("database/creds/") == ["app/"]
    assert await rig.leases.names_below("database/creds/app") == [lease_id.rsplit("/", 1)[1]]
    with pytest.raises(InvalidRequest, match="invalid lease"):
        await rig.leases.lookup("database/creds/app/unknown")


@pytest.mark.parametrize("token_ttl_s", [10, 3599, 3600, 3601])
async def test_cve_2020_25816_a_batch_tokens_lease_ends_with_it(token_ttl_s: int) -> None:
    """CVE-2020-25816: neither the first end nor a renewal passes the end of the batch token."""
    rig = Rig()
    parent = await rig.child(await rig.root(), ttl_s=100_000)
    batch = await rig.child(parent.token, type=TokenType.BATCH, ttl_s=token_ttl_s)
    lease_id = await rig.lease(batch.token, ttl_s=3600)
    end_ms = NOW_MS + token_ttl_s * 1000
    assert (await rig.leases.lookup(lease_id)).expire_at_ms == min(end_ms, NOW_MS + 3_600_000)
    rig.sources.advance(5_000)
    renewed, _, _ = await rig.leases.renew(lease_id, 50_000)
    assert renewed.expire_at_ms == end_ms


async def test_a_batch_tokens_lease_ends_with_its_parent() -> None:
    """It is kept in the index of the parent, as the batch token has no record."""
    rig = Rig()
    parent = await rig.child(await rig.root())
    batch = await rig.child(parent.token, type=TokenType.BATCH, ttl_s=1000)
    lease_id = await rig.lease(batch.token)
    await rig.revoker.revoke(parent.key)
    await rig.sweep_all()
    assert rig.revoked == [lease_id]


async def test_a_secret_for_a_token_that_ended_meanwhile_is_revoked() -> None:
    """The engine has acted already: the lease is registered all the same, due at once."""
    rig = Rig()
    made = await rig.child(await rig.root())
    holder = await rig.tokens.resolve(made.token, "")
    grant = LeaseGrant(ttl_s=60)
    first = await rig.leases.register(grant, path="db/creds/a", mount_uuid="m", holder=holder)
    await rig.revoker.revoke(made.key)
    with pytest.raises(Conflict):
        await rig.store.commit(first.writes)
    second = await rig.leases.register(grant, path="db/creds/a", mount_uuid="m", holder=holder)
    assert second.is_abandoned
    await rig.store.commit(second.writes)
    await rig.sweep_all()
    assert rig.revoked == [second.lease.lease_id]
    assert not rig.store.keys_below("sys/lease/")


@pytest.mark.parametrize(("age_ms", "left_ms"), [(0, 600_000), (3_599_000, 1000), (3_599_999, 1)])
async def test_a_renewal_near_the_maximum_gets_what_is_left(age_ms: int, left_ms: int) -> None:
    """CVE-2021-32923 for leases: capped from issue, never without an end."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root(), ttl_s=3600, max_ttl_s=3600)
    rig.sources.advance(age_ms)
    renewed, writes, _ = await rig.leases.renew(lease_id, 600)
    assert renewed.expire_at_ms == rig.sources.now_ms() + left_ms
    await rig.store.commit(writes)
    assert (await rig.leases.lookup(lease_id)).renewed_at_ms == rig.sources.now_ms()


@pytest.mark.parametrize("age_ms", [3_600_000, 3_600_001])
async def test_a_lease_that_ended_is_not_renewed(age_ms: int) -> None:
    """At its moment and after it, whether or not the sweeper came by."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.sources.advance(age_ms)
    with pytest.raises(InvalidRequest, match="lease expired"):
        await rig.leases.renew(lease_id, 600)


async def test_what_cannot_be_renewed_is_refused() -> None:
    """The texts that clients know."""
    rig = Rig()
    root = await rig.root()
    fixed = await rig.lease(root, renewable=False)
    with pytest.raises(InvalidRequest, match="lease is not renewable"):
        await rig.leases.renew(fixed, 0)
    with pytest.raises(InvalidRequest, match="lease not found"):
        await rig.leases.renew("auth/token/create/x", 0)
    revoked = await rig.lease(root)
    await rig.leases.revoke(revoked)
    with pytest.raises(InvalidRequest, match="lease expired"):
        await rig.leases.renew(revoked, 0)


async def test_the_engine_shapes_a_renewal() -> None:
    """Its writes come first, its maximum and its internal bytes replace what is stored."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root(), internal=b"old")
    rig.renewal = Renewal(ttl_s=7200, max_ttl_s=5000, internal=b"new", writes=(Put("logical/m1/x", b"1"),))
    renewed, writes, _ = await rig.leases.renew(lease_id, 0)
    assert renewed.expire_at_ms == NOW_MS + 5_000_000
    assert renewed.internal == b"new"
    assert writes[0] == Put("logical/m1/x", b"1")
    rig.limits = Ttls(10, 20)
    assert (await rig.leases.renew(lease_id, 0))[0].expire_at_ms == NOW_MS + 20_000


async def test_revoking_by_prefix_is_queued_durably() -> None:
    """A crash right after the acknowledgement loses nothing; what is issued later is spared, whole segments only."""
    rig = Rig()
    root = await rig.root()
    ended = {await rig.lease(root, path) for path in ("db/creds/a", "db/creds/a/b")}
    kept = [await rig.lease(root, "db/creds/ab")]
    await rig.leases.revoke_prefix("db/creds/a")
    rig.sources.advance(1)
    kept.append(await rig.lease(root, "db/creds/a"))
    rig.restart()
    await rig.sweep_all()
    assert set(rig.revoked) == ended
    for lease_id in kept:
        await rig.leases.lookup(lease_id)


async def test_a_lease_id_is_its_own_prefix() -> None:
    """`lease revoke -prefix ID` works on one lease."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    await rig.leases.revoke_prefix(lease_id, is_sync=True)
    assert rig.revoked == [lease_id]


async def test_sync_revocation_says_when_it_failed_and_tries_again() -> None:
    """The client learns of the refusal; the lease stays and is tried by itself."""
    rig = Rig()
    lease_id = await rig.lease(await rig.root())
    rig.engine_error = InvalidRequest("database is down")
    with pytest.raises(InvalidRequest, match="database is down"):
        await rig.leases.revoke(lease_id, is_sync=True)
    rig.engine_error = None
    rig.sources.advance(60_000)
    await rig.sweep_all()
    assert rig.revoked == [lease_id]
    await rig.leases.revoke(lease_id, is_sync=True)


async def test_force_forgets_what_the_engine_cannot_revoke() -> None:
    """Errors are ignored, also of leases that were given up."""
    rig = Rig()
    root = await rig.root()
    for _ in range(3):
        await rig.lease(root, "db/creds/a")
    rig.engine_error = ConnectionError("secret in a driver's text")
    await rig.leases.revoke_prefix("db", is_forced=True)
    assert not rig.store.keys_below("sys/lease/")


async def test_tidy_revokes_leases_whose_token_is_gone() -> None:
    """As documented; leases of live tokens stay."""
    rig = Rig()
    root = await rig.root()
    child = await rig.child(root)
    lost, kept = await rig.lease(child.token), await rig.lease(root)
    del rig.store.entries[f"sys/token/id/{child.key}"]
    await rig.leases.tidy()
    await rig.sweep_all()
    assert rig.revoked == [lost]
    await rig.leases.lookup(kept)


def test_records_read_back_and_other_formats_are_refused() -> None:
    """A format-version byte leads each record; the engine's bytes stay out of every repr."""
    lease = Lease(
        lease_id="a/b",
        path="a",
        mount_uuid="m",
        token_key="k",
        issued_at_ms=1,
        expire_at_ms=2,
        ttl_s=3,
        internal=b"canary",
    )
    lease = replace(lease, state=LeaseState.IRREVOCABLE, error="why", attempts=6, forced=True)
    assert store.decode_lease("a/b", store.encode_lease(lease)) == lease
    assert "canary" not in repr(lease)
    with pytest.raises(ValueError, match="format version"):
        store.decode_lease("a/b", b"\x02" + store.encode_lease(lease)[1:])
