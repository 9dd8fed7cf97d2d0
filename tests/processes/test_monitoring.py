"""A real Prometheus scrapes three nodes, and is asked; and no secret is in any metric or log line."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.deploy.test_monitoring import RULES, expressions
from tests.processes import cluster as processes
from tests.processes.cluster import Cluster, cluster, free_ports, wait_until

pytestmark = pytest.mark.processes

# Planted where secrets and the names that tell of them go. None of it may be in a metric or a log line.
CANARY: Final = "canary-7f3a9c"
OPEN_METRICS: Final = "  telemetry { unauthenticated_metrics_access = true }\n"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that write whatever they can to their logs, and whose listeners show the metrics to anybody."""
    plain = processes.node_config

    def config(*arguments: Any, **options: Any) -> str:
        text = plain(*arguments, **options).replace("tls_disable = true\n", "tls_disable = true\n" + OPEN_METRICS)
        return text + 'log_level = "trace"\ntelemetry { usage_gauge_period = "1s" }\n'

    with patch.object(processes, "node_config", config), cluster(tmp_path_factory.mktemp("monitoring")) as made:
        yield made


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; it must be a success."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(query)}", timeout=10) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def values(self, expression: str) -> list[float]:
        """The values of an expression, now."""
        return [float(row["value"][1]) for row in self.ask("query", query=expression)["result"]]


@pytest.fixture(scope="module")
def prometheus(three: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Debian's Prometheus with the alerts of deploy/, scraping the three nodes every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [f"127.0.0.1:{node.api_port}" for node in three.nodes]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "strongroom",
                "metrics_path": "/v1/sys/metrics",
                "params": {"format": ["prometheus"]},
                "follow_redirects": False,
                "static_configs": [{"targets": targets}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_ports(1)[0]
    arguments = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        found = Prometheus(port)
        wait_until(found.answers, f"prometheus is ready; see {folder / 'log'}")
        yield found
    finally:
        process.kill()
        process.wait(30)


def test_prometheus_reads_each_node(three: Cluster, prometheus: Prometheus) -> None:
    """It scrapes all three, standbys too, and knows who is active and how large the cluster is."""
    wait_until(lambda: prometheus.values("sum(up)") == [3.0], "all three are up")
    wait_until(lambda: prometheus.values("sum(vault_core_active)") == [1.0], "one node is active")
    assert prometheus.values("sum(vault_core_unsealed)") == [3.0]
    assert prometheus.values("vault_raft_peers") == [3.0, 3.0, 3.0]
    active = f"127.0.0.1:{three.wait_leader().api_port}"
    rows = prometheus.ask("query", query="vault_core_active == 1")["result"]
    assert [row["metric"]["instance"] for row in rows] == [active]
    assert prometheus.values("vault_autopilot_failure_tolerance") == [1.0]


def test_prometheus_counts_what_happens(three: Cluster, prometheus: Prometheus) -> None:
    """Ten reads are ten more in the counters that it has read."""
    count = 'sum(vault_route_read_secret__count{job="strongroom"})'
    three.call("POST", "secret/data/counted", {"data": {"k": "1"}})
    three.call("GET", "secret/data/counted")
    wait_until(lambda: prometheus.values(count), "a read was scraped")
    before = prometheus.values(count)[0]
    for _ in range(10):
        three.call("GET", "secret/data/counted")
    wait_until(lambda: prometheus.values(count)[0] >= before + 10, "the reads were scraped")
    wait_until(lambda: prometheus.values("max(vault_token_count)") == [1.0], "the usage gauges were scraped")
    codes = prometheus.ask("query", query="sum by (code) (vault_core_response_status_code)")["result"]
    assert {"200", "204"} <= {row["metric"]["code"] for row in codes}


def test_prometheus_takes_alerts_and_panels(prometheus: Prometheus) -> None:
    """Each alert is evaluated without an error, and each expression of the dashboard is one."""
    groups = wait_until(
        lambda: [
            group
            for group in prometheus.ask("rules")["groups"]
            if all(rule["health"] == "ok" for rule in group["rules"])
        ],
        "the rules were evaluated",
    )
    assert sum(len(group["rules"]) for group in groups) == 20
    for _, expression in expressions():
        prometheus.ask("query", query=expression.replace("$__rate_interval", "1m").replace('"$job"', '".*"'))


class Watch:
    """A stream of sys/monitor, read in a thread until the node closes it."""

    def __init__(self, address: str, token: str) -> None:
        self.lines: list[str] = []
        request = Request(f"{address}/v1/sys/monitor?log_level=trace", headers={"X-Vault-Token": token})
        self._answer = urlopen(request, timeout=60)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for line in self._answer:
            self.lines.append(line.decode())


def test_nothing_secret_is_in_metrics_or_logs(three: Cluster) -> None:
    """Values, paths of secrets, passwords, tokens and names of entities: not in a metric, a log line or the monitor."""
    leader = three.wait_leader()
    watch = Watch(leader.address, three.root_token)

    def call(method: str, path: str, body: object = None, **options: Any) -> Any:
        return three.call(method, path, body, **options)

    call("POST", f"secret/data/{CANARY}-path", {"data": {"password": f"{CANARY}-value"}})
    call("GET", f"secret/data/{CANARY}-path")
    call("GET", f"secret/data/{CANARY}-absent")
    call("GET", f"nowhere/{CANARY}-path")
    call("POST", f"secret/data/{CANARY}-path", {"data": {"a": {"b": f"{CANARY}-value"}}, "options": {"cas": 99}})
    call("POST", "identity/entity", {"name": f"{CANARY}-entity", "metadata": {"k": f"{CANARY}-metadata"}})
    call("POST", "sys/auth/userpass", {"type": "userpass"})
    call("POST", f"auth/userpass/users/{CANARY}-user", {"password": f"{CANARY}-password"})
    login = call("POST", f"auth/userpass/login/{CANARY}-user", {"password": f"{CANARY}-password"}).json
    call("POST", f"auth/userpass/login/{CANARY}-user", {"password": f"{CANARY}-wrong"})
    token = login["auth"]["client_token"]
    three.call("GET", f"secret/data/{CANARY}-path", token=token)
    three.call("GET", f"secret/data/{CANARY}-path", token=f"hvs.{CANARY}")
    for node in three.nodes:
        node.call("POST", f"secret/data/{CANARY}-forwarded", {"data": {"k": CANARY}}, token=three.root_token)
    call("POST", "sys/loggers/core", {"level": "error"})
    call("DELETE", "sys/loggers")
    wait_until(lambda: call("GET", "sys/internal/counters/entities").json["data"]["counters"]["entities"], "counted")
    shown = [node.log for node in three.nodes]
    for node in three.nodes:
        for query in ("", "?format=prometheus"):
            with urlopen(f"{node.address}/v1/sys/metrics{query}", timeout=10) as answer:
                shown.append(answer.read().decode())
    shown.append("".join(watch.lines))
    for text in shown:
        for secret in (CANARY, token, three.root_token, *three.keys, login["auth"]["accessor"]):
            assert secret not in text
    assert all("vault" in text for text in shown[len(three.nodes) : -1])


def test_monitor_and_usage_commands(three: Cluster, tmp_path: Path) -> None:
    """`operator usage` and `monitor` print what the server has to say."""
    environment = {
        **processes.clean_environment(),
        "VAULT_ADDR": three.wait_leader().address,
        "VAULT_TOKEN": three.root_token,
        "HOME": str(tmp_path),
    }

    def started(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*processes.PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=processes.ROOT,
        )

    usage = started("operator", "usage")
    said, problem = usage.communicate(timeout=60)
    assert usage.returncode == 0, problem
    assert "Period start: " in said and "Active clients" in said and "[root]" in said

    monitor = started("monitor", "-log-level=trace", "-log-format=json")
    printed = monitor.stdout
    assert printed is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(printed.readline, "")), daemon=True)
    reader.start()
    try:

        def something_was_said() -> bool:
            # A change of a log level is itself a line.
            three.call("POST", "sys/loggers/core", {"level": "trace"})
            return bool(lines)

        wait_until(something_was_said, "the monitor printed a line")
    finally:
        monitor.kill()
        monitor.wait(30)
    assert "event" in json.loads(lines[0])
