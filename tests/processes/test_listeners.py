"""docs/operations/listeners.md, block by block, on one server: listeners, reload, stop."""

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes.cluster import PROGRAM, ROOT, Node, clean_environment, free_ports, wait_until

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl and curl are used"),
]

PAGE = ROOT / "docs" / "operations" / "listeners.md"


@dataclass
class Site:
    """The page's server with ports and folders of the test."""

    folder: Path
    ports: list[int]
    node: Node

    def of_page(self, name: str) -> str:
        """A block of the page, by the words behind its fence."""
        found = re.search(rf"^```{name}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert found is not None
        text = found[1].replace("/etc/strongroom/tls", str(self.folder)).replace("/run/strongroom", str(self.folder))
        for shown, port in zip(("8200", "8210", "8220"), self.ports, strict=True):
            text = text.replace(shown, str(port))
        return text

    def run(self, name: str) -> str:
        """Run a block of commands with the variables of the page."""
        program = f'strongroom() {{ {shlex.join(PROGRAM)} "$@"; }}\n'
        done = subprocess.run(
            ["/bin/bash", "-euc", program + self.of_page("sh env") + self.of_page(f"sh {name}")],
            env={**os.environ, **clean_environment(), "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))

    def shown_name(self, port: int) -> str:
        """The subject of the certificate that new connections see."""
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            self.trusting().wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            certificate: dict[str, Any] = tls.getpeercert() or {}
        return str(certificate["subject"][0][0][1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("listeners")
    ports = free_ports(3)
    node = Node("n", folder, ports[2], 0, "")  # asked over its plain listener
    made = Site(folder, ports, node)
    made.run("certificates")
    node.config = 'storage "inmem" {}\nlog_level = "warn"\n' + made.of_page("hcl blocks")
    try:
        node.start()
        init = node.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}).json
        assert node.call("PUT", "sys/unseal", {"key": init["keys"][0]}).json["sealed"] is False
        wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
        node.environment["TOKEN"] = init["root_token"]
        yield made
    finally:
        node.kill()


def test_every_listener_serves(site: Site) -> None:
    """The page's checks answer, each over its own listener; the one for health checks tells nothing of the cluster."""
    said = site.run("check")
    health = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [bool(one["version"]) for one in health] == [True, False]
    assert [bool(one["cluster_name"]) for one in health] == [True, False]
    assert said.count("Sealed") == 2
    assert oct((site.folder / "api.sock").stat().st_mode & 0o777) == "0o660"


def test_the_client_certificate_is_recorded(site: Site) -> None:
    """Audit records name the client's certificate, of a connection that showed one, and the address a proxy told."""
    token = site.node.environment["TOKEN"]
    log = site.folder / "audit.log"
    body = {"type": "file", "options": {"file_path": str(log)}}
    assert site.node.call("PUT", "sys/audit/file", body, token=token).status == 204
    context = site.trusting()
    context.load_cert_chain(site.folder / "client.pem", site.folder / "client.key")
    shown = http.client.HTTPSConnection("localhost", site.ports[0], context=context, timeout=20)
    shown.request("GET", "/v1/sys/mounts", headers={"X-Vault-Token": token})
    answer = shown.getresponse()
    assert answer.status == 200 and answer.headers["X-Served-By"] == "node 1"
    shown.close()
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", str(site.folder / "client.pem")], capture_output=True, text=True
    ).stdout
    with socket.create_connection(("127.0.0.1", site.ports[1]), 20) as plain:
        plain.sendall(b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n")
        with site.trusting().wrap_socket(plain, server_hostname="localhost") as tls:
            head = f"GET /v1/sys/auth HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nConnection: close\r\n\r\n"
            tls.sendall(head.encode())
            assert tls.recv(12) == b"HTTP/1.1 200"
    records = {r["request"]["path"]: r["request"] for r in map(json.loads, log.read_text().splitlines())}
    mounts, auth = records["sys/mounts"], records["sys/auth"]
    assert mounts["client_certificate_serial_number"] == str(int(said.strip().partition("=")[2], 16))
    assert (auth["remote_address"], auth["remote_port"]) == ("203.0.113.7", 56324)
    assert "client_certificate_serial_number" not in auth
    assert site.node.call("DELETE", "sys/audit/file", token=token).status == 204


def test_reload(site: Site) -> None:
    """SIGHUP: new connections see the new certificate, an open one goes on; what is broken changes nothing."""
    node = site.node
    kept = http.client.HTTPSConnection("localhost", site.ports[0], context=site.trusting(), timeout=20)

    def still_served() -> str:
        kept.request("GET", "/v1/sys/health")
        answer = kept.getresponse()
        assert json.loads(answer.read())["initialized"]
        return str(answer.headers["X-Served-By"])

    assert still_served() == "node 1"
    own = kept.sock
    assert [site.shown_name(port) for port in site.ports[:2]] == ["server", "server"]
    file = site.folder / "n.hcl"
    file.write_text(node.config.replace('"warn"', '"info"').replace('"node 1"', '"another node"'))
    site.run("renew")
    wait_until(lambda: "the configuration was read again" in node.log, "the new level logs that it is used")
    assert [site.shown_name(port) for port in site.ports[:2]] == ["client", "client"]
    assert still_served() == "another node"
    before = len(node.log)
    (site.folder / "server.pem").write_text("broken")
    file.write_text("listener {")
    node.signal(signal.SIGHUP)
    wait_until(lambda: "is not read again" in node.log[before:], "the broken configuration is told")
    assert node.log[before:].count("the certificate in use stays") == 2
    assert [site.shown_name(port) for port in site.ports[:2]] == ["client", "client"]
    assert still_served() == "another node"
    assert kept.sock is own, "the connection was never dropped"
    kept.close()


def test_stop(site: Site) -> None:
    """What has begun is answered, nothing more is taken, the exit code is 0, and socket and process file are gone."""
    begun = socket.create_connection(("127.0.0.1", site.ports[2]), 30)
    begun.sendall(b"PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
    assert site.node.answers()
    site.run("stop")

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", site.ports[2]), 5).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(refused, "no more connections are taken")
    assert site.node.process is not None and site.node.process.poll() is None
    begun.sendall(b"}")
    assert begun.recv(12) == b"HTTP/1.1 200"
    begun.close()
    assert site.node.process.wait(30) == 0
    assert not (site.folder / "pid").exists() and not (site.folder / "api.sock").exists()
