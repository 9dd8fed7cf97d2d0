"""deploy/prometheus and deploy/grafana: what they ask for is what the server has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from node.telemetry.exposition import process_metrics
from node.telemetry.names import prometheus_name
from tests.cluster.test_raft_meters import MOVES
from tests.node.cores import new_core
from tests.node.telemetry.test_every_metric import OF_SEVERAL, STEPS

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus/alerts.yml"
CONFIG: Final = DEPLOY / "prometheus/prometheus.yml"
DASHBOARD: Final = DEPLOY / "grafana/strongroom.json"

METRIC: Final = re.compile(r"\b((?:vault|process|up|node)(?:_\w+)?)\b(?!\s*\()")
FOREIGN: Final = frozenset(("up", "node_memory_MemTotal_bytes"))  # Prometheus' own, and the node exporter's


@lru_cache(1)
def known() -> frozenset[str]:
    """Every name that a node can show, and what Prometheus makes of a summary."""
    telemetry = new_core().telemetry
    kinds = {prometheus_name("vault", family.name): family.kind for family in telemetry.families()}
    names = {f"vault_{name}" for _, found in STEPS for name in found}
    names |= {f"vault_{name}" for found in OF_SEVERAL.values() for name in found}
    names |= {prometheus_name("vault", name) for nodes in MOVES.values() for _, found in nodes for name in found}
    names |= set(kinds) | {line.split()[2] for line in process_metrics().decode().splitlines() if "# TYPE" in line}
    summaries = {name for name in names if kinds.get(name, "summary") == "summary"}
    return frozenset(names | {f"{name}{end}" for name in summaries for end in ("_count", "_sum")} | FOREIGN)


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_it_asks_for_what_there_is(where: str, expression: str) -> None:
    """Each metric in an alert or a panel is one that the server, or the exporter that it names, has."""
    names = {name for name in METRIC.findall(re.sub(r'"[^"]*"', '""', expression)) if name not in ("node", "process")}
    assert names
    assert names <= known()


def test_the_documented_key_metrics_have_an_alert() -> None:
    """The six key metrics of the documentation: each is in a rule, at its documented threshold where it has one."""
    text = RULES.read_text()
    for name in (
        "vault_core_leadership_lost_count",
        "vault_core_leadership_setup_failed_count",
        'vault_raft_leader_lastContact{quantile="0.9"} > 200',
        "vault_audit_log_request_failure[5m]) > 0",
        "vault_audit_log_response_failure[5m]) > 0",
        "vault_runtime_sys_bytes",
        "rate(vault_runtime_gc_pause_ns_sum[1m]) * 60 > 5e9",
        "vault_expire_num_leases) > 256000",
        "vault_expire_num_irrevocable_leases",
        "vault_core_handle_request{",
        "vault_core_handle_login_request{",
        "vault_quota_rate_limit_violation",
        "vault_autopilot_healthy",
        "vault_autopilot_failure_tolerance",
    ):
        assert name in text, name


def test_each_alert_is_in_the_guide() -> None:
    """docs/operations/monitoring.md says of each alert what to do, and names no other."""
    guide = (DEPLOY.parent / "docs/operations/monitoring.md").read_text()
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert set(re.findall(r"`(Strongroom\w+)`", guide)) == alerts


def test_panels_do_not_overlap() -> None:
    """Every panel has its place and a name of its own, as Grafana wants them."""
    cells: set[tuple[int, int]] = set()
    panels = dashboard()["panels"]
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells and max(x for x, _ in own) < 24, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels) == len({panel["title"] for panel in panels})


@pytest.mark.parametrize("what", [("rules", RULES), ("config", CONFIG)])
def test_promtool_finds_no_fault(what: tuple[str, Path]) -> None:
    """Prometheus' own checker takes rules and configuration."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    kind, path = what
    done = subprocess.run([program, "check", kind, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
