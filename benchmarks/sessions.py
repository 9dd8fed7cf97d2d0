"""What issue 4 promises of the leader of three nodes, as parts of A: audited reads, lookups, logins and new tokens.

`python -m benchmarks.sessions` measures these alone, in CPU time of the leader for each request: on a machine that does
other work as well, that says more than requests per second.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load import Load, load, post_script, require_wrk
from benchmarks.rows import Row, cpu_s
from tests.processes.cluster import Cluster, Node, cluster

_CONNECTIONS: Final = 32
_SECONDS: Final = 4
_POLICY: Final = 'path "secret/data/*" { capabilities = ["read"] }'
_ROLE: Final = {"token_policies": "reader", "token_ttl": "1h"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request to send, and the part of A it shall reach."""

    name: str
    goal: float
    token: str = ""
    path: str = ""
    script: Path | None = None

    def send(self, address: str, seconds: int) -> Load:
        """Send it for so long."""
        return load(address, _CONNECTIONS, seconds, token=self.token, path=self.path, script=self.script)


def kinds(folder: Path, three: Cluster) -> Iterator[Kind]:
    """All of them, in order: each is to be measured before the next is asked for, as the audit device comes last."""
    leader, root = three.wait_leader(), three.root_token
    _require(three, "POST", "secret/data/read", {"data": {"value": "x" * 300}})
    _require(three, "POST", "sys/policies/acl/reader", {"policy": _POLICY})
    _require(three, "POST", "sys/auth/approle", {"type": "approle"})
    token = _require(three, "POST", "auth/token/create", {"policies": ["reader"], "ttl": "1h"})["auth"]["client_token"]
    login = post_script(folder, "login", "auth/approle/login", _credentials(three, "app", _ROLE))
    create = post_script(folder, "create", "auth/token/create", json.dumps({"policies": ["reader"], "ttl": "1h"}))
    yield Kind("token lookup-self / A", 0.40, token, "auth/token/lookup-self")
    yield Kind("AppRole login / A", 0.12, script=login)
    yield Kind("token create / A", 0.15, root, script=create)
    batch = post_script(folder, "batch", "auth/approle/login", _credentials(three, "batch", {"token_type": "batch"}))
    yield Kind("AppRole login, batch token / A", 0.12, script=batch)
    _require(three, "POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(folder / "audit.log")}})
    yield Kind("audited reads of the leader / A", 0.45, token, "secret/data/read")
    leader.call("DELETE", "sys/audit/file", token=root)


def _credentials(three: Cluster, role: str, body: dict[str, str]) -> str:
    _require(three, "POST", f"auth/approle/role/{role}", body)
    role_id = _require(three, "GET", f"auth/approle/role/{role}/role-id")["data"]["role_id"]
    secret_id = _require(three, "POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    return json.dumps({"role_id": role_id, "secret_id": secret_id})


def _require(three: Cluster, method: str, path: str, body: object = None) -> dict[str, dict[str, str]]:
    reply = three.call(method, path, body)
    assert reply.status in (200, 204), reply
    answer: dict[str, dict[str, str]] = reply.json
    return answer


def index_row(folder: Path, three: Cluster) -> Row:
    """That a batch token costs no write: by how much a hundred logins moved the log, the node's own writes included."""
    leader = three.wait_leader()
    body = _credentials(three, "still", {"token_type": "batch"})

    def applied() -> int:
        index: int = leader.call("GET", "sys/leader").json["raft_applied_index"]
        return index

    def moved() -> int:
        before = applied()
        for _ in range(100):
            assert leader.call("POST", "auth/approle/login", body.encode()).status == 200
        return applied() - before

    return Row("entries of 100 batch-token logins", min(moved() for _ in range(3)), 0, at_most=True)


def _cpu(leader: Node, kind: Kind) -> tuple[float, Load]:
    before = cpu_s(leader)
    sent = kind.send(leader.address, _SECONDS)
    return (cpu_s(leader) - before) / sent.requests * 1e6, sent


def main() -> int:
    """Print the CPU time of each kind of request. Exit code 1 if a request failed."""
    require_wrk()
    bad = 0
    with tempfile.TemporaryDirectory() as name, cluster(Path(name)) as three:
        leader = three.wait_leader()
        for kind in kinds(Path(name), three):
            microseconds, sent = _cpu(leader, kind)
            print(
                f"{kind.name:<32} {microseconds:6.0f} us of CPU  {sent.per_second:7.0f}/s, {sent.bad} failed",
                flush=True,
            )
            bad += sent.bad
        row = index_row(Path(name), three)
        print(f"{row.name:<32} {row.value:6.0f}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
