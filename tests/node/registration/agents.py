"""Stand-ins for a Consul agent and for the Kubernetes API server: neither runs here without its own machinery.

They speak what the node uses of their published APIs, keep what they are told, and can be switched off.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class ConsulAgent:
    """The services that were registered, and their checks with the time at which they turn critical."""

    token: str = ""
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, tuple[str, float]] = field(default_factory=dict)
    heard: int = 0
    port: int = 0

    def forget(self) -> None:
        """As an agent that restarted with an empty disk."""
        self.services.clear()
        self.checks.clear()

    def healthy(self, tag: str = "") -> set[str]:
        """The ids of services with this tag whose check passes now."""
        return {
            name
            for name, service in self.services.items()
            if (not tag or tag in service["Tags"]) and self.state(service["Check"]["CheckID"]) == "passing"
        }

    def state(self, check_id: str) -> str:
        status, until = self.checks[check_id]
        return status if time.monotonic() < until else "critical"

    def answer(self, method: str, path: str, headers: Any, body: Any) -> int:
        self.heard += 1
        if self.token and headers.get("X-Consul-Token") != self.token:
            return 403
        assert method == "PUT"
        if path == "/v1/agent/service/register":
            self.services[body["ID"]] = body
            self._set(body["Check"]["CheckID"], body["Check"]["Status"], body["Check"]["TTL"])
            return 200
        kind, _, name = path.removeprefix("/v1/agent/").rpartition("/")
        if kind == "check/update":
            if name not in self.checks:
                return 404
            owner = next(each for each in self.services.values() if each["Check"]["CheckID"] == name)
            self._set(name, body["Status"], owner["Check"]["TTL"])
            return 200
        if kind == "service/deregister":
            return 200 if self.services.pop(name, None) else 404
        return 405

    def _set(self, check_id: str, status: str, ttl: str) -> None:
        self.checks[check_id] = (status, time.monotonic() + float(ttl.removesuffix("s")))


@dataclass
class PodApi:
    """One pod's labels."""

    path: str
    token: str
    labels: dict[str, str] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: Any, body: Any) -> int:
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401
        if path != self.path:
            return 404
        if method != "PATCH" or headers.get("Content-Type") != "application/merge-patch+json":
            return 415
        self.labels |= body["metadata"]["labels"]
        return 200


@contextmanager
def served(
    answer: Callable[[str, str, Any, Any], int], *, port: int = 0, certificate: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """Serve on 127.0.0.1, with TLS if a certificate and its key are given; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = answer(self.command, self.path, self.headers, json.loads(sent) if sent else None)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PATCH = do_PUT  # noqa: N815  the base class's name

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
