"""Usage gauges: right, bounded, and computed beside requests."""

from dataclasses import replace

import pytest

from cluster.meters import Labels
from node.config.load import load
from node.telemetry.usage import Usage, ttl_bucket
from tests.node.live import Live, live


def gauge(one: Live, name: str) -> dict[Labels, float]:
    family = one.core.meters.registry.families[name]
    assert family.read is not None
    return {labels[1:]: value for labels, value in family.read().items()}


@pytest.mark.parametrize(
    ("ttl_s", "bucket"),
    [
        (1, "1m"),
        (60, "1m"),
        (61, "10m"),
        (3600, "1h"),
        (86_400, "1d"),
        (86_401, "2d"),
        (30 * 86_400, "30d"),
        (30 * 86_400 + 1, "+Inf"),
        (0, "+Inf"),
    ],
)
def test_ttl_buckets(ttl_s: int, bucket: str) -> None:
    """Rounded up to the documented ones; what has no end is in the last."""
    assert ttl_bucket(ttl_s) == bucket


async def test_counts() -> None:
    """Tokens by method, policy and TTL; entities and aliases; secrets of each KV mount; what ends."""
    async with live() as one:
        await one.users("alice", "bob")
        await one.login("alice")
        await one.login("bob")
        await one.write("sys/mounts/old", type="kv")
        await one.write("old/a", k="1")
        for name in ("a", "b", "c/d"):
            await one.write(f"secret/data/{name}", data={"k": "1"})
        await one.core.telemetry.usage.compute()
        assert gauge(one, "token.count") == {("root",): 3}
        assert gauge(one, "token.count.by_auth") == {("root", "token"): 1, ("root", "userpass"): 2}
        assert gauge(one, "token.count.by_policy") == {("root", "root"): 1, ("root", "default"): 2}
        assert gauge(one, "token.count.by_ttl") == {("root", "+Inf"): 3}
        assert gauge(one, "identity.entity.count") == {("root",): 2}
        assert gauge(one, "identity.entity.alias.count") == {("root", "userpass", "auth/userpass/"): 2}
        assert gauge(one, "secret.kv.count") == {("root", "secret/"): 3, ("root", "old/"): 1}
        assert gauge(one, "expire.num_leases") == {(): 2}


async def test_expirations() -> None:
    """Leases by the hour in which they end, named by the end of that hour."""
    async with live() as one:
        for ttl in ("30m", "40m", "90m", "2000h"):
            await one.ok("POST", "auth/token/create", {"ttl": ttl, "policies": ["default"]})
        await one.core.telemetry.usage.count_leases()
        now_s = one.sources.now_ms() // 1000
        found = gauge(one, "expire.leases.by_expiration")
        # The last is capped at the system's maximum, which is beyond the 168 documented buckets.
        assert found == {
            ("leases_by_expiration", str(now_s + 3600)): 2,
            ("leases_by_expiration", str(now_s + 7200)): 1,
        }


async def test_cardinality_has_a_bound() -> None:
    """At most maximum_gauge_cardinality values, the largest."""
    config = load([], {}, dev=True)
    async with live(config=replace(config, telemetry=replace(config.telemetry, gauge_cardinality_max=3))) as one:
        for number in range(6):
            await one.policy(f"p{number}", 'path "x" { capabilities = ["read"] }')
            await one.ok("POST", "auth/token/create", {"policies": [f"p{number}"], "no_default_policy": True})
        await one.ok("POST", "auth/token/create", {"policies": ["p5"], "no_default_policy": True})
        await one.core.telemetry.usage.count_tokens()
        found = gauge(one, "token.count.by_policy")
        assert len(found) == 3
        assert found["root", "p5"] == 2


async def test_gauges_go_with_the_keys() -> None:
    """A sealed node shows none of what it has counted."""
    async with live() as one:
        await one.core.telemetry.usage.compute()
        await one.core.seal_now()
        assert gauge(one, "token.count") == {}


async def test_none_switches_them_off() -> None:
    """`usage_gauge_period = "none"`: only what alerts rest on is counted."""
    config = load([], {}, dev=True)
    async with live(config=replace(config, telemetry=replace(config.telemetry, usage_gauge_period_s=0))) as one:
        rounds: set[str] = set()
        usage = one.core.telemetry.usage

        async def again(period_s: float, work: object) -> None:
            rounds.add(getattr(work, "__name__", ""))

        usage._again = again  # type: ignore[method-assign]
        await Usage.run(usage)
        assert rounds == {"count_leases", "count_locked_users"}
