"""Concurrent writers of unique keys and values, and what they know: acknowledged, or of unknown outcome.

A write is sent again only where that is safe: it was refused with 503, or its connection was never made. Whatever else
goes wrong after it was sent leaves its outcome unknown, and the writer goes on to its next key.
"""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final

from tests.processes.cluster import Cluster, Node, wait_until

TIMEOUT_S: Final = 30.0
PAUSE_S: Final = 0.02


class NotSent(Exception):
    """No connection: the server never saw the request."""


class Client:
    """One keep-alive connection at a time to one node."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body. Raises NotSent; OSError or HTTPException when the outcome is unknown."""
        if self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            try:
                connection.connect()
            except OSError:
                raise NotSent from None
            self._connection = connection
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, f"/v1/{path}", data, {"X-Vault-Token": self._token})
            with self._connection.getresponse() as answer:
                content = answer.read()
                if answer.will_close:
                    self.close()
                return answer.status, json.loads(content) if content else None
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Writers:
    """Threads that write while the test breaks things. Use it as a context; afterwards read what they know."""

    def __init__(
        self, nodes: Sequence[Node], token: str, prefix: str, *, count: int = 16, retry_all: bool = False
    ) -> None:
        """`retry_all` repeats a write whatever happened to it, as a client does that knows it to be idempotent."""
        self.acknowledged: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.refused: list[tuple[int, Any]] = []  # answers that no writer should ever get
        self.tries_max = 0
        self._nodes = nodes
        self._token = token
        self._prefix = prefix
        self._retry_all = retry_all
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
            assert not thread.is_alive(), "a writer hangs"

    def wait_for(self, more: int, seconds: float = 30.0) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= wanted, f"{more} more writes are acknowledged", seconds)

    def _write(self, number: int) -> None:
        rng = random.Random(number)
        clients = [Client(node.api_port, self._token) for node in self._nodes]
        serial = 0
        while not self._stop.is_set():
            serial += 1
            name, value = f"{self._prefix}-{number}-{serial}", f"{rng.getrandbits(64):016x}"
            self._one(clients, rng, name, value)
            time.sleep(PAUSE_S)
        for client in clients:
            client.close()

    def _one(self, clients: Sequence[Client], rng: random.Random, name: str, value: str) -> None:
        tries = 0
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            client = rng.choice(clients)
            tries += 1
            try:
                status, body = client.call("POST", f"secret/data/{name}", {"data": {"value": value}})
            except NotSent:
                if self._stop.is_set():
                    return  # never written
                time.sleep(PAUSE_S)
                continue
            except (OSError, http.client.HTTPException):
                status, body = 0, None
            if status == 200:
                self.unknown.pop(name, None)
                self.acknowledged[name] = value
                self.tries_max = max(self.tries_max, tries)
                return
            if status == 503:
                if self._stop.is_set():
                    return
                time.sleep(PAUSE_S)
                continue
            self.unknown[name] = value
            if status not in (0, 500):
                self.refused.append((status, body))
            if not self._retry_all or time.monotonic() > deadline:
                return


def read_all(node: Node, token: str, names: Iterable[str], *, threads: int = 4) -> dict[str, str | None]:
    """What a node answers for each key: its value, or None without one. Other answers are asked for again."""

    def read(share: Sequence[str]) -> dict[str, str | None]:
        client = Client(node.api_port, token)
        found = {name: _read(client, name) for name in share}
        client.close()
        return found

    every = list(names)
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(read, [every[i::threads] for i in range(threads)])
        return {name: value for part in parts for name, value in part.items()}


def _read(client: Client, name: str) -> str | None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        status, body = client.call("GET", f"secret/data/{name}")
        if status == 200:
            value: str = body["data"]["data"]["value"]
            return value
        if status == 404:
            return None
        assert time.monotonic() < deadline, f"reading {name} gives {status} {body}"


def require_nothing_lost(cluster: Cluster, writers: Writers) -> None:
    """Every acknowledged write reads back; one of unknown outcome is there as it was written, or not at all."""
    cluster.wait_applied()
    found = read_all(cluster.wait_leader(), cluster.root_token, [*writers.acknowledged, *writers.unknown])
    lost = {name for name, value in writers.acknowledged.items() if found[name] != value}
    assert not lost, f"{len(lost)} of {len(writers.acknowledged)} acknowledged writes are lost: {sorted(lost)[:5]}"
    strange = {name for name, value in writers.unknown.items() if found[name] not in (None, value)}
    assert not strange, f"keys hold what nobody wrote: {sorted(strange)[:5]}"
    sample = list(writers.acknowledged.items())[::20]
    for node in cluster.running():
        through = read_all(node, cluster.root_token, (name for name, _ in sample))
        assert through == dict(sample), f"{node.name} answers otherwise"
    assert not writers.refused, writers.refused[:5]


def timed(condition: Callable[[], Any], what: str, seconds: float) -> float:
    """Seconds until the condition holds."""
    started = time.monotonic()
    wait_until(condition, what, seconds)
    return time.monotonic() - started


def differing(states: Sequence[Mapping[str, bytes]]) -> set[str]:
    """The keys at which these copies are not all the same."""
    names = {name for state in states for name in state}
    return {name for name in names if len({state.get(name) for state in states}) > 1}
