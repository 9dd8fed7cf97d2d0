"""sys/internal/counters: entities, tokens, and the clients of each month."""

import csv
import io
import json

import pytest

from tests.node.live import NOW_MS, Live, live

MONTH = 31 * 24 * 3600 * 1000


async def used(one: Live, *names: str) -> None:
    """Each of these users logs in and uses its token."""
    for name in names:
        token = (await one.login(name))["client_token"]
        await one.read("auth/token/lookup-self", token=token)


async def test_entities_and_tokens() -> None:
    """How many there are now."""
    async with live() as one:
        await one.users("alice", "bob")
        await one.login("alice")
        await one.login("bob")
        assert await one.read("sys/internal/counters/entities") == {"counters": {"entities": {"total": 2}}}
        assert await one.read("sys/internal/counters/tokens") == {"counters": {"service_tokens": {"total": 3}}}


async def test_clients_of_a_month() -> None:
    """An entity counts once however often it comes; tokens without one count by their policies; root does not."""
    async with live() as one:
        await one.users("alice", "bob")
        await used(one, "alice", "alice", "bob")
        made = await one.ok("POST", "auth/token/create", {"policies": ["default"]})
        await one.read("auth/token/lookup-self", token=made["auth"]["client_token"])
        found = await one.read("sys/internal/counters/activity/monthly")
        assert (found["entity_clients"], found["non_entity_clients"], found["clients"]) == (2, 1, 3)
        mounts = {row["mount_path"]: row["counts"]["clients"] for row in found["by_namespace"][0]["mounts"]}
        assert mounts == {"auth/userpass/": 2, "auth/token/": 1}


async def test_months() -> None:
    """Who comes back in another month is a client of that month, and not a new one; a restart forgets nobody stored."""
    async with live() as one:
        await one.users("alice", "bob")
        await used(one, "alice")
        await one.node.activity.store()
        one.sources.advance(MONTH)
        await used(one, "alice", "bob")
        await one.node.activity.store()
        await one.restart()
        found = await one.read("sys/internal/counters/activity")
        assert (found["start_time"], found["end_time"]) == ("2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z")
        assert found["total"]["clients"] == 2
        by_month = {row["timestamp"][:7]: row for row in found["months"]}
        assert len(by_month) == 12
        assert by_month["2026-11"]["counts"]["clients"] == 1
        assert by_month["2026-12"]["counts"]["clients"] == 2
        assert by_month["2026-12"]["new_clients"]["counts"]["clients"] == 1
        one_month = await one.read(
            "sys/internal/counters/activity?start_time=2026-11-01T00:00:00Z&end_time=2026-11-30T00:00:00Z"
        )
        assert one_month["total"]["clients"] == 1
        assert one_month["by_namespace"][0]["namespace_id"] == "root"


async def test_a_token_that_is_known_counts_in_the_next_month_too() -> None:
    """Who uses one token for months is a client of each of them."""
    async with live() as one:
        made = await one.ok("POST", "auth/token/create", {"policies": ["default"], "period": "2000h"})
        token = made["auth"]["client_token"]
        await one.read("auth/token/lookup-self", token=token)
        one.sources.advance(MONTH)
        one.node.activity._begin_month()  # as its minute's work does
        await one.read("auth/token/lookup-self", token=token)
        found = await one.read("sys/internal/counters/activity")
        assert [row["counts"]["clients"] for row in found["months"][-2:]] == [0, 1]


@pytest.mark.parametrize("form", ["json", "csv"])
async def test_export(form: str) -> None:
    """Every client with what is known of it; this takes sudo."""
    async with live() as one:
        await one.users("alice")
        await used(one, "alice")
        from tests.node.system.test_monitoring import ask

        answer = await ask(one.core, f"sys/internal/counters/activity/export?format={form}", token="root")
        assert answer.stream is not None
        body = b"".join([chunk async for chunk in answer.stream]).decode()
        rows = [json.loads(line) for line in body.splitlines()] if form == "json" else csv.DictReader(io.StringIO(body))
        (row,) = rows
        assert (row["client_type"], row["mount_path"], row["mount_type"]) == ("entity", "auth/userpass/", "userpass")
        await one.policy("reader", 'path "sys/internal/counters/activity/export" { capabilities = ["read"] }')
        weak = (await one.ok("POST", "auth/token/create", {"policies": ["reader"]}))["auth"]["client_token"]
        await one.refused("GET", "sys/internal/counters/activity/export", token=weak, status=403)


async def test_configuration() -> None:
    """Counting can be switched off, which drops what this month has not stored yet."""
    async with live() as one:
        config = await one.read("sys/internal/counters/config")
        assert (config["enabled"], config["retention_months"], config["queries_available"]) == (
            "default-enabled",
            48,
            False,
        )
        await one.users("alice", "bob")
        await used(one, "alice")
        await one.ok("POST", "sys/internal/counters/config", {"enabled": "disable", "retention_months": 50})
        await used(one, "bob")
        assert (await one.read("sys/internal/counters/activity/monthly"))["clients"] == 0
        assert (await one.read("sys/internal/counters/config"))["enabled"] == "disable"
        await one.ok("POST", "sys/internal/counters/config", {"enabled": "enable"})
        assert (await one.read("sys/internal/counters/config"))["retention_months"] == 50
        for body in ({"enabled": "maybe"}, {"retention_months": 47}, {"retention_months": 61}):
            await one.refused("POST", "sys/internal/counters/config", body, status=400)


@pytest.mark.parametrize(
    "query", ["start_time=yesterday", "start_time=2026-12-01T00:00:00Z&end_time=2026-11-01T00:00:00Z"]
)
async def test_periods_that_are_none(query: str) -> None:
    """Times that cannot be read, and an end before the start."""
    async with live() as one:
        await one.refused("GET", f"sys/internal/counters/activity?{query}", status=400)


async def test_unix_times() -> None:
    """Times may be seconds, as the documentation says."""
    async with live() as one:
        at_s = NOW_MS // 1000
        found = await one.read(f"sys/internal/counters/activity?start_time={at_s}&end_time={at_s}")
        assert (found["start_time"], found["end_time"]) == ("2026-11-01T00:00:00Z", "2026-11-30T23:59:59Z")


async def test_months_past_the_retention_go() -> None:
    """What is older than retention_months is removed when the next clients are stored."""
    async with live() as one:
        activity = one.node.activity
        from engines.common.plan import Put
        from node.activity import PREFIX

        stored = [
            Put(f"{PREFIX}{year}-{month:02d}/000000", b"\x01\x90")
            for year in range(2021, 2026)
            for month in range(1, 13)
        ]
        await one.node.opened.commit("", stored)
        await activity.store()
        assert activity.months()[0] == "2022-01"
        assert len(activity.months()) == 48
