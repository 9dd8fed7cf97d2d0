"""Seals in real processes: awskms against moto, a KMS that is away, restarts of all nodes at once, migration.

The procedures are those of docs/operations/seals.md.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kms.aws import ACCESS_KEY, REGION, SECRET_KEY, AwsKms, Relay, aws_kms
from tests.processes.cluster import (
    PROGRAM,
    ROOT,
    Cluster,
    Node,
    clean_environment,
    cluster,
    initialized,
    make_cluster,
    wait_until,
)

pytestmark = pytest.mark.processes

RESTART_S = 15.0
POLICY = {"policy": 'path "secret/*" { capabilities = ["read"] }'}


@pytest.fixture(scope="module")
def kms() -> Iterator[AwsKms]:
    with aws_kms() as server:
        yield server


def awskms_stanza(endpoint: str, key: str, *more: str) -> str:
    lines = [f'region = "{REGION}"', f'endpoint = "{endpoint}"', f'kms_key_id = "{key}"', *more]
    return 'seal "awskms" {\n' + "".join(f"  {line}\n" for line in lines) + "}\n"


def nodes_with(folder: Path, size: int, stanza: str = "") -> Cluster:
    """Nodes with this seal stanza, and the credentials in their environment."""
    made = make_cluster(folder, size, seal="")
    for node in made.nodes:
        node.config += stanza
        node.environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return made


def reconfigure(node: Node, stanza: str) -> None:
    """Restart a node with this in the place of its seal stanzas."""
    node.stop()
    node.config = node.config.partition("seal ")[0] + stanza
    node.start()


def is_unsealed(node: Node) -> bool:
    return node.call("GET", "sys/health").status in (200, 429)


def status(node: Node) -> Any:
    return node.call("GET", "sys/seal-status").json


def wait_unsealed(node: Node) -> None:
    wait_until(lambda: is_unsealed(node), f"{node.name} is unsealed")


def give(node: Node, keys: tuple[str, ...]) -> None:
    """Unseal a node with key shares."""
    for key in keys:
        reply = node.call("PUT", "sys/unseal", {"key": key})
        assert reply.status == 200, reply.body
    assert reply.json["sealed"] is False
    wait_unsealed(node)


def wait_joining(node: Node) -> None:
    wait_until(lambda: status(node)["n"] == 3, f"{node.name} knows of the cluster")


def wait_migrating(node: Node) -> None:
    wait_until(lambda: status(node)["migration"], f"{node.name} waits for key shares")


def restart_all(made: Cluster) -> float:
    """Kill all nodes at once and start them again; seconds until one is active and all are unsealed."""
    for node in made.nodes:
        node.kill()
    began = time.monotonic()
    for node in made.nodes:
        node.launch()
    wait_until(lambda: all(node.answers() and is_unsealed(node) for node in made.nodes), "all are unsealed")
    made.wait_leader()
    return time.monotonic() - began


def comes_back_in_time(made: Cluster) -> bool:
    """Whether one of two restarts takes less than RESTART_S, in proportion longer where this machine does much else."""
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return any(restart_all(made) < RESTART_S * busy for _ in range(2))


def test_a_static_cluster_comes_back_by_itself(tmp_path: Path) -> None:
    """All three nodes are killed at once and started again: they are back in under 15 s, without a hand."""
    with cluster(tmp_path) as made:
        assert made.call("POST", "secret/data/a", {"data": {"b": "c"}}).status == 200
        assert comes_back_in_time(made)
        assert made.call("GET", "secret/data/a").json["data"]["data"] == {"b": "c"}


def test_an_awskms_cluster_comes_back_by_itself(tmp_path: Path, kms: AwsKms) -> None:
    """The same with awskms; then the alias is pointed to another key, which the next active node wraps with.

    The old key is then needed no more, not even by a node that was down meanwhile: it asks the others.
    """
    old_id = kms.new_key("alias/cluster")
    old = kms.arn(old_id)
    stanza = awskms_stanza(kms.address, "alias/cluster")
    with initialized(nodes_with(tmp_path, 3, stanza)) as made:
        assert made.call("POST", "sys/policies/acl/kept", POLICY).status == 204
        assert comes_back_in_time(made)
        assert made.call("GET", "sys/policies/acl/kept").status == 200
        active = made.wait_leader()
        late, third = [node for node in made.nodes if node is not active]
        late.kill()
        new = kms.arn(kms.new_key("alias/cluster"))
        said = f"wraps the root key with its key {new} now, before {old}"
        assert made.call("PUT", "sys/step-down").status == 204
        wait_until(lambda: any(said in node.log for node in made.nodes), "the new active node has wrapped it anew")
        kms.client.disable_key(KeyId=old_id)
        late.start()
        wait_unsealed(late)
        third.kill()
        third.start()
        wait_unsealed(third)
        assert made.call("GET", "sys/policies/acl/kept").status == 200
        for node in made.nodes:
            assert SECRET_KEY not in node.log and "Traceback" not in node.log


def test_a_kms_that_is_away_at_start(tmp_path: Path, kms: AwsKms) -> None:
    """The node answers, sealed, and says why; it unseals by itself once the KMS is back. So with a disabled key."""
    relay = Relay(kms.address)
    relay.up()
    key = kms.new_key()
    try:
        made = nodes_with(tmp_path, 1, awskms_stanza(relay.address, key))
        node = made[0]
        node.environment["VAULT_LOG_LEVEL"] = "trace"
        with initialized(made):
            node.stop()
            relay.down()
            node.start()
            wait_until(lambda: "cannot be used now (EndpointConnectionError)" in node.log, "it says why")
            assert node.call("GET", "sys/health").status == 503
            assert node.call("GET", "sys/mounts", token=made.root_token).json == {"errors": ["Vault is sealed"]}
            assert node.call("GET", "sys/seal-backend-status").json["healthy"] is False
            relay.up()
            wait_until(lambda: is_unsealed(node), "it has unsealed by itself")
            assert node.call("GET", "sys/seal-backend-status").json["healthy"] is True
            kms.client.disable_key(KeyId=key)
            assert is_unsealed(node)
            node.stop()
            node.start()
            wait_until(lambda: "the key is disabled; enable it" in node.log, "it says why")
            kms.client.enable_key(KeyId=key)
            wait_until(lambda: is_unsealed(node), "it has unsealed by itself")
            for unsaid in (SECRET_KEY, "Plaintext", "CiphertextBlob", "Traceback"):
                assert unsaid not in node.log
    finally:
        relay.down()


@pytest.mark.parametrize("and_back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_migration_on_three_nodes(tmp_path: Path, kms: AwsKms, and_back: bool) -> None:
    """From shamir to awskms, and back, as documented: the standbys first, then a step-down. Nothing written is lost."""
    kms_stanza = awskms_stanza(kms.address, kms.new_key())
    disabled = kms_stanza.replace("{", '{\n  disabled = "true"', 1)
    made = nodes_with(tmp_path, 3)
    try:
        for node in made.nodes:
            node.start()
        init = made[0].call("PUT", "sys/init", {"secret_shares": 3, "secret_threshold": 2}).json
        made.root_token, keys = init["root_token"], tuple(init["keys"])
        for node in made.nodes:
            wait_joining(node)
            give(node, keys[:2])
        wait_until(lambda: len(made.peers()) == 3, "all nodes have joined")
        assert made.call("POST", "sys/policies/acl/kept", POLICY).status == 204
        there, back = (kms_stanza, kms_stanza, "awskms"), (disabled, "", "shamir")
        for during, after, type_ in (there, back) if and_back else (there,):
            migrate(made, keys, during, type_)
            for node in made.nodes:
                if node.config.endswith(after) and after:
                    continue  # it runs with that already
                reconfigure(node, after)
                if not after:
                    give(node, keys[1:])
                wait_unsealed(node)
            assert made.call("GET", "sys/policies/acl/kept").status == 200
        for node in made.nodes:
            assert not any(key in node.log for key in keys) and "Traceback" not in node.log
    finally:
        made.stop()


def unseal_by_command(node: Node, key: str) -> str:
    """What the documented command prints, for a node in migration mode."""
    command = [*PROGRAM, "operator", "unseal", "-migrate", key]
    environment = {**clean_environment(), "VAULT_ADDR": node.address}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def migrate(made: Cluster, keys: tuple[str, ...], stanza: str, type_: str) -> None:
    """Each standby with the new stanzas and the key shares, then the active node."""
    active = made.wait_leader()
    for node in [each for each in made.nodes if each is not active]:
        reconfigure(node, stanza)
        wait_migrating(node)
        assert node.call("PUT", "sys/unseal", {"key": keys[0]}).status == 400
        shown = unseal_by_command(node, keys[0])
        assert re.search(r"Sealed +true\n", shown) and re.search(r"Seal Migration in Progress +true\n", shown), shown
        assert re.search(r"Sealed +false\n", unseal_by_command(node, keys[1]))
        wait_unsealed(node)
    made.wait_applied()

    def is_done() -> bool:
        if made.leader() is active:
            active.call("PUT", "sys/step-down", token=made.root_token)
        return all(status(node)["type"] == type_ and not status(node)["migration"] for node in made.nodes)

    wait_until(is_done, "the new active node has migrated, and all know it")
