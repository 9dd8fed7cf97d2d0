"""sys/leases over its routes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engines.common.errors import InvalidRequest, NotFound
from engines.common.frame import Operation
from engines.common.plan import Answer, KnownLease
from tests.node.tokens.rig import Rig


async def asked(rig: Rig, operation: Operation, path: str, body: Mapping[str, object] | None = None) -> Answer:
    return await rig.call(operation, path, rig.root_token, body, table=rig.lease_table)


async def rig_with_lease() -> tuple[Rig, str]:
    rig = Rig()
    rig.root_token = await rig.root()
    return rig, await rig.lease(rig.root_token)


async def test_lookup_shows_the_documented_fields() -> None:
    """And says "invalid lease" of what there is not."""
    rig, lease_id = await rig_with_lease()
    answer = await asked(rig, Operation.UPDATE, "leases/lookup", {"lease_id": lease_id})
    assert answer.data == {
        "id": lease_id,
        "issue_time": "2026-11-21T20:00:00.000000000Z",
        "expire_time": "2026-11-21T21:00:00.000000000Z",
        "last_renewal": None,
        "last_renewal_time": None,
        "renewable": True,
        "ttl": 3600,
    }
    for wrong in ({}, {"lease_id": "a/b"}):
        with pytest.raises(InvalidRequest):
            await asked(rig, Operation.UPDATE, "leases/lookup", wrong)


async def test_leases_are_listed_by_path() -> None:
    """From the top, and below a path."""
    rig, lease_id = await rig_with_lease()
    assert (await asked(rig, Operation.LIST, "leases/lookup")).data == {"keys": ["database/"]}
    below = await asked(rig, Operation.LIST, "leases/lookup/database/creds/app")
    assert below.data == {"keys": [lease_id.rsplit("/", 1)[1]]}
    with pytest.raises(NotFound):
        await asked(rig, Operation.LIST, "leases/lookup/other")


@pytest.mark.parametrize("in_path", [False, True])
async def test_renew_and_revoke_by_body_and_by_path(in_path: bool) -> None:
    """The id in the body wins; the increment counts from now."""
    rig, lease_id = await rig_with_lease()
    rig.sources.advance(1_000_000)
    suffix, body = (f"/{lease_id}", {}) if in_path else ("/not/this/one", {"lease_id": lease_id})
    answer = await asked(rig, Operation.UPDATE, f"leases/renew{suffix}", body | {"increment": "100s"})
    assert answer.known_lease == KnownLease(lease_id, 100, True)
    await asked(rig, Operation.UPDATE, f"leases/revoke{suffix}", body | {"sync": True})
    assert rig.revoked == [lease_id]
    with pytest.raises(InvalidRequest):
        await asked(rig, Operation.UPDATE, "leases/revoke", {})


async def test_revoke_prefix_and_force() -> None:
    """Queued, in sync, and forced; an empty prefix is not everything."""
    rig, lease_id = await rig_with_lease()
    await asked(rig, Operation.UPDATE, "leases/revoke-prefix/database", {"sync": True})
    assert rig.revoked == [lease_id]
    await rig.lease(rig.root_token)
    rig.engine_error = ConnectionError()
    await asked(rig, Operation.UPDATE, "leases/revoke-force/database/creds")
    assert not rig.store.keys_below("sys/lease/")
    for path in ("leases/revoke-prefix", "leases/revoke-force/"):
        with pytest.raises(InvalidRequest):
            await asked(rig, Operation.UPDATE, path)


async def test_irrevocable_leases_are_counted_and_listed() -> None:
    """Only that type can be asked for; a limit that cuts the list short is told."""
    rig, _ = await rig_with_lease()
    await rig.lease(rig.root_token)
    rig.engine_error = ConnectionError()
    rig.sources.advance(3_600_000)
    for _ in range(7):
        await rig.sweep_all()
        rig.sources.advance(1_000_000)
    asked_for: dict[str, object] = {"type": "irrevocable"}
    count = await asked(rig, Operation.READ, "leases/count", asked_for)
    assert count.data == {"lease_count": 2, "counts": {"m1": 2}}
    for limit, shown, warned in (("", 2, False), ("none", 2, False), ("1", 1, True), ("2", 2, False)):
        answer = await asked(rig, Operation.READ, "leases", asked_for | {"limit": limit})
        assert (answer.data or {})["lease_count"] == shown
        assert bool(answer.warnings) is warned
    for wrong in ({}, {"type": "other"}, {"type": "irrevocable", "limit": "x"}):
        with pytest.raises(InvalidRequest):
            await asked(rig, Operation.READ, "leases", dict(wrong))


async def test_tidy_is_started() -> None:
    """It runs in the background, one at a time."""
    rig, _ = await rig_with_lease()
    await asked(rig, Operation.UPDATE, "leases/tidy")
    with pytest.raises(InvalidRequest, match="already in progress"):
        await asked(rig, Operation.UPDATE, "leases/tidy")
    await rig.leases.tidying.stop()


def test_the_paths_that_need_sudo() -> None:
    """The root-protected ones of the API reference."""
    rig = Rig()
    sudo = {route.pattern for p in rig.lease_table.patterns for route in p.routes.values() if route.sudo}
    assert sudo == {"leases/lookup/*prefix", "leases/revoke-prefix/*prefix", "leases/revoke-force/*prefix"}
