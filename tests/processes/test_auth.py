"""Logins on three real processes: what holds after a restart, after a change of leader, and in a storm."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes.cluster import Cluster, cluster, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with both methods, the users bob and eve, and the roles app and batch."""
    with cluster(tmp_path_factory.mktemp("auth")) as made:
        for path, body in (
            ("sys/auth/userpass", {"type": "userpass"}),
            ("sys/auth/approle", {"type": "approle"}),
            ("auth/userpass/users/bob", {"password": "right", "token_ttl": "1h"}),
            ("auth/userpass/users/eve", {"password": "right"}),
            ("auth/approle/role/app", {"secret_id_num_uses": 2, "token_ttl": "1h"}),
            ("auth/approle/role/batch", {"token_type": "batch"}),
        ):
            assert made.call("POST", path, body).status == 204
        yield made


def log_in(three: Cluster, name: str, password: str) -> tuple[int, str]:
    """The status of a login, and the token it gave."""
    reply = three.call("POST", f"auth/userpass/login/{name}", {"password": password}, token="")
    return reply.status, reply.json["auth"]["client_token"] if reply.status == 200 else ""


def credentials(three: Cluster, role: str) -> dict[str, str]:
    """A role id and a new secret id."""
    role_id = three.call("GET", f"auth/approle/role/{role}/role-id").json["data"]["role_id"]
    secret_id = three.call("POST", f"auth/approle/role/{role}/secret-id").json["data"]["secret_id"]
    return {"role_id": role_id, "secret_id": secret_id}


def test_a_standby_passes_logins_on(three: Cluster) -> None:
    """Addresses are those of the client, not of the node that passed its request on."""
    standby = next(node for node in three.nodes if node is not three.wait_leader())
    three.call("POST", "auth/userpass/users/near", {"password": "x", "token_bound_cidrs": "127.0.0.1"})
    assert standby.call("POST", "auth/userpass/login/near", {"password": "x"}).status == 200
    three.call("POST", "auth/userpass/users/near", {"password": "x", "token_bound_cidrs": "10.0.0.0/8"})
    assert standby.call("POST", "auth/userpass/login/near", {"password": "x"}).status == 403


def test_a_batch_login_writes_nothing(three: Cluster) -> None:
    """With unlimited uses and batch tokens, logins move the applied index by nothing."""
    body = credentials(three, "batch")
    leader = three.wait_leader()

    def applied() -> int:
        index: int = leader.call("GET", "sys/leader").json["raft_applied_index"]
        return index

    def with_logins() -> bool:
        before = applied()
        replies = [leader.call("POST", "auth/approle/login", body) for _ in range(5)]
        assert all(reply.json["auth"]["client_token"].startswith("hvb.") for reply in replies)
        return applied() == before

    # Something else of the cluster may be written meanwhile; five logins would each move it every time.
    wait_until(with_logins, "five logins happen without a write", 20)


def test_a_storm_of_logins_leaves_the_leader_in_office(three: Cluster) -> None:
    """While 60 logins wait for bcrypt, requests are answered and no election is held."""
    leader = three.wait_leader()
    with ThreadPoolExecutor(60) as pool:
        storm = [pool.submit(log_in, three, "eve", "right") for _ in range(60)]
        while not all(each.done() for each in storm):
            assert leader.call("GET", "sys/health", timeout_s=5).status == 200
    assert [each.result()[0] for each in storm] == [200] * 60
    assert three.wait_leader() is leader


def test_failover_then_first_request(three: Cluster) -> None:
    """A lock, a token, a half-used secret id: each is on the next leader as it was on the last."""
    assert [log_in(three, "bob", "wrong")[0] for _ in range(5)] == [400] * 5
    status, token = log_in(three, "eve", "right")
    assert status == 200
    body = credentials(three, "app")
    assert three.call("POST", "auth/approle/login", body, token="").status == 200

    old = three.wait_leader()
    old.kill()
    wait_until(three.leader, "another leads", 20)
    assert log_in(three, "bob", "right")[0] == 403
    assert three.call("POST", "auth/token/renew-self", token=token).status == 200
    assert three.call("POST", "auth/approle/login", body, token="").status == 200
    assert three.call("POST", "auth/approle/login", body, token="").status == 400
    shown = three.call("GET", "sys/locked-users").json["data"]
    assert shown["by_namespace"][0]["mount_accessors"][0]["alias_identifiers"] == ["bob"]

    # Restart, then first request: the whole cluster comes up again.
    for node in three.running():
        node.kill()
    for node in three.nodes:
        node.launch()
    three.wait_leader()
    assert log_in(three, "bob", "right")[0] == 403
    accessor = shown["by_namespace"][0]["mount_accessors"][0]["mount_accessor"]
    assert three.call("POST", f"sys/locked-users/{accessor}/unlock/bob").status == 204
    assert log_in(three, "bob", "right")[0] == 200
    assert three.call("GET", "auth/token/lookup-self", token=token).status == 200
