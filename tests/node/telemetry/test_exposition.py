"""The two forms of sys/metrics: Prometheus' text, as its own parser reads it, and the documented JSON."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.meters import Registry
from node.telemetry import exposition
from node.telemetry.exposition import Look
from node.telemetry.names import Filter, part_of_name, prometheus_name

ALL = Filter((), default=True)


def look(prefix: str = "vault", shown: Filter = ALL, host: str = "") -> Look:
    return Look(prefix=prefix, shown=shown, host=host)


def some() -> Registry:
    registry = Registry()
    registry.counters("token.creation", "Tokens.", "auth_method").of('a"b\\c\nd').value = 3
    spread = registry.spread("raft.leader.lastContact", "Contact.")
    for number in (1, 2, 3):
        spread.add(number / 1000)
    registry.gauge("core.unsealed", "Unsealed.", lambda: 1)
    registry.gauge("autopilot.healthy", "Healthy.", lambda: None)
    return registry


def text(registry: Registry, how: Look) -> str:
    return exposition.prometheus(registry.families.values(), how).decode()


def test_prometheus_reads_it_back() -> None:
    """Names, labels, values and types survive Prometheus' own parser; so do those of the process."""
    found = {family.name: family for family in text_string_to_metric_families(text(some(), look()))}
    labels = found["vault_token_creation"].samples[0].labels
    assert labels == {"auth_method": 'a"b\\c\nd'}
    summary = {
        (sample.name, sample.labels.get("quantile")): sample.value
        for sample in found["vault_raft_leader_lastContact"].samples
    }
    assert summary == {
        ("vault_raft_leader_lastContact", "0.5"): 2.0,
        ("vault_raft_leader_lastContact", "0.9"): 3.0,
        ("vault_raft_leader_lastContact", "0.99"): 3.0,
        ("vault_raft_leader_lastContact_sum", None): 6.0,
        ("vault_raft_leader_lastContact_count", None): 3.0,
    }
    assert found["vault_core_unsealed"].type == "gauge"
    assert "vault_autopilot_healthy" not in found
    assert "process_resident_memory_bytes" in found


def test_counters_have_no_ending() -> None:
    """The documented names have no _total."""
    assert 'vault_token_creation{auth_method="a\\"b\\\\c\\nd"} 3\n' in text(some(), look())
    assert "# TYPE vault_token_creation counter\n" in text(some(), look())


def test_the_json_form() -> None:
    """Gauges, points, counters and samples, each with its labels; the interval is the first one while it runs."""
    found = exposition.summary(some().families.values(), look(), 1_795_291_200_000)
    assert found["Timestamp"] == "2026-11-21 20:00:00 +0000 UTC"
    assert found["Gauges"] == [{"Name": "vault.core.unsealed", "Value": 1, "Labels": {}}]
    assert found["Points"] == []
    assert found["Counters"] == [
        {
            "Name": "vault.token.creation",
            "Count": 3,
            "Rate": 0.3,
            "Sum": 3,
            "Min": 1,
            "Max": 1,
            "Mean": 1.0,
            "Stddev": 0.0,
            "Labels": {"auth_method": 'a"b\\c\nd'},
        }
    ]
    samples: Any = found["Samples"]
    (sample,) = samples
    assert (sample["Name"], sample["Count"], sample["Min"], sample["Max"], sample["Mean"]) == (
        "vault.raft.leader.lastContact",
        3,
        1.0,
        3.0,
        2.0,
    )
    assert round(sample["Stddev"], 6) == 1.0


def test_the_dump() -> None:
    """SIGUSR1 writes a line for each: its letter, its name, its numbers."""
    lines = exposition.dump(exposition.summary(some().families.values(), look(), 0)).splitlines()
    assert lines[0] == "[1970-01-01 00:00:00 +0000 UTC][G] 'vault.core.unsealed': 1.000"
    assert "[S] 'vault.raft.leader.lastContact': Count: 3 Min: 1.000 Mean: 2.000 Max: 3.000" in lines[-1]


def test_prefix_and_host() -> None:
    """`metrics_prefix` and `enable_hostname_label`."""
    shown = text(some(), look(prefix="sr", host="h1"))
    assert 'sr_core_unsealed{host="h1"} 1\n' in shown
    assert "vault_" not in shown


@pytest.mark.parametrize(
    ("rules", "default", "shown"),
    [
        ((), True, {"token", "raft", "core"}),
        ((), False, set()),
        (("-vault.raft",), True, {"token", "core"}),
        (("+vault.raft",), False, {"raft"}),
        (("-vault.raft", "+vault.raft.leader"), True, {"token", "raft", "core"}),
        (("+vault.raft", "-vault.raft"), True, {"token", "core"}),
    ],
)
def test_prefix_filter(rules: tuple[str, ...], default: bool, shown: set[str]) -> None:
    """The longest rule wins, and of two as long the one that hides (documentation of prefix_filter)."""
    page = text(some(), look(shown=Filter(rules, default=default)))
    assert {name for name in ("token", "raft", "core") if f"vault_{name}_" in page} == shown


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("raft-storage.get", "vault_raft_storage_get"),
        ("route.read." + part_of_name("auth/token/"), "vault_route_read_auth_token_"),
        ("audit." + part_of_name("f2/") + ".log_request", "vault_audit_f2__log_request"),
        ("route.read." + part_of_name("a b=é/"), "vault_route_read_a_b___"),
        ("raft.replication.appendEntries.rpc", "vault_raft_replication_appendEntries_rpc"),
    ],
)
def test_names(name: str, spelled: str) -> None:
    """Whatever Prometheus does not take is an underscore; camel case stays."""
    assert prometheus_name("vault", name) == spelled
