"""A server with a log file and requests in it: what is there, what rotation leaves, SIGHUP, the last line, refusals."""

import contextlib
import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.cluster import Node, free_ports, wait_until

pytestmark = pytest.mark.processes

ROTATION = "log_rotate_bytes = 4000\nlog_rotate_max_files = 2\n"
LISTENER = 'listener "tcp" {\n  address = "127.0.0.1:%d"\n  tls_disable = true\n}\n'


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Not started yet: in memory, with a log file in JSON and requests at debug, which is below the log's level."""
    (port,) = free_ports(1)
    config = (
        f'storage "inmem" {{}}\n{LISTENER % port}log_format = "json"\nlog_file = "{tmp_path}/logs/node"\n{ROTATION}'
    )
    made = Node("n", tmp_path, port, 0, config + 'log_requests_level = "debug"\n')
    (tmp_path / "logs").mkdir()
    yield made
    made.kill()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def last_line(file: Path) -> str:
    with contextlib.suppress(FileNotFoundError, IndexError):  # just rotated
        return file.read_text().splitlines()[-1]
    return ""


def test_requests_in_a_file(node: Node) -> None:
    """SIGHUP switches the lines on and off; files stay small, few and private; the log's last line is in the file."""
    node.start()
    folder = node.folder / "logs"
    file = folder / "node.log"

    def hup(level: str) -> None:
        before = node.log.count("the configuration was read again")
        (node.folder / "n.hcl").write_text(node.config.replace('"debug"', f'"{level}"'))
        node.signal(signal.SIGHUP)
        wait_until(lambda: node.log.count("the configuration was read again") > before, "it was read again")

    assert "completed_request" not in node.log
    hup("info")
    assert node.call("GET", "sys/seal-status?a=query-secret", token="header-secret").status == 200
    assert node.call("PUT", "auth/token/renew/path-secret", {"x": "body-secret"}).status == 503
    wait_until(lambda: "renew" in last_line(file), "the line is in the file")
    status, renewed = [line for line in lines(file) if line["event"] == "completed_request"][-2:]
    assert (status["request_path"], status["status_code"]) == ("/v1/sys/seal-status", 200)
    assert (status["request_method"], status["client_address"].split(":")[0]) == ("GET", "127.0.0.1")
    assert float(status["duration"].removesuffix("ms")) >= 0 and status["start_time"].endswith("Z")
    assert (renewed["request_path"], renewed["status_code"]) == ("/v1/auth/token/renew/<hidden>", 503)
    assert "-secret" not in node.log + file.read_text()
    # On connections that stay open and on such that end: the edge has a way of its own for the former.
    kept = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=60)
    for _ in range(30):
        assert node.call("GET", "sys/health").status == 501
        kept.request("GET", "/v1/secret/kept", headers={"X-Vault-Token": "header-secret"})
        answer = kept.getresponse()
        assert (answer.status, answer.read()[:9]) == (503, b'{"errors"')
    hup("off")
    wait_until(lambda: "read again" in last_line(file), "the file holds what standard error holds")
    files = sorted(folder.iterdir())
    assert len(files) == 3 and all(each.stat().st_size <= 4000 for each in files)
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in files)
    paths = [line.get("request_path") for each in files for line in lines(each)]
    assert paths.count("/v1/sys/health") > 10 and paths.count("/v1/secret/kept") > 10
    assert [node.log.count(f'"/v1/{path}"') for path in ("sys/health", "secret/kept")] == [30, 30]
    assert "-secret" not in node.log
    logged = node.log.count("completed_request")
    assert node.call("GET", "sys/health").status == 501
    assert node.log.count("completed_request") == logged
    hup("info")
    assert node.call("GET", "sys/health").status == 501
    assert node.stop() == 0
    # Standard error is written by whoever logs, the file by a thread: at the end both hold the same.
    last = json.loads([line for line in node.log.splitlines() if line.startswith("{")][-1])
    last_in_file = lines(file)[-1]
    del last["timestamp"], last_in_file["timestamp"]
    assert last_in_file == last and last["request_path"] == "/v1/sys/health"


def test_refused_at_start(node: Node) -> None:
    """A log file that cannot be opened ends the start with one line that names it."""
    node.config = node.config.replace("/logs/", "/missing/")
    said = node.refuses()
    assert f"cannot write to the log file {node.folder}/missing/node.log: No such file or directory." in said
