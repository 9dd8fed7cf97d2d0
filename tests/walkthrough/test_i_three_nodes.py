"""Walkthrough I: three nodes, initialised, unsealed, joined, used and broken, by command line and by hvac."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest
from hvac import exceptions
from hvac.adapters import RawAdapter

from tests.processes.cluster import Cluster, Node, free_ports, make_cluster, node_config, wait_until
from tests.walkthrough.kit import Cli, cli_for, client_for

pytestmark = pytest.mark.processes

TAKEOVER_S = 5.0  # the walkthrough's promise


def _by_hand(folder: Path, size: int = 3) -> Cluster:
    """Nodes that know nothing of each other until an operator joins them."""
    ports = free_ports(2 * size)
    nodes = []
    for i in range(size):
        name, api, cluster = f"n{i + 1}", ports[2 * i], ports[2 * i + 1]
        nodes.append(Node(name, folder, api, cluster, node_config(folder, name, api, cluster)))
    return Cluster(nodes)


def _sr(cluster: Cluster, node: Node, *, token: bool = True) -> Cli:
    return cli_for(node.folder / "home", node.address, cluster.root_token if token else "")


def _states(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """From node id to state and voter, as `operator raft list-peers` prints them."""
    lines = _sr(cluster, cluster.wait_leader()).ok("operator", "raft", "list-peers").out.splitlines()
    assert lines[0].split() == ["Node", "Address", "State", "Voter"]
    rows = [line.split() for line in lines[2:]]
    return {row[0]: (row[2], row[3]) for row in rows}


def _removed(client: hvac.Client, node_id: str) -> bool:
    """Remove a peer; False while another change of the peers is not applied yet."""
    try:
        client.sys.remove_raft_node(node_id)
    except exceptions.InvalidRequest as refusal:
        assert "another peer change is under way" in str(refusal)
        return False
    return True


def _wait_ready(cluster: Cluster) -> None:
    wait_until(
        lambda: (
            sorted(node.call("GET", "sys/health").status for node in cluster.running())
            == [200] + [429] * (len(cluster.running()) - 1)
        ),
        "one node is active and the others are standbys",
    )


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The walkthrough's cluster: five shares of which three unseal; the others join by `operator raft join`."""
    cluster = _by_hand(tmp_path_factory.mktemp("hand"))
    try:
        for node in cluster.nodes:
            node.launch()
        for node in cluster.nodes:
            wait_until(node.answers, f"{node.name} answers")
        yield cluster
    finally:
        cluster.stop()


def test_init_unseal_and_join(by_hand: Cluster) -> None:
    """init with 5 shares and threshold 3, three unseals on each node, join on two: list-peers shows three voters."""
    first = by_hand[0]
    sr = _sr(by_hand, first)
    assert sr("operator", "init", "-status").code == 2
    assert sr("status").code == 2
    sealed = sr.refused("kv", "get", "secret/a")
    assert "Vault is sealed" in sealed.err
    made = sr.ok("operator", "init", "-key-shares=5", "-key-threshold=3").out
    keys = [line.split(": ")[1] for line in made.splitlines() if line.startswith("Unseal Key ")]
    (token,) = [line.split(": ")[1] for line in made.splitlines() if line.startswith("Initial Root Token: ")]
    assert len(set(keys)) == 5
    by_hand.keys, by_hand.root_token = tuple(keys), token
    assert sr.ok("operator", "init", "-status").out == "Vault is initialized\n"
    sr.refused("operator", "init", says="already initialized")

    assert sr.ok("operator", "unseal", keys[0]).rows["Unseal Progress"] == "1/3"
    assert sr.ok("operator", "unseal", "-reset").rows["Sealed"] == "true"
    progress = [sr.ok("operator", "unseal", "-format=json", key).json for key in (keys[4], keys[0])]
    assert [step["progress"] for step in progress] == [1, 2]
    assert progress[0]["nonce"] == progress[1]["nonce"] != ""
    opened, echoed = sr.at_terminal(keys[2], "operator", "unseal")
    assert keys[2] not in echoed
    assert opened.rows["Sealed"] == "false"
    wait_until(lambda: first.call("GET", "sys/health").status == 200, "n1 is active")

    sr = _sr(by_hand, first)
    sr.ok("secrets", "enable", "-path=secret", "-version=2", "kv")
    sr.ok("kv", "put", "secret/before", "a=1")
    for node in by_hand.nodes[1:]:
        joining = _sr(by_hand, node, token=False)
        assert joining.ok("operator", "raft", "join", first.address).rows["Joined"] == "true"
        status = node.call("GET", "sys/seal-status").json
        assert (status["sealed"], status["t"], status["n"]) == (True, 3, 5)
        for key in keys[:3]:
            joining.ok("operator", "unseal", key)
    wait_until(lambda: len(by_hand.peers()) == 3, "all have joined")
    _wait_ready(by_hand)
    states = _states(by_hand)
    assert set(states) == {"n1", "n2", "n3"}
    assert sorted(states.values()) == [("follower", "true"), ("follower", "true"), ("leader", "true")]
    shown = sr.ok("operator", "raft", "list-peers", "-format=json").json["data"]["config"]
    assert set(shown["servers"][0]) == {"address", "leader", "node_id", "protocol_version", "voter"}


def test_any_node_serves(by_hand: Cluster) -> None:
    """A write on one node is read on every other at once, by command line and by hvac."""
    for number, node in enumerate(by_hand.nodes):
        _sr(by_hand, node).ok("kv", "put", f"secret/from-{number}", f"n={number}")
    for node in by_hand.nodes:
        client = client_for(node, by_hand.root_token)
        for number in range(3):
            assert _sr(by_hand, node).ok("kv", "get", "-field=n", f"secret/from-{number}").out == str(number)
            read = client.secrets.kv.v2.read_secret(f"from-{number}", raise_on_deleted_version=True)
            assert read["data"]["data"] == {"n": str(number)}
        assert client.is_authenticated()


def test_members_status_and_leader(by_hand: Cluster) -> None:
    """members lists all three; status on each says active or standby and where the active node is."""
    leader = by_hand.wait_leader(15)
    for node in by_hand.nodes:
        shown = _sr(by_hand, node).ok("status", "-format=json").json
        assert shown["ha_enabled"] is True
        assert shown.get("is_self", False) is (node is leader)
        assert shown["leader_address"] == leader.address
        table = _sr(by_hand, node).ok("status").out
        assert f"HA Mode {'active' if node is leader else 'standby'}" in " ".join(table.split())
        assert client_for(node).sys.read_leader_status()["leader_address"] == leader.address
    members = wait_until(
        lambda: [
            lines
            for lines in [_sr(by_hand, leader).ok("operator", "members").out.splitlines()]
            if len(lines) == 5 and all(node.address in "".join(lines) for node in by_hand.nodes)
        ],
        "all members have echoed",
    )[0]
    assert members[0].split("  ")[0] == "Host Name"
    assert sum(" true " in line for line in members) == 1
    health = [client_for(node).sys.read_health_status(method="GET", standby_ok=True) for node in by_hand.nodes]
    assert [answer["standby"] for answer in health] == [node is not leader for node in by_hand.nodes]


def test_no_forwarding_means_a_redirect(by_hand: Cluster) -> None:
    """With X-Vault-No-Request-Forwarding a standby answers 307 with the leader's address; clients follow it."""
    leader = by_hand.wait_leader(15)
    standby = next(node for node in by_hand.nodes if node is not leader)
    direct = {"X-Vault-No-Request-Forwarding": "1"}
    raw = RawAdapter(base_uri=standby.address, token=by_hand.root_token, allow_redirects=False)
    answer = raw.get("/v1/secret/data/before", headers=direct, params={"version": 1}, raise_exception=False)
    assert answer.status_code == 307
    assert answer.headers["Location"] == f"{leader.address}/v1/secret/data/before?version=1"
    client = client_for(standby, by_hand.root_token)
    client.session.headers.update(direct)
    assert client.secrets.kv.v2.read_secret("before", raise_on_deleted_version=True)["data"]["data"] == {"a": "1"}


def test_a_sealed_node_answers_503(by_hand: Cluster) -> None:
    """`operator seal` seals the active node, which then answers 503 with one text; another leads; shares reopen it."""
    leader = by_hand.wait_leader(15)
    standby = next(node for node in by_hand.nodes if node is not leader)
    _sr(by_hand, standby).refused("operator", "seal", says="cannot seal when in standby mode")
    assert _sr(by_hand, leader).ok("operator", "seal").out == "Success! Vault is sealed.\n"
    wait_until(lambda: leader.call("GET", "sys/seal-status").json["sealed"], "the node is sealed")
    answer = leader.call("GET", "secret/data/before", token=by_hand.root_token)
    assert (answer.status, answer.json) == (503, {"errors": ["Vault is sealed"]})
    assert leader.call("GET", "sys/health").status == 503
    assert _sr(by_hand, leader)("status").code == 2
    client = client_for(leader, by_hand.root_token)
    assert client.sys.is_sealed()
    with pytest.raises(exceptions.VaultDown):
        client.secrets.kv.v2.read_secret("before", raise_on_deleted_version=True)
    assert by_hand.wait_leader(15) is not leader
    client.sys.submit_unseal_keys(list(by_hand.keys[1:4]))
    assert not client.sys.is_sealed()
    _wait_ready(by_hand)
    assert client.secrets.kv.v2.read_secret("before", raise_on_deleted_version=True)["data"]["data"] == {"a": "1"}


def test_wrong_shares_do_not_unseal(by_hand: Cluster) -> None:
    """A share given twice, one that is no share and one of another key are refused; the right ones still work."""
    node = next(node for node in by_hand.nodes if node is not by_hand.wait_leader(15))
    node.stop()
    node.start()
    sr = _sr(by_hand, node, token=False)
    sr.refused("operator", "unseal", "not-a-share")
    sr.ok("operator", "unseal", by_hand.keys[0])
    again = sr("operator", "unseal", by_hand.keys[0])
    assert node.call("GET", "sys/seal-status").json["progress"] == 1, again
    sr.ok("operator", "unseal", "-reset")
    forged = by_hand.keys[0][:10] + ("A" if by_hand.keys[0][10] != "A" else "B") + by_hand.keys[0][11:]
    sr.ok("operator", "unseal", forged)
    sr.ok("operator", "unseal", by_hand.keys[1])
    sr.refused("operator", "unseal", by_hand.keys[2], says="invalid key")
    assert node.call("GET", "sys/seal-status").json["progress"] == 0
    for key in by_hand.keys[:3]:
        sr.ok("operator", "unseal", key)
    _wait_ready(by_hand)


def test_step_down(by_hand: Cluster) -> None:
    """`operator step-down` hands over within the promised time, from any node; nothing is lost."""
    before = by_hand.wait_leader(15)
    done = _sr(by_hand, before).ok("operator", "step-down")
    assert done.out == f"Success! Stepped down: {before.address}\n"
    wait_until(lambda: by_hand.leader() not in (None, before), "another node leads", TAKEOVER_S)
    _sr(by_hand, before).ok("kv", "put", "secret/after-step-down", "a=1")
    client_for(by_hand[0], by_hand.root_token).sys.step_down()
    by_hand.wait_leader(TAKEOVER_S)
    assert _sr(by_hand, by_hand[0]).ok("kv", "get", "-field=a", "secret/after-step-down").out == "1"


def test_one_node_dies(by_hand: Cluster) -> None:
    """With one standby dead, writes go on; back and unsealed, it has what it missed."""
    leader = by_hand.wait_leader(15)
    victim = next(node for node in by_hand.nodes if node is not leader)
    victim.kill()
    _sr(by_hand, leader).ok("kv", "put", "secret/missed", "a=1")
    assert set(_states(by_hand)) == {"n1", "n2", "n3"}
    victim.start()
    for key in by_hand.keys[:3]:
        _sr(by_hand, victim, token=False).ok("operator", "unseal", key)
    _wait_ready(by_hand)
    assert _sr(by_hand, victim).ok("kv", "get", "-field=a", "secret/missed").out == "1"


def test_the_leader_dies(by_hand: Cluster) -> None:
    """The leader is killed under writes: another leads within 5 s, no acknowledged write is lost."""
    leader = by_hand.wait_leader(15)
    others = [node for node in by_hand.nodes if node is not leader]
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        client = client_for(others[0], by_hand.root_token)
        number = 0
        while not stop.is_set():
            number += 1
            try:
                client.secrets.kv.v2.create_or_update_secret(f"run/{number}", {"n": number})
                acknowledged.append(number)
            except exceptions.VaultError:
                continue

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 20, "writes are under way")
        leader.kill()
        killed_at = time.monotonic()
        wait_until(by_hand.leader, "another node leads", TAKEOVER_S)
        assert time.monotonic() - killed_at < TAKEOVER_S
        count = len(acknowledged)
        wait_until(lambda: len(acknowledged) > count + 20, "writes go on")
    finally:
        stop.set()
        writer.join(30)
    for node in others:
        client = client_for(node, by_hand.root_token)
        kept = {int(name) for name in client.secrets.kv.v2.list_secrets("run")["data"]["keys"]}
        assert set(acknowledged) <= kept
    leader.start()
    client_for(leader).sys.submit_unseal_keys(list(by_hand.keys[:3]))
    _wait_ready(by_hand)


def test_remove_peer(by_hand: Cluster) -> None:
    """A removed peer leaves the list and is no member any more; the leader itself can be removed after handing over."""
    leader = by_hand.wait_leader(15)
    victim = next(node for node in by_hand.nodes if node is not leader)
    assert _sr(by_hand, leader).ok("operator", "raft", "remove-peer", victim.name).out == "Peer removed successfully!\n"
    wait_until(lambda: victim.name not in _states(by_hand), "the peer has left")
    _sr(by_hand, leader).ok("kv", "put", "secret/with-two", "a=1")
    _sr(by_hand, leader).refused("operator", "raft", "remove-peer", "never-there")
    config = client_for(leader, by_hand.root_token).sys.read_raft_config()["data"]["config"]
    left = {node.name for node in by_hand.nodes if node is not victim}
    assert {server["node_id"] for server in config["servers"]} == left
    assert _sr(by_hand, leader).ok("operator", "raft", "remove-peer", leader.name)
    (last,) = left - {leader.name}
    wait_until(lambda: set(_states(by_hand)) == {last}, "the leader has left")


def test_retry_join(tmp_path: Path) -> None:
    """Nodes with retry_join find the leader by themselves, before or after it is there; shares then unseal them."""
    cluster = make_cluster(tmp_path, 3, seal="")
    try:
        cluster[1].launch()
        wait_until(cluster[1].answers, "n2 answers")
        cluster[0].start()
        client = client_for(cluster[0])
        made = client.sys.initialize(5, 3)
        assert (len(made["keys"]), len(made["keys_base64"])) == (5, 5)
        cluster.root_token, cluster.keys = made["root_token"], tuple(made["keys"])
        assert client.sys.submit_unseal_keys(made["keys"][:3])["sealed"] is False
        cluster[2].launch()
        for node in cluster.nodes[1:]:
            wait_until(node.answers, f"{node.name} answers")
            # The node knows the number of shares once it has asked the leader to join.
            wait_until(
                lambda node=node: node.call("GET", "sys/seal-status").json["t"] == 3,  # type: ignore[misc]
                f"{node.name} has found the leader",
            )
            joining = client_for(node)
            for key in made["keys"][2:5]:
                joining.sys.submit_unseal_key(key)
        wait_until(lambda: len(cluster.peers()) == 3, "all have joined")
        _wait_ready(cluster)
        assert {state for state, _ in _states(cluster).values()} == {"leader", "follower"}
    finally:
        cluster.stop()


def test_hvac_joins_and_removes(tmp_path: Path) -> None:
    """join_raft_cluster, read_raft_config and remove_raft_node of the client library do what the commands do."""
    cluster = _by_hand(tmp_path, 2)
    try:
        for node in cluster.nodes:
            node.start()
        made = client_for(cluster[0]).sys.initialize(1, 1)
        cluster.root_token = made["root_token"]
        client = client_for(cluster[0], made["root_token"])
        client.sys.submit_unseal_key(made["keys"][0])
        cluster.wait_leader()
        joining = client_for(cluster[1])
        joining.sys.join_raft_cluster(cluster[0].address)
        joining.sys.submit_unseal_key(made["keys_base64"][0])
        wait_until(lambda: len(cluster.peers()) == 2, "n2 has joined")
        servers = client.sys.read_raft_config()["data"]["config"]["servers"]
        assert [server["node_id"] for server in servers] == ["n1", "n2"]
        wait_until(lambda: _removed(client, "n2"), "the joining is done, so that the next change is taken")
        wait_until(lambda: len(cluster.peers()) == 1, "n2 was removed")
    finally:
        cluster.stop()
