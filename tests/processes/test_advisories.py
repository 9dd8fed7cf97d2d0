"""Published weaknesses that show only on real processes. docs/security.md lists all."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tests.processes.cluster import Cluster, Node, cluster, make_cluster, single, wait_until
from tests.processes.wire import Wire, head, rss_bytes

pytestmark = pytest.mark.processes

CANARY: Final = "canary4c9e1b"
_MIB: Final = 1024 * 1024


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A single node."""
    with single(tmp_path_factory.mktemp("advisories")) as made:
        yield made


def send_all(node: Node, requests: Iterator[bytes]) -> set[int]:
    """Send requests over one connection, many at a time; the statuses of the answers."""
    statuses = set()
    with Wire(node.api_port) as wire:
        while part := list(islice(requests, 50)):
            wire.send(b"".join(part))
            statuses |= {wire.receive().status for _ in part}
    return statuses


def growth(node: Node, requests: Iterator[bytes], first: int) -> int:
    """By how many bytes the process grew after the first so many of these requests."""
    assert node.process is not None
    send_all(node, islice(requests, first))
    before = rss_bytes(node.process.pid)
    statuses = send_all(node, requests)
    assert statuses and max(statuses) < 500
    return rss_bytes(node.process.pid) - before


def test_cve_2023_5954_requests_leave_no_memory_behind(one: Cluster) -> None:
    """CVE-2023-5954: 25,000 requests for paths that were never asked for, judged by a policy, cost no memory each."""
    one.call("POST", "sys/policies/acl/some", {"policy": 'path "secret/data/a*" { capabilities = ["read"] }'})
    token = one.call("POST", "auth/token/create", {"policies": ["some"]}).json["auth"]["client_token"]
    sender = (("X-Vault-Token", token),)
    paths = (head("GET", f"/v1/secret/data/{'ab'[i % 2]}{i}", sender) for i in range(30_000))
    assert growth(one[0], paths, 5_000) < 25_000 * 700  # a cache of what is absent is bounded, and may still fill


def test_cve_2024_8185_challenges_do_not_pile_up(one: Cluster) -> None:
    """CVE-2024-8185: strangers that ask to join, again and again, are forgotten: 8,000 challenges, bounded memory."""
    body = b'{"server_id":"%d"}'
    bodies = (body % i for i in range(10_000))
    requests = (
        head("POST", "/v1/sys/storage/raft/bootstrap/challenge", (("Content-Length", str(len(each))),)) + each
        for each in bodies
    )
    assert growth(one[0], requests, 2_000) < 4 * _MIB


def test_cve_2023_5954_wrong_tokens_are_not_remembered(one: Cluster) -> None:
    """Nor is any token that does not exist: each is looked up by its HMAC, and what is absent is cached in bounds."""
    paths = (head("GET", "/v1/secret/data/a", (("X-Vault-Token", f"hvs.{i:024d}"),)) for i in range(25_000))
    assert growth(one[0], paths, 5_000) < 20_000 * 700


def test_cve_2020_13223_the_environment_stays_unsaid(tmp_path: Path) -> None:
    """CVE-2020-13223: secrets in the environment and the configuration are in no line of the log and no answer."""
    made = make_cluster(tmp_path, 1)
    node = made[0]
    node.environment = {
        "HTTPS_PROXY": f"http://user:{CANARY}@proxy.invalid:3128",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "VAULT_TOKEN": f"hvs.{CANARY}",
        "STRONGROOM_LICENSE": CANARY,
    }
    key = node.config.split('current_key = "')[1].split('"')[0]
    node.config = f'log_level = "trace"\n{node.config}'
    try:
        node.start()
        token = node.call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).json["root_token"]
        made.wait_leader()
        said = node.log
        for path in ("sys/config/state/sanitized", "sys/seal-status", "sys/health", "sys/leader", "sys/host-info"):
            said += node.call("GET", path, token=token).body.decode()
        node.stop()
        said += node.log
    finally:
        made.stop()
    for secret in (CANARY, key, token):
        assert secret not in said


MEMBERSHIP: Final[tuple[tuple[str, str, object], ...]] = (
    ("POST", "sys/storage/raft/remove-peer", {"server_id": "n1"}),
    ("POST", "sys/storage/raft/promote", {"server_id": "n1"}),
    ("POST", "sys/storage/raft/demote", {"server_id": "n1"}),
    ("GET", "sys/storage/raft/configuration", None),
    ("POST", "sys/storage/raft/configuration", {}),
    ("POST", "sys/storage/raft/autopilot/configuration", {"cleanup_dead_servers": True}),
    ("GET", "sys/storage/raft/snapshot", None),
    ("POST", "sys/storage/raft/snapshot", None),
    ("POST", "sys/storage/raft/snapshot-force", None),
    ("POST", "sys/storage/raft/bootstrap/answer", {"server_id": "n9", "answer": "YQ==", "cluster_addr": "a:1"}),
    ("POST", "sys/storage/raft/bootstrap/answer", {"server_id": "n1", "answer": "YQ==", "cluster_addr": "a:1"}),
    ("POST", "sys/step-down", None),
    ("POST", "sys/seal", None),
)


def test_cve_2021_3282_and_cve_2022_36129_membership_needs_a_token(tmp_path: Path) -> None:
    """CVE-2021-3282, CVE-2022-36129: uninitialised, sealed, standby and active nodes refuse strangers alike."""

    def require_refused(node: Node) -> None:
        for method, path, body in MEMBERSHIP:
            for token in ("", "hvs.wrong"):
                reply = node.call(method, path, body, token=token)
                # What a standby cannot pass on, as it is a stream, it points to the leader, which refuses it.
                is_pointed = reply.status == 307 and path.startswith("sys/storage/raft/snapshot")
                assert is_pointed or reply.status in (400, 403, 404, 405, 503), (node.name, path, reply)

    (tmp_path / "shamir").mkdir()
    fresh = make_cluster(tmp_path / "shamir", 1, seal="")
    try:
        fresh[0].start()
        require_refused(fresh[0])
        fresh[0].call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        require_refused(fresh[0])
        assert fresh[0].call("GET", "sys/health").status == 503
    finally:
        fresh.stop()
    with cluster(tmp_path) as three:
        before, leader = three.peers(), three.wait_leader()
        for node in three.nodes:
            require_refused(node)
        assert three.peers() == before and three.wait_leader() is leader
        standby = next(node for node in three.nodes if node is not leader)
        _no_standby_serves_what_is_gone(three, standby)


def _no_standby_serves_what_is_gone(three: Cluster, standby: Node) -> None:
    """CVE-2019-11075: what was deleted, unmounted or revoked is so on every node at once."""
    root = three.root_token
    three.call("POST", "secret/data/a", {"data": {"a": 1}})
    token = three.call("POST", "auth/token/create", {"ttl": "1h"}).json["auth"]["client_token"]
    assert standby.call("GET", "secret/data/a", token=token).status == 200
    three.call("DELETE", "secret/metadata/a")
    assert standby.call("GET", "secret/data/a", token=token).status == 404
    three.call("POST", "auth/token/revoke", {"token": token})
    assert standby.call("GET", "secret/data/a", token=token).status == 403
    three.call("DELETE", "sys/mounts/secret")
    assert standby.call("GET", "secret/data/a", token=root).status == 404
    wait_until(lambda: standby.call("GET", "sys/health").status == 429, "the standby is one")
