"""The flows of the walkthrough, C, D, E, F and J, cut off between any two steps: what a step has done stays done.

Each flow is a list of steps that share what they learned. Between two steps the node is restarted, or sealed and
unsealed, or the leader of three is killed and the next step goes to the one that leads then.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.processes.cluster import Cluster, Reply, cluster, make_cluster, wait_until

pytestmark = pytest.mark.processes

Facts = dict[str, Any]
Step = Callable[[Cluster, Facts], None]
PASSWORD: Final = "Password123!"
READER: Final = 'path "secret/data/team/*" { capabilities = ["read"] }'


def ok(made: Cluster, method: str, path: str, body: object = None, **options: Any) -> Any:
    """The body of a request that must succeed."""
    reply = made.call(method, path, body, **options)
    assert reply.status in (200, 204), (path, reply)
    return reply.json


def status(made: Cluster, method: str, path: str, body: object = None, **options: Any) -> int:
    """The status of a request."""
    reply: Reply = made.call(method, path, body, **options)
    return reply.status


# -- C: tokens


def _make_parent(made: Cluster, facts: Facts) -> None:
    body = {"policies": ["root"], "ttl": "1h", "metadata": {"a": "b"}}
    facts["parent"] = ok(made, "POST", "auth/token/create", body)["auth"]


def _make_child(made: Cluster, facts: Facts) -> None:
    parent = facts["parent"]["client_token"]
    facts["child"] = ok(made, "POST", "auth/token/create", {"ttl": "10m"}, token=parent)["auth"]
    facts["twice"] = ok(made, "POST", "auth/token/create", {"num_uses": 2, "policies": ["default"]})["auth"]
    batch = {"type": "batch", "policies": ["default"], "ttl": "10m"}
    facts["batch"] = ok(made, "POST", "auth/token/create", batch)["auth"]["client_token"]


def _use_once(made: Cluster, facts: Facts) -> None:
    assert status(made, "GET", "auth/token/lookup-self", token=facts["twice"]["client_token"]) == 200
    assert status(made, "GET", "auth/token/lookup-self", token=facts["batch"]) == 200
    renewed = ok(
        made, "POST", "auth/token/renew-accessor", {"accessor": facts["child"]["accessor"], "increment": "30m"}
    )
    assert renewed["auth"]["lease_duration"] > 1500


def _use_up(made: Cluster, facts: Facts) -> None:
    token = facts["twice"]["client_token"]
    assert [status(made, "GET", "auth/token/lookup-self", token=token) for _ in range(2)] == [200, 403]
    own = ok(made, "GET", "auth/token/lookup-self", token=facts["child"]["client_token"])["data"]
    assert own["ttl"] > 1200, "the renewal was lost"
    ok(made, "PUT", "cubbyhole/mine", {"a": "1"}, token=facts["child"]["client_token"])


def _revoke_parent(made: Cluster, facts: Facts) -> None:
    read = ok(made, "GET", "cubbyhole/mine", token=facts["child"]["client_token"])
    assert read["data"] == {"a": "1"}
    ok(made, "POST", "auth/token/revoke-accessor", {"accessor": facts["parent"]["accessor"]})


def _all_gone(made: Cluster, facts: Facts) -> None:
    for name in ("parent", "child", "twice"):
        assert status(made, "GET", "auth/token/lookup-self", token=facts[name]["client_token"]) == 403, name


# -- D: userpass and lockout


def _enable_userpass(made: Cluster, facts: Facts) -> None:
    ok(made, "POST", "sys/auth/userpass", {"type": "userpass"})
    ok(made, "POST", "auth/userpass/users/alice", {"password": PASSWORD, "token_ttl": "1h"})
    ok(made, "POST", "auth/userpass/users/eve", {"password": PASSWORD})


def _log_in(made: Cluster, facts: Facts) -> None:
    body = {"password": PASSWORD}
    facts["alice"] = ok(made, "POST", "auth/userpass/login/alice", body, token="")["auth"]["client_token"]
    assert status(made, "GET", "secret/data/team/a", token=facts["alice"]) == 403
    wrong = [status(made, "POST", "auth/userpass/login/eve", {"password": "x"}, token="") for _ in range(5)]
    assert wrong == [400] * 5


def _locked(made: Cluster, facts: Facts) -> None:
    assert status(made, "POST", "auth/userpass/login/eve", {"password": PASSWORD}, token="") == 403
    ok(made, "POST", "auth/token/renew-self", token=facts["alice"])
    ok(made, "DELETE", "sys/auth/userpass")


def _disabled(made: Cluster, facts: Facts) -> None:
    assert status(made, "GET", "auth/token/lookup-self", token=facts["alice"]) == 403
    assert status(made, "POST", "auth/userpass/login/alice", {"password": PASSWORD}, token="") == 403


# -- E: AppRole, a wrapped single-use secret id


def _enable_approle(made: Cluster, facts: Facts) -> None:
    ok(made, "POST", "sys/auth/approle", {"type": "approle"})
    body = {"secret_id_ttl": "24h", "secret_id_num_uses": 1, "token_ttl": "1h", "token_policies": "reader"}
    ok(made, "POST", "auth/approle/role/app", body)
    facts["role_id"] = ok(made, "GET", "auth/approle/role/app/role-id")["data"]["role_id"]


def _wrap(made: Cluster, facts: Facts) -> None:
    wrap = {"X-Vault-Wrap-TTL": "60s"}
    facts["wrapping"] = ok(made, "POST", "auth/approle/role/app/secret-id", {}, headers=wrap)["wrap_info"]["token"]


def _unwrap(made: Cluster, facts: Facts) -> None:
    facts["secret_id"] = ok(made, "POST", "sys/wrapping/unwrap", token=facts["wrapping"])["data"]["secret_id"]


def _approle_login(made: Cluster, facts: Facts) -> None:
    reply = made.call("POST", "sys/wrapping/unwrap", {"token": facts["wrapping"]})
    assert (reply.status, reply.json) == (400, {"errors": ["wrapping token is not valid or does not exist"]})
    body = {"role_id": facts["role_id"], "secret_id": facts["secret_id"]}
    facts["app"] = ok(made, "POST", "auth/approle/login", body, token="")["auth"]["client_token"]


def _login_again(made: Cluster, facts: Facts) -> None:
    body = {"role_id": facts["role_id"], "secret_id": facts["secret_id"]}
    reply = made.call("POST", "auth/approle/login", body, token="")
    assert (reply.status, reply.json) == (400, {"errors": ["invalid role or secret ID"]})
    assert status(made, "GET", "auth/token/lookup-self", token=facts["app"]) == 200


# -- F: policies


def _write_policy(made: Cluster, facts: Facts) -> None:
    ok(made, "POST", "secret/data/team/a", {"data": {"a": 1}})
    body = {"policies": ["reader"], "ttl": "1h"}
    facts["reader"] = ok(made, "POST", "auth/token/create", body)["auth"]["client_token"]
    assert status(made, "GET", "secret/data/team/a", token=facts["reader"]) == 403
    ok(made, "POST", "sys/policies/acl/reader", {"policy": READER})


def _policy_holds(made: Cluster, facts: Facts) -> None:
    assert status(made, "GET", "secret/data/team/a", token=facts["reader"]) == 200
    assert status(made, "GET", "secret/data/other", token=facts["reader"]) == 403
    ok(
        made,
        "POST",
        "sys/policies/acl/reader",
        {"policy": READER + '\npath "secret/data/team/a" { capabilities = ["deny"] }'},
    )


def _denial_holds(made: Cluster, facts: Facts) -> None:
    assert status(made, "GET", "secret/data/team/a", token=facts["reader"]) == 403
    assert status(made, "GET", "secret/data/team/b", token=facts["reader"]) == 404
    ok(made, "DELETE", "sys/policies/acl/reader")


def _nothing_is_left(made: Cluster, facts: Facts) -> None:
    assert status(made, "GET", "secret/data/team/b", token=facts["reader"]) == 403


# -- J: audit


def _enable_audit(made: Cluster, facts: Facts) -> None:
    file = made[0].folder / "audit.log"
    ok(made, "POST", "sys/audit/file", {"type": "file", "options": {"file_path": str(file)}})
    facts["hash"] = ok(made, "POST", "sys/audit-hash/file", {"input": made.root_token})["data"]["hash"]


def _audited(made: Cluster, facts: Facts) -> None:
    """The first request after the interruption is recorded, with the salt of the device as before."""
    file = made[0].folder / "audit.log"
    before = file.stat().st_size
    assert status(made, "GET", "secret/data/audited") == 404
    with file.open() as lines:
        lines.seek(before)
        records = [json.loads(line) for line in lines]
    mine = [record for record in records if record["request"].get("path") == "secret/data/audited"]
    assert [record["type"] for record in mine] == ["request", "response"]
    assert {record["auth"]["client_token"] for record in mine} == {facts["hash"]}


def _audit_off(made: Cluster, facts: Facts) -> None:
    _audited(made, facts)
    ok(made, "DELETE", "sys/audit/file")


# What happens between two steps happens to all flows at once: a restart costs seconds, a step milliseconds.
FLOWS: Final[tuple[tuple[Step, ...], ...]] = (
    (_make_parent, _make_child, _use_once, _use_up, _revoke_parent, _all_gone),
    (_enable_userpass, _log_in, _locked, _disabled),
    (_enable_approle, _wrap, _unwrap, _approle_login, _login_again),
    (_write_policy, _policy_holds, _denial_holds, _nothing_is_left),
    (_enable_audit, _audited, _audited, _audit_off),
)


def restart(made: Cluster) -> None:
    """The node is killed and started again; it unseals by itself."""
    made[0].kill()
    made[0].launch()


def seal_and_unseal(made: Cluster) -> None:
    """The node is sealed by an operator and opened with its key share."""
    ok(made, "POST", "sys/seal")
    wait_until(lambda: made[0].call("GET", "sys/health").status == 503, "the node is sealed")
    made[0].call("POST", "sys/unseal", {"key": made.keys[0]})


def leader_killed(made: Cluster) -> None:
    """Another leads; the old one comes back as a standby, so that there are three for the next time."""
    old = made.wait_leader()
    old.kill()
    made.wait_leader()
    old.start()


@contextmanager
def one_node(folder: Path) -> Iterator[Cluster]:
    """A node that takes a key share, with KV version 2 at secret/."""
    made = make_cluster(folder, 1, seal="")
    try:
        made[0].start()
        init = made[0].call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}).json
        made.root_token, made.keys = init["root_token"], tuple(init["keys_base64"])
        made[0].call("POST", "sys/unseal", {"key": made.keys[0]})
        ok(made, "POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize(
    ("size", "interruption"),
    [(1, restart), (0, seal_and_unseal), (3, leader_killed)],
    ids=["restart", "seal-and-unseal", "leader-killed"],
)
def test_flows_go_on_after_an_interruption(tmp_path: Path, size: int, interruption: Callable[[Cluster], None]) -> None:
    """Between any two steps of every flow: nothing that was answered is lost, and nothing that ended is back."""
    with cluster(tmp_path, size) if size else one_node(tmp_path) as made:
        facts: list[Facts] = [{} for _ in FLOWS]
        for turn in range(max(map(len, FLOWS))):
            if turn:
                interruption(made)
                made.wait_leader()
            for flow, learned in zip(FLOWS, facts, strict=True):
                if turn < len(flow):
                    flow[turn](made, learned)
