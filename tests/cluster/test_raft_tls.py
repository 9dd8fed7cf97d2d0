"""Three stores over real TLS links, real time and synced files, in one process."""

import asyncio
from pathlib import Path

from cluster.errors import NoLeader
from cluster.folder import open_folder
from cluster.links import TlsLinks
from cluster.peers import Peer
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from cluster.store import Put
from cluster.tls import issue, new_authority

NODES = ("n1", "n2", "n3")


async def until(is_so: object, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_a_cluster_joins_commits_and_survives_its_leader(tmp_path: Path) -> None:
    """Two nodes join the first, all apply the same, and when the leader stops another serves what was acknowledged."""
    authority = new_authority("test")
    settings = RaftSettings(performance_multiplier=1)
    links: dict[str, TlsLinks] = {}
    stores: dict[str, RaftStore] = {}
    failures: list[Exception] = []
    folders = {node_id: open_folder(tmp_path / node_id, node_id) for node_id in NODES}
    try:
        for node_id in NODES:
            links[node_id] = TlsLinks(node_id, issue(authority, node_id))
            await links[node_id].start("127.0.0.1", 0)
            stores[node_id] = RaftStore(folders[node_id], settings)
            stores[node_id].on_failed = failures.append
        address = {node_id: f"127.0.0.1:{links[node_id].bound_port}" for node_id in NODES}
        first = stores["n1"]
        first.bootstrap(address["n1"])
        await first.start(links["n1"], address["n1"])
        await until(lambda: first.is_ready_leader)
        for node_id in NODES[1:]:
            stores[node_id].adopt([*first.peers(), Peer(node_id, address[node_id])])
            await stores[node_id].start(links[node_id], address[node_id])
            await first.add_peer(node_id, address[node_id])
        await asyncio.gather(*(first.commit([Put(f"k/{number}", b"v" * 300)]) for number in range(200)))
        first.require_lease()
        await until(lambda: all(store.applied_index == first.applied_index for store in stores.values()))
        await first.stop()
        await links["n1"].stop()
        await until(lambda: any(stores[node_id].is_ready_leader for node_id in NODES[1:]))
        successor = next(store for store in stores.values() if store.is_ready_leader)
        assert len(successor.list("k/")) == 200
        await successor.commit([Put("after", b"1")])
        await until(lambda: has_lease(successor))
        assert not failures
    finally:
        for node_id, store in stores.items():
            await store.stop()
            await links[node_id].stop()
            store.close()
        for folder in folders.values():
            folder.close()


def has_lease(store: RaftStore) -> bool:
    try:
        store.require_lease()
    except NoLeader:
        return False
    return True
