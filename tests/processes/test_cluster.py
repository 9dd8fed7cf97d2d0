"""Three real processes: what is written on one is read on the others, and outlives its leader."""

import socket
from pathlib import Path

import pytest

from tests.processes.cluster import cluster, dev_server, wait_until

pytestmark = pytest.mark.processes


def test_a_write_survives_its_leader(tmp_path: Path) -> None:
    """A write taken by a standby is on every node, and still there after the leader was killed (design.md, 4)."""
    with cluster(tmp_path) as three:
        standby = next(n for n in three.nodes if n is not three.wait_leader())
        token = three.root_token
        assert standby.call("POST", "secret/data/a", {"data": {"x": "1"}}, token=token).status == 200
        for node in three.nodes:
            assert node.call("GET", "secret/data/a", token=token).json["data"]["data"] == {"x": "1"}
        three.wait_leader().kill()
        wait_until(lambda: three.leader() is not None, "another leads", 5)
        assert three.call("GET", "secret/data/a").json["data"]["data"] == {"x": "1"}


def test_dev_server_serves(tmp_path: Path) -> None:
    """Dev mode is unsealed at once and has KV version 2 at secret/ (walkthrough A)."""
    with dev_server(tmp_path) as node:
        assert node.call("GET", "sys/health").status == 200
        assert node.call("POST", "secret/data/a", {"data": {"x": 1}}, token="root").status == 200


def test_a_standby_redirects_when_it_may_not_forward(tmp_path: Path) -> None:
    """X-Vault-No-Request-Forwarding: 307 to the active node's API address, path and query kept (config_ha, 10)."""
    with cluster(tmp_path) as three:
        leader = three.wait_leader()
        standby = next(n for n in three.nodes if n is not leader)
        with socket.create_connection(("127.0.0.1", standby.api_port), timeout=30) as raw:
            raw.sendall(
                b"GET /v1/secret/data/a?version=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"X-Vault-No-Request-Forwarding: true\r\n\r\n"
            )
            answer = b"".join(iter(lambda: raw.recv(4096), b"")).decode()
        assert answer.startswith("HTTP/1.1 307 ")
        assert f"Location: {leader.address}/v1/secret/data/a?version=1\r\n" in answer
