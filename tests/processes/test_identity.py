"""Identity on three nodes: asked through standbys, and over changes of leader."""

from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.processes.cluster import Cluster, Node, cluster, wait_until

pytestmark = pytest.mark.processes

HASH = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()  # of the lowest cost: bcrypt is not what is tested
OWN = 'path "secret/data/{{identity.entity.name}}/*" { capabilities = ["create", "update", "read"] }'
TEAM = 'path "secret/data/team/*" { capabilities = ["create", "update", "read"] }'


def standby(three: Cluster) -> Node:
    """A node that forwards."""
    leader = three.wait_leader()
    found: Node = wait_until(
        lambda: next((n for n in three.running() if n is not leader and n.answers()), None), "a standby answers"
    )
    return found


def ask(three: Cluster, method: str, path: str, body: object = None, *, token: str = "", status: int = 200) -> Any:
    """A request through a standby, tried again while nobody leads."""

    def answered() -> Any:
        reply = standby(three).call(method, path, body, token=token or three.root_token)
        return reply if reply.status not in (500, 503) else None

    reply = wait_until(answered, f"{method} {path} is answered")
    assert reply.status == status, (method, path, reply.body)
    return reply.json


def login(three: Cluster, mount: str = "userpass") -> Any:
    reply = wait_until(
        lambda: next(
            (
                r
                for r in [standby(three).call("POST", f"auth/{mount}/login/ann", {"password": "pw"})]
                if r.status == 200
            ),
            None,
        ),
        "the login is answered",
    )
    return reply.json["auth"]


def may(three: Cluster, token: str, path: str) -> set[int]:
    """What every node answers to a write."""
    return {node.call("POST", path, {"data": {"a": 1}}, token=token).status for node in three.running()}


def test_identity_through_standbys_and_changes_of_leader(tmp_path: Path) -> None:
    """Entities, aliases, groups and their policies are the same through every node, before and after each leader."""
    with cluster(tmp_path) as three:
        for mount in ("userpass", "people"):
            ask(three, "POST", f"sys/auth/{mount}", {"type": "userpass"}, status=204)
            ask(three, "POST", f"auth/{mount}/users/ann", {"password_hash": HASH}, status=204)
        for name, text in (("own", OWN), ("team", TEAM)):
            ask(three, "PUT", f"sys/policies/acl/{name}", {"policy": text}, status=204)
        accessors = {path: row["accessor"] for path, row in ask(three, "GET", "sys/auth")["data"].items()}
        entity = ask(three, "POST", "identity/entity", {"name": "ann", "policies": ["own"]})["data"]["id"]
        alias = {"name": "ann", "canonical_id": entity, "mount_accessor": accessors["userpass/"]}
        ask(three, "POST", "identity/entity-alias", alias)
        group = {"name": "team", "policies": ["team"], "member_entity_ids": [entity]}
        ask(three, "POST", "identity/group", group)
        auth = login(three)
        assert auth["entity_id"] == entity
        assert set(auth["identity_policies"]) == {"own", "team"}
        token = auth["client_token"]
        assert may(three, token, "secret/data/ann/a") == {200} == may(three, token, "secret/data/team/a")
        assert may(three, token, "secret/data/bob/a") == {403}

        dead = three.wait_leader()
        dead.kill()
        three.wait_leader()
        assert ask(three, "POST", "secret/data/ann/b", {"data": {"a": 2}}, token=token)
        assert login(three)["entity_id"] == entity
        other = login(three, "people")["entity_id"]
        assert other != entity
        ask(three, "POST", "identity/entity/merge", {"from_entity_ids": [other], "to_entity_id": entity}, status=204)
        ask(three, "POST", "identity/group/name/team", {"policies": []})
        dead.start()
        wait_until(lambda: dead.call("GET", "sys/health").status in (200, 429), "the node is back")

        three.call("PUT", "sys/step-down")
        three.wait_leader()
        assert login(three, "people")["entity_id"] == entity
        found = ask(
            three,
            "POST",
            "identity/lookup/entity",
            {"alias_name": "ann", "alias_mount_accessor": alias["mount_accessor"]},
        )
        assert found["data"]["id"] == entity and len(found["data"]["aliases"]) == 2
        three.wait_applied()
        assert may(three, token, "secret/data/team/a") == {403}
        assert may(three, token, "secret/data/ann/a") == {200}
        ask(three, "POST", f"identity/entity/id/{entity}", {"disabled": True})
        assert may(three, token, "secret/data/ann/a") == {403}
        ask(three, "POST", f"identity/entity/id/{entity}", {"disabled": False})
        assert may(three, token, "secret/data/ann/a") == {200}
