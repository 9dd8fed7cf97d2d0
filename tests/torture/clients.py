"""Clients that write down what they ask and what they are told. None of them ever repeats an operation."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

from tests.torture.history import History, Kind, Operation, Outcome
from tests.torture.nodes import TortureNode

TIMEOUT_S: Final = 5.0
OPERATIONS_PER_KEY: Final = 200
KEYS_AT_A_TIME: Final = 4
PAUSE_S: Final = 0.045
AVOID_S: Final = 3.0  # so long a roaming client keeps away from a node that did not answer
CAS_REFUSED: Final = "check-and-set parameter did not match"
NOT_DONE_STATUSES: Final = (503, 307)  # nobody has worked on it (node/core.py)


class NotSent(Exception):
    """No connection was made: no server ever saw the request."""


class Connection:
    """A keep-alive connection to one node."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and decoded body. Raises NotSent; OSError or HTTPException when the outcome is unknown."""
        if self._connection is None:
            connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)
            try:
                connection.connect()
            except OSError:
                raise NotSent from None
            self._connection = connection
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, f"/v1/{path}", data, {"X-Vault-Token": self._token, **(headers or {})})
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


class Keys:
    """The keys in use now. Each is given up after a while, because the checker's work grows with a key's history."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = [0] * KEYS_AT_A_TIME

    def pick(self, rng: random.Random) -> str:
        """A key for one operation."""
        slot = rng.randrange(KEYS_AT_A_TIME)
        with self._lock:
            self._uses[slot] += 1
            return f"register-{slot}-{self._uses[slot] // OPERATIONS_PER_KEY}"


class Clients:
    """Threads that work while the script breaks things. Use it as a context."""

    def __init__(self, nodes: Sequence[TortureNode], token: str, seed: int) -> None:
        """Six clients that stay with their node, two for each, and others that go where they are answered."""
        self.history = History()
        self.acknowledged: dict[str, str] = {}  # unique keys of the set, and their values
        self.attempted: dict[str, str] = {}
        self.overspent: list[str] = []  # what was used more often than it may be
        self.spent: dict[str, int] = defaultdict(int)
        self._nodes = nodes
        self._token = token
        self._keys = Keys()
        self._stop = threading.Event()
        self._serial = itertools.count(1)
        self._errors: list[BaseException] = []
        work: list[Callable[[random.Random, int], None]] = [*[self._stay] * 6, *[self._roam] * 3]
        work += [self._add, self._spend]
        self._threads = [
            threading.Thread(target=self._run, args=(each, random.Random(f"{seed}/{n}"), n), daemon=True)
            for n, each in enumerate(work)
        ]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all clients. Raises what one of them has raised."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10 * TIMEOUT_S)
            assert not thread.is_alive(), "a client hangs"
        if self._errors:
            raise self._errors[0]

    def _run(self, work: Callable[[random.Random, int], None], rng: random.Random, number: int) -> None:
        try:
            work(rng, number)
        except BaseException as error:
            self._errors.append(error)

    def _connections(self) -> list[Connection]:
        return [Connection(node.host, node.api_port, self._token) for node in self._nodes]

    # -- one register per key ------------------------------------------------------------------------------------

    def _stay(self, rng: random.Random, number: int) -> None:
        at = number % len(self._nodes)
        connection = self._connections()[at]
        versions: dict[str, int] = {}
        while not self._stop.is_set():
            done = self.once(rng, number, self._nodes[at].name, connection, versions)
            self._pause(rng, 0.2 if done.outcome is Outcome.NOT_DONE else PAUSE_S)

    def _roam(self, rng: random.Random, number: int) -> None:
        connections = self._connections()
        versions: dict[str, int] = {}
        avoid = [0.0] * len(connections)
        while not self._stop.is_set():
            now = time.monotonic()
            at = rng.choice([n for n, until in enumerate(avoid) if until <= now] or [avoid.index(min(avoid))])
            done = self.once(rng, number, self._nodes[at].name, connections[at], versions)
            if done.outcome in (Outcome.NOT_DONE, Outcome.UNKNOWN):
                avoid[at] = time.monotonic() + AVOID_S
            self._pause(rng, PAUSE_S)

    def once(
        self, rng: random.Random, client: int, node: str, connection: Connection, versions: dict[str, int]
    ) -> Operation:
        """One operation on one of the keys. `versions` is what this client knows of them."""
        key = self._keys.pick(rng)
        kind = rng.choices(list(Kind), (50, 18, 25, 7))[0]
        asked = Operation(
            client=client,
            node=node,
            kind=kind,
            key=key,
            start_ns=time.monotonic_ns(),
            end_ns=0,
            outcome=Outcome.UNKNOWN,
            value=f"{client}-{next(self._serial)}" if kind in (Kind.PUT, Kind.CAS) else None,
            expected=versions.get(key, 0) if kind is Kind.CAS else 0,
        )
        done = ask(connection, asked)
        if done.version:
            versions[key] = done.version
        self.history.add(done)
        return done

    # -- a set of unique keys ------------------------------------------------------------------------------------

    def _add(self, rng: random.Random, number: int) -> None:
        connections = self._connections()
        at = 0
        for serial in itertools.count(1):
            if self._stop.is_set():
                return
            name, value = f"set-{serial}", f"{rng.getrandbits(64):016x}"
            self.attempted[name] = value
            try:
                status, _ = connections[at].call("POST", f"secret/data/{name}", {"data": {"value": value}})
            except (NotSent, OSError, http.client.HTTPException):
                status = 0
            if status == 200:
                self.acknowledged[name] = value
            else:
                at = (at + 1) % len(connections)
            self._pause(rng, 0.1)

    # -- what may be used only so often --------------------------------------------------------------------------

    def _spend(self, rng: random.Random, number: int) -> None:
        connections = self._connections()
        while not self._stop.is_set():
            uses = rng.randrange(1, 5)
            spending = rng.choice((self._token_uses, self._wrapping_uses, self._revoked_uses))
            try:
                spending(rng.choice(connections), uses)
            except (NotSent, OSError, http.client.HTTPException):
                self.spent["not made"] += 1
            self._pause(rng, 0.5)

    def _token_uses(self, connection: Connection, uses: int) -> None:
        status, body = connection.call("POST", "auth/token/create", {"num_uses": uses, "ttl": "1h"})
        if status == 200:
            token = body["auth"]["client_token"]
            self._race("token", token, "GET", "auth/token/lookup-self", uses)

    def _wrapping_uses(self, connection: Connection, uses: int) -> None:
        headers = {"X-Vault-Wrap-TTL": "600"}
        status, body = connection.call("POST", "sys/wrapping/wrap", {"held": "once"}, headers)
        if status == 200:
            self._race("wrapping", body["wrap_info"]["token"], "POST", "sys/wrapping/unwrap", 1)

    def _revoked_uses(self, connection: Connection, uses: int) -> None:
        """Once the revocation is acknowledged, no node may take the token, whatever it knew before."""
        status, body = connection.call("POST", "auth/token/create", {"ttl": "1h"})
        if status != 200:
            return
        token = body["auth"]["client_token"]
        for node in self._nodes:  # so that each has had the chance to remember it
            with suppress(NotSent, OSError, http.client.HTTPException):
                Connection(node.host, node.api_port, token).call("GET", "auth/token/lookup-self")
        status, _ = connection.call("POST", "auth/token/revoke", {"token": token})
        if status == 204:
            self._race("revoked", token, "GET", "auth/token/lookup-self", 0)

    def _race(self, kind: str, token: str, method: str, path: str, allowed: int) -> None:
        """Use a token through every node at once, more often than it may be."""
        successes: list[int] = []

        def use(node: TortureNode) -> None:
            connection = Connection(node.host, node.api_port, token)
            for _ in range(max(1, allowed)):
                try:
                    status, _ = connection.call(method, path)
                except (NotSent, OSError, http.client.HTTPException):
                    continue
                if status == 200:
                    successes.append(status)
            connection.close()

        threads = [threading.Thread(target=use, args=(node,), daemon=True) for node in self._nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.spent[f"{kind} races"] += 1
        self.spent[f"{kind} successes"] += len(successes)
        if len(successes) > allowed:
            self.overspent.append(f"a {kind} token for {allowed} uses was used {len(successes)} times")

    def _pause(self, rng: random.Random, seconds: float) -> None:
        self._stop.wait(seconds * rng.uniform(0.5, 1.5))


def ask(connection: Connection, asked: Operation) -> Operation:
    """Do one operation and say what became of it."""
    path = f"secret/data/{asked.key}"
    method, body = "GET", None
    if asked.kind is Kind.DELETE:
        method = "DELETE"
    elif asked.kind is not Kind.READ:
        options = {"cas": asked.expected} if asked.kind is Kind.CAS else {}
        method, body = "POST", {"data": {"value": asked.value}, "options": options}
    try:
        status, answer = connection.call(method, path, body)
    except NotSent:
        return ended(asked, Outcome.NOT_DONE, detail="no connection")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return ended(asked, Outcome.UNKNOWN, detail=type(error).__name__)
    return judged(asked, status, answer)


def judged(asked: Operation, status: int, answer: Any) -> Operation:
    """The operation with what its answer says."""
    if status in NOT_DONE_STATUSES:
        return ended(asked, Outcome.NOT_DONE, detail=str(status))
    if status == 500:
        return ended(asked, Outcome.UNKNOWN, detail="500")
    if asked.kind is Kind.READ and status == 200:
        data = answer["data"]
        return ended(asked, Outcome.OK, value=data["data"]["value"], version=data["metadata"]["version"])
    if asked.kind is Kind.READ and status == 404:
        gone = answer.get("data")  # a deleted version says which it was
        return ended(asked, Outcome.OK, version=gone["metadata"]["version"] if gone else 0)
    if asked.kind is Kind.DELETE and status == 204:
        return ended(asked, Outcome.OK)
    if asked.kind is Kind.CAS and status == 400 and CAS_REFUSED in str(answer):
        return ended(asked, Outcome.MISMATCH)
    if asked.kind in (Kind.PUT, Kind.CAS) and status == 200:
        return ended(asked, Outcome.OK, value=asked.value, version=answer["data"]["version"])
    return ended(asked, Outcome.UNEXPECTED, detail=f"{status} {answer}")


def ended(
    asked: Operation, outcome: Outcome, *, value: str | None = None, version: int = 0, detail: str = ""
) -> Operation:
    """The operation, ended now."""
    return Operation(
        client=asked.client,
        node=asked.node,
        kind=asked.kind,
        key=asked.key,
        start_ns=asked.start_ns,
        end_ns=time.monotonic_ns(),
        outcome=outcome,
        value=value if asked.kind is Kind.READ else asked.value,
        version=version,
        expected=asked.expected,
        detail=detail,
    )
