"""Key ceremonies across three nodes: through any node, with the leader lost in the middle, with a member away.

Key shares and tokens that were encrypted to OpenPGP keys are read without any program.
"""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.node.ceremonies.kit import people
from tests.processes.cluster import Cluster, Node, Reply, cluster, make_cluster, wait_until
from tests.walkthrough.kit import client_for

pytestmark = pytest.mark.processes

ENDED: Final = "a ceremony ends when another node becomes active or this one seals: start again"


def unseal(node: Node, shares: Sequence[str]) -> bool:
    """Give a sealed node these shares; whether it is unsealed then."""
    for share in shares:
        reply = node.call("POST", "sys/unseal", {"key": share})
    if reply.status != 200 or reply.json["sealed"]:
        node.call("POST", "sys/unseal", {"reset": True})
        return False
    return True


def ok(reply: Reply) -> Any:
    assert reply.status in (200, 204), reply
    return reply.json


def give(node: Node, path: str, shares: Sequence[str], nonce: str) -> Reply:
    """Give these shares one after the other, without a token, through this node; the last answer."""
    for share in shares:
        reply = node.call("POST", path, {"key": share, "nonce": nonce})
    return reply


def standby(made: Cluster) -> Node:
    """A node that passes on what it is asked."""
    leader = made.wait_leader()
    return next(node for node in made.running() if node is not leader)


def all_unsealed(made: Cluster) -> bool:
    return all(not node.call("GET", "sys/seal-status").json["sealed"] for node in made.running())


@pytest.fixture(scope="module")
def shamir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that take two of three key shares. `keys` are those in force: whoever changes them says so here."""
    made = make_cluster(tmp_path_factory.mktemp("shamir"), 3, seal="")
    try:
        for node in made.nodes:
            node.launch()
        wait_until(made[0].answers, "n1 answers")
        init = ok(made[0].call("PUT", "sys/init", {"secret_shares": 3, "secret_threshold": 2}))
        made.root_token, made.keys = init["root_token"], tuple(init["keys_base64"])
        for node in made.nodes:
            wait_until(node.answers, f"{node.name} answers")
            wait_until(partial(unseal, node, made.keys[:2]), f"{node.name} has joined and is unsealed")
        wait_until(lambda: len(made.peers()) == 3, "all have joined")
        ok(made.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}))
        ok(made.call("POST", "secret/data/a", {"data": {"x": "1"}}))
        made.wait_applied()
        yield made
    finally:
        made.stop()


CEREMONIES: Final = {
    "rekey": ("sys/rekey/init", {"secret_shares": 5, "secret_threshold": 3}, "sys/rekey/update"),
    "generate-root": ("sys/generate-root/attempt", {}, "sys/generate-root/update"),
}


@pytest.mark.parametrize("name", sorted(CEREMONIES))
def test_a_change_of_leader_ends_a_ceremony(shamir: Cluster, name: str) -> None:
    """Begun and fed through a standby; then the leader dies: the next one knows nothing of it and says why.

    What was valid before still is, and the ceremony can be held anew.
    """
    begin, body, update = CEREMONIES[name]
    through = standby(shamir)
    nonce = ok(through.call("POST", begin, body))["nonce"]
    assert ok(give(through, update, shamir.keys[:1], nonce))["progress"] == 1
    assert {ok(node.call("GET", begin))["progress"] for node in shamir.nodes} == {1}
    old = shamir.wait_leader()
    old.kill()
    shamir.wait_leader()
    for node in shamir.running():
        refused = give(node, update, shamir.keys[1:2], nonce)
        assert refused.status == 400 and refused.json["errors"][0].endswith(ENDED), refused
        assert ok(node.call("GET", begin)) | {"required": 0} == {
            **ok(node.call("GET", begin)),
            "started": False,
            "nonce": "",
            "progress": 0,
            "required": 0,
        }
    old.start()
    wait_until(lambda: unseal(old, shamir.keys[1:]), "the old shares unseal the node that died")
    again = ok(standby(shamir).call("POST", begin, body))
    assert again["nonce"] != nonce
    ok(standby(shamir).call("DELETE", begin, {"nonce": again["nonce"]}))


def test_generate_root_to_a_pgp_key_and_with_an_otp(shamir: Cluster) -> None:
    """Without any token, each share through another node: the token is the owner's alone, and works everywhere."""
    owner = people(1)[0]
    begun = ok(shamir[0].call("POST", "sys/generate-root/attempt", {"pgp_key": owner.public}))
    ok(give(shamir[1], "sys/generate-root/update", shamir.keys[:1], begun["nonce"]))
    done = ok(give(shamir[2], "sys/generate-root/update", shamir.keys[1:2], begun["nonce"]))
    token = owner.reads(done["encoded_token"])
    shamir.wait_applied()
    for node in shamir.nodes:
        assert ok(node.call("GET", "auth/token/lookup-self", token=token))["data"]["policies"] == ["root"]
    begun = ok(shamir[1].call("POST", "sys/generate-root/attempt", {}))
    done = ok(give(shamir[2], "sys/generate-root/update", shamir.keys[:2], begun["nonce"]))
    masked = b64decode(done["encoded_token"] + "==")
    token = bytes(a ^ b for a, b in zip(masked, begun["otp"].encode(), strict=True)).decode()
    assert ok(shamir.call("GET", "auth/token/lookup-self", token=token))["data"]["policies"] == ["root"]


def test_rekey_with_pgp_verification_and_a_member_away(shamir: Cluster) -> None:
    """New shares for three people, verified, while one node is down and after a leader was lost during verification.

    No node that was up has to be unsealed again; the one that was away opens with the shares it knew, learns the new
    root key from the log, and takes the new shares from then on. The barrier's key is rotated as before.
    """
    away = standby(shamir)
    away.kill()
    holders = people(3)
    body = {
        "secret_shares": 3,
        "secret_threshold": 2,
        "pgp_keys": [holder.public for holder in holders],
        "require_verification": True,
    }
    through = standby(shamir)
    nonce = ok(through.call("POST", "sys/rekey/init", body))["nonce"]
    out = ok(give(through, "sys/rekey/update", shamir.keys[:2], nonce))
    unused = [holder.reads(message) for holder, message in zip(holders, out["keys_base64"], strict=True)]
    ok(give(through, "sys/rekey/verify", unused[:1], out["verification_nonce"]))
    ok(shamir.call("PUT", "sys/step-down"))
    wait_until(lambda: not ok(through.call("GET", "sys/rekey/init"))["started"], "the next leader knows nothing of it")
    refused = give(through, "sys/rekey/verify", unused[1:2], out["verification_nonce"])
    assert refused.status == 400 and refused.json["errors"][0].endswith(ENDED)

    nonce = ok(through.call("POST", "sys/rekey/init", body))["nonce"]
    out = ok(give(through, "sys/rekey/update", shamir.keys[1:], nonce))
    assert out["pgp_fingerprints"] == [holder.fingerprint for holder in holders]
    shares = [holder.reads(message) for holder, message in zip(holders, out["keys_base64"], strict=True)]
    done = ok(give(through, "sys/rekey/verify", shares[1:], out["verification_nonce"]))
    assert done == {"nonce": out["verification_nonce"], "complete": True}
    old, shamir.keys = shamir.keys, tuple(shares)
    shamir.wait_applied()
    assert all_unsealed(shamir)
    ok(shamir.call("POST", "sys/rotate"))
    ok(shamir.call("POST", "secret/data/b", {"data": {"x": "2"}}))

    away.start()
    assert unseal(away, old[:2]), "what it knows is of the time before"
    shamir.wait_applied()
    assert all_unsealed(shamir)
    away.stop()
    away.start()
    assert not unseal(away, old[:2])
    assert unseal(away, shares[:2])
    shamir.wait_applied()
    leader = shamir.wait_leader()
    leader.stop()
    shamir.wait_leader()
    for name, value in (("a", "1"), ("b", "2")):
        assert ok(shamir.call("GET", f"secret/data/{name}"))["data"]["data"] == {"x": value}
    leader.start()
    assert unseal(leader, shares[:2])
    shamir.wait_applied()


def test_hvac_holds_them(shamir: Cluster) -> None:
    """The calls of the client library, which sends no nonce when it cancels and has a token."""
    sys = client_for(standby(shamir), shamir.root_token).sys
    assert sys.read_rekey_progress()["started"] is False
    nonce = sys.start_rekey(secret_shares=5, secret_threshold=3)["nonce"]
    assert sys.rekey(shamir.keys[0], nonce=nonce)["progress"] == 1
    sys.cancel_rekey()
    nonce = sys.start_rekey(secret_shares=3, secret_threshold=2, require_verification=True)["nonce"]
    out = sys.rekey_multi(shamir.keys[:2], nonce=nonce)
    assert sys.read_rekey_verify_progress()["n"] == 3
    assert sys.cancel_rekey_verify()["nonce"] != out["verification_nonce"]
    sys.cancel_rekey()
    holders = people(3)
    started = sys.start_rekey(3, 2, pgp_keys=[holder.public for holder in holders], backup=True)
    out = sys.rekey_multi(shamir.keys[1:], nonce=started["nonce"])
    shamir.keys = tuple(holder.reads(text) for holder, text in zip(holders, out["keys_base64"], strict=True))
    assert set(sys.read_backup_keys()["data"]["keys"]) == {holder.fingerprint for holder in holders}

    begun = sys.start_root_token_generation()
    sys.generate_root(key=shamir.keys[0], nonce=begun["nonce"])
    sys.cancel_root_generation()
    begun = sys.start_root_token_generation(otp="x" * 28)
    for key in shamir.keys[:2]:
        done = sys.generate_root(key=key, nonce=begun["nonce"])
    token = bytes(byte ^ ord("x") for byte in b64decode(done["encoded_root_token"] + "==")).decode()
    assert client_for(shamir.wait_leader(), token).lookup_token()["data"]["policies"] == ["root"]
    before = sys.get_encryption_key_status()["data"]["term"]
    sys.rotate_encryption_key()
    assert sys.get_encryption_key_status()["data"]["term"] == before + 1


@pytest.mark.slow
def test_recovery_keys_of_a_cluster_that_unseals_by_itself(tmp_path: Path) -> None:
    """Recovery keys authorise: a root token, new recovery keys, and a new root key, while a node is away.

    That node unseals itself when it comes back, under the root key it knew, and follows.
    """
    with cluster(tmp_path) as made:
        made.wait_applied()
        away = standby(made)
        away.kill()
        through = standby(made)
        nonce = ok(through.call("POST", "sys/rekey-recovery-key/init", {"secret_shares": 3, "secret_threshold": 2}))[
            "nonce"
        ]
        out = ok(give(through, "sys/rekey-recovery-key/update", made.keys, nonce))
        nonce = ok(through.call("POST", "sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}))["nonce"]
        assert give(through, "sys/rekey/update", made.keys, nonce).status == 200, "one of two: nobody knows yet"
        assert give(through, "sys/rekey/update", out["keys"][1:2], nonce).status == 400, "a key of before is none"
        done = ok(give(through, "sys/rekey/update", out["keys"][1:], nonce))
        assert done["complete"] is True and done["keys"] == []
        begun = ok(through.call("POST", "sys/generate-root/attempt", {}))
        assert begun["required"] == 2
        assert ok(give(through, "sys/generate-root/update", out["keys"][:2], begun["nonce"]))["complete"] is True
        away.start()
        wait_until(lambda: away.call("GET", "sys/health").status == 429, "it unsealed itself and follows")
        made.wait_applied()
        for node in made.nodes:
            node.stop()
        for node in made.nodes:
            node.launch()
        for node in made.nodes:
            wait_until(node.answers, f"{node.name} answers")
        wait_until(lambda: all_unsealed(made) and made.leader() is not None, "all unsealed themselves")
        ok(made.call("GET", "sys/mounts"))
