"""What must be true of a run: named as in docs/reliability.md. Each check answers with what it found wrong."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

from cluster.state import State
from tests.processes.writers import differing
from tests.torture.clients import Clients, Connection, NotSent, ask
from tests.torture.history import History, Kind, Operation, Outcome
from tests.torture.linearizable import Undecided, is_linearizable
from tests.torture.nodes import Bench, TortureNode

WRITE_WITHIN_S = 10.0
EQUAL_WITHIN_S = 30.0
READERS = 4
SNAPSHOT_SENT = "it gets a snapshot of index"


def linearizable(history: History, folder: Path) -> list[str]:
    """C1: each key's history has an order that explains it. Histories that have none are kept in the folder."""
    wrong = []
    for key, operations in history.by_key().items():
        try:
            if is_linearizable(operations):
                continue
            what = "is not linearizable"
        except Undecided:
            what = "took the checker too long"
        file = folder / f"history-{key}.json"
        rows = [operation.row() for operation in sorted(operations, key=lambda o: o.start_ns)]
        file.write_text(json.dumps(rows, indent=1))
        wrong.append(f"C1: the history of {key} {what}: see {file.name}")
    return wrong


def read_every_key(bench: Bench, history: History) -> None:
    """Read each key once through each node, into the history: what was lost is seen at last."""
    for number, node in enumerate(bench.nodes):
        connection = Connection(node.host, node.api_port, bench.cluster.root_token)
        for key in history.by_key():
            asked = Operation(
                client=100 + number,
                node=node.name,
                kind=Kind.READ,
                key=key,
                start_ns=time.monotonic_ns(),
                end_ns=0,
                outcome=Outcome.UNKNOWN,
            )
            history.add(ask(connection, asked))
        connection.close()


def every_version(bench: Bench, history: History) -> list[str]:
    """C3: each version of each key is a write that was told so, or one of unknown outcome; none is there twice."""
    by_key = history.by_key()
    keys = sorted(by_key)
    leader = bench.wait_leader()

    def wrong_in(share: int) -> list[str]:
        connection = Connection(leader.host, leader.api_port, bench.cluster.root_token)
        wrong = [each for key in keys[share::READERS] for each in misplaced(by_key[key], _versions(connection, key))]
        connection.close()
        return wrong

    with ThreadPoolExecutor(READERS) as pool:
        return [each for part in pool.map(wrong_in, range(READERS)) for each in part]


def misplaced(operations: Sequence[Operation], versions: Mapping[int, str | None]) -> list[str]:
    """What C3 finds wrong with one key. `versions` are the values stored; None for one that was deleted."""
    writes = {o.value: o for o in operations if o.kind in (Kind.PUT, Kind.CAS)}
    wrong = []
    seen: dict[str, int] = {}
    for version, value in sorted(versions.items()):
        if value is None:
            continue
        write = writes.get(value)
        if value in seen:
            wrong.append(f"C3: {value} is version {seen[value]} and version {version}")
        elif write is None:
            wrong.append(f"C3: nobody wrote {value}, which is version {version}")
        elif write.outcome not in (Outcome.OK, Outcome.UNKNOWN):
            wrong.append(f"C3: {value} is version {version}, and its client was told: {write.outcome}")
        seen[value] = version
    for write in writes.values():
        if write.outcome is Outcome.OK and versions.get(write.version, "nothing") not in (None, write.value):
            found = versions.get(write.version, "nothing")
            wrong.append(f"C3: {write.key} has {found} where {write.value} was acknowledged as {write.version}")
    return wrong


def _versions(connection: Connection, key: str) -> dict[int, str | None]:
    status, body = _answered(connection, f"secret/metadata/{key}")
    if status == 404:
        return {}
    found: dict[int, str | None] = {}
    for number in body["data"]["versions"]:
        status, answer = _answered(connection, f"secret/data/{key}?version={number}")
        found[int(number)] = answer["data"]["data"]["value"] if status == 200 else None
    return found


def _answered(connection: Connection, path: str) -> tuple[int, Any]:
    """The answer to a read, there or not there. After the last fault there must be one."""
    deadline = time.monotonic() + EQUAL_WITHIN_S
    while True:
        try:
            status, body = connection.call("GET", path)
        except (NotSent, OSError, HTTPException) as error:
            status, body = 0, error
        if status in (200, 404):
            return status, body
        assert time.monotonic() < deadline, f"reading {path} when all is whole gives {status} {body}"
        time.sleep(0.1)


def set_values(bench: Bench, clients: Clients) -> list[str]:
    """C2, values: every acknowledged unique key reads back, and no other value than the one that was written."""
    nodes = bench.nodes
    names = sorted(clients.attempted)

    def read(share: int) -> dict[str, str | None]:
        connection = Connection(nodes[share].host, nodes[share].api_port, bench.cluster.root_token)
        found = {}
        for name in names[share :: len(nodes)]:
            status, body = _answered(connection, f"secret/data/{name}")
            found[name] = body["data"]["data"]["value"] if status == 200 else None
        connection.close()
        return found

    with ThreadPoolExecutor(len(nodes)) as pool:
        found = {name: value for part in pool.map(read, range(len(nodes))) for name, value in part.items()}
    lost = [name for name, value in clients.acknowledged.items() if found[name] != value]
    strange = [name for name, value in clients.attempted.items() if found[name] not in (None, value)]
    return _some("C2: acknowledged and not there:", lost) + _some("C2: not what was written:", strange)


def stop_all(bench: Bench) -> list[str]:
    """Stop every node gracefully, the followers first: the last one alone can commit nothing more."""
    leader = bench.wait_leader()
    wrong = []
    for node in sorted(bench.nodes, key=lambda each: each is leader):
        code = node.stop()
        if code != 0:
            wrong.append(f"{node.name} ended with {code} when asked to")
    return wrong


def replicas(nodes: Sequence[TortureNode], clients: Clients) -> list[str]:
    """C2 and C5 in the files of stopped nodes: each holds every acknowledged key, and all hold the same."""
    states = {node.name: _contents(node) for node in nodes}
    wrong = _some("C5: nodes hold different entries:", sorted(differing(list(states.values()))))
    for name, state in states.items():
        held = {key.rpartition("/metadata/")[2] for key in state if "/metadata/set-" in key}
        wrong += _some(f"C2: acknowledged and not in the files of {name}:", sorted(set(clients.acknowledged) - held))
        wrong += _some(f"C2: nobody wrote what {name} holds:", sorted(held - set(clients.attempted)))
    return wrong


def _contents(node: TortureNode) -> Mapping[str, bytes]:
    state = State(node.data, lambda call: call(), threaded=False)
    try:
        return {key: stored.value for key, stored in state.scan("")}
    finally:
        state.close(flush=False)


def logs(nodes: Sequence[TortureNode]) -> list[str]:
    """No node has met a bug: there is no traceback in its log."""
    wrong = []
    for node in nodes:
        for sign in ("Traceback", " failed: "):
            at = node.log.find(sign)
            if at >= 0:
                wrong.append(f"the log of {node.name} has a bug: {node.log[max(0, at - 200) : at + 1500]}")
                break
    return wrong


def recovered(bench: Bench, revive: Callable[[], None]) -> tuple[float, float, list[str]]:
    """C9: seconds until a write is acknowledged and until all nodes have applied it, and whether that took too long.

    `revive` starts what has ended: a node that still was on its way to its end when the fault was over.
    """

    def all_applied() -> bool:
        revive()
        return all(_applied(node) >= index > 0 for node in bench.nodes)

    began_s = time.monotonic()
    wrong = []
    write_s = _seconds_until(began_s, EQUAL_WITHIN_S, lambda: _writes(bench))
    if write_s > WRITE_WITHIN_S:
        wrong.append(f"C9: after healing a write took {write_s} s, not {WRITE_WITHIN_S:.0f}")
    index = max((_applied(node) for node in bench.nodes), default=0)
    equal_s = _seconds_until(began_s, 2 * EQUAL_WITHIN_S, all_applied)
    if equal_s > EQUAL_WITHIN_S:
        wrong.append(f"C9: after healing the nodes were equal after {equal_s} s, not {EQUAL_WITHIN_S:.0f}")
    return write_s, equal_s, wrong


def _seconds_until(began_s: float, bound_s: float, condition: Callable[[], bool]) -> float:
    while not condition() and time.monotonic() - began_s < bound_s:
        time.sleep(0.1)
    return round(time.monotonic() - began_s, 2)


def _writes(bench: Bench) -> bool:
    for node in bench.nodes:
        try:
            body = {"data": {"value": "alive"}}
            reply = node.call("POST", "secret/data/alive", body, token=bench.cluster.root_token, timeout_s=3)
            if reply.status == 200:
                return True
        except OSError:
            continue
    return False


def _applied(node: TortureNode) -> int:
    try:
        return int(node.call("GET", "sys/leader", timeout_s=2).json.get("raft_applied_index", 0))
    except (OSError, ValueError):
        return 0


def _some(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"{what} {len(names)}, of them {', '.join(list(names)[:5])}"]
