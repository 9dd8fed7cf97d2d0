"""peers.json: the survivors of a lost quorum go on with what they have, and a wrong file changes nothing."""

import json
from pathlib import Path

import pytest

from cluster.errors import DataFolderRefused
from cluster.folder import open_folder
from cluster.peers import PeerChange
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from cluster.store import Put
from tests.cluster.simulation import Cluster, scenario


def write_peers(cluster: Cluster, node_id: str, *names: str) -> Path:
    file = cluster.path / node_id / "raft" / "peers.json"
    file.write_text(json.dumps([{"id": name, "address": f"{name}:8201", "non_voter": False} for name in names]))
    return file


@scenario
async def test_one_of_three(cluster: Cluster) -> None:
    """It is elected alone with all that it had acknowledged; lost nodes join again under their old names."""
    leader = await cluster.form(3)
    await leader.store.commit([Put("a", b"1")])
    await cluster.same_everywhere()
    for node_id in ("n1", "n2", "n3"):
        cluster.node(node_id).crash()
    file = write_peers(cluster, "n3", "n3")
    survivor = cluster.node("n3")
    await survivor.start()
    assert not file.exists()
    assert file.with_name("peers.json.used").exists()
    await cluster.until(lambda: survivor.store.is_ready_leader)
    assert survivor.store.get("a") is not None
    assert [peer.node_id for peer in survivor.store.peers()] == ["n3"]
    await survivor.store.commit([Put("b", b"2")])
    survivor.crash()
    await survivor.start()
    await cluster.until(lambda: survivor.store.is_ready_leader)
    cluster.nodes = {"n3": survivor}
    for part in (cluster.path / "n2").rglob("*"):
        if part.is_file():
            part.unlink()
    for name in ("vault.db", "raft/journal"):
        (cluster.path / "n2" / name).rmdir()
    await cluster.join("n2")
    await cluster.same_everywhere()


@scenario
async def test_a_member_that_is_made_to_stand_alone(cluster: Cluster) -> None:
    """Recovery mode: before it starts it becomes the only peer, durably and with all it has; twice is the same."""
    leader = await cluster.form(3)
    await leader.store.commit([Put("a", b"1")])
    await cluster.same_everywhere()
    for node_id in ("n1", "n2", "n3"):
        cluster.node(node_id).crash()
    folder = open_folder(cluster.path / "n2", "n2")
    store = RaftStore(folder, RaftSettings())
    for _ in range(2):
        store.stand_alone("n2:8201")
        assert [peer.node_id for peer in store.peers()] == ["n2"]
    store.close()
    folder.close()
    assert not (cluster.path / "n2" / "raft" / "peers.json").exists()
    alone = cluster.node("n2")
    await alone.start()
    await cluster.until(lambda: alone.store.is_ready_leader)
    assert alone.store.get("a") is not None
    await alone.store.commit([Put("b", b"2")])


@scenario
async def test_two_of_five_and_a_change_on_its_way(cluster: Cluster) -> None:
    """The one with more of the log is elected, and a peer change that the lost nodes had begun does nothing."""
    leader = await cluster.form(5)
    await leader.store.commit([Put("a", b"1")])
    await cluster.same_everywhere()
    cluster.network.partition({"n1", "n2"})
    leader.engine.propose_change(PeerChange("add", "n9", "n9:8201"), lambda result: None)
    leader.propose(b"\x01" + b"\x90")
    second = cluster.node("n2")
    await cluster.until(lambda: second.store._journal[-1][1] == leader.store._journal[-1][1])
    await cluster.until(lambda: len(second.store.peers()) == 6)
    last = second.store._journal[-1][1]
    for node_id in list(cluster.nodes):
        cluster.node(node_id).crash()
    cluster.network.heal()
    for node_id in ("n2", "n4"):
        write_peers(cluster, node_id, "n2", "n4")
    cluster.nodes = {name: node for name, node in cluster.nodes.items() if name in ("n2", "n4")}
    await cluster.node("n4").start()
    await second.start()
    await cluster.until(lambda: second.store.is_ready_leader)
    assert second.store.applied_index >= last
    assert [peer.node_id for peer in second.store.peers()] == ["n2", "n4"]
    await second.store.commit([Put("b", b"2")])
    await cluster.same_everywhere()
    assert [peer.node_id for peer in cluster.node("n4").store.peers()] == ["n2", "n4"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '["n1"]',
        '[{"id": "n1"}]',
        '[{"id": "n1", "address": "nowhere"}]',
        '[{"id": "n2", "address": "a:1"}]',
        '[{"id": "n1", "address": "a:1", "non_voter": true}]',
        '[{"id": "n1", "address": "a:1"}, {"id": "n1", "address": "b:1"}]',
        '[{"id": "n1", "address": "a:1"}, {"id": "n2", "address": "a:1"}]',
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    """The node does not start, says why, and goes on as it was once the file is gone."""

    @scenario
    async def play(cluster: Cluster) -> None:
        leader = await cluster.form(1)
        await leader.store.commit([Put("a", b"1")])
        leader.crash()
        file = cluster.path / "n1" / "raft" / "peers.json"
        file.write_text(text)
        folder = open_folder(cluster.path / "n1", "n1")
        with pytest.raises(DataFolderRefused, match=r"peers\.json"):
            RaftStore(folder, RaftSettings(), threaded=False)
        folder.close()
        file.unlink()
        await leader.start()
        await cluster.until(lambda: leader.store.is_ready_leader)

    play(tmp_path)


def test_a_new_node_cannot_recover(tmp_path: Path) -> None:
    """Without data there is nothing to go on with: the file would make an empty cluster of its own."""

    @scenario
    async def play(cluster: Cluster) -> None:
        folder = open_folder(cluster.path / "n1", "n1")
        write_peers(cluster, "n1", "n1")
        with pytest.raises(DataFolderRefused, match="has none"):
            RaftStore(folder, RaftSettings(), threaded=False)
        folder.close()

    play(tmp_path)
