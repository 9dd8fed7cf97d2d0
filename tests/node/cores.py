"""Nodes in this process: in memory, or with Raft on ports and folders of their own. Not initialised, no TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from cluster.folder import open_folder
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from node.config.load import load
from node.core import Core, NodeIdentity
from node.dispatch import RateGate, dispatch
from node.edge import Edge
from node.seal.registry import seal_from_stanza
from node.sources import SystemSources
from node.storage import InmemStorage, RaftStorage, Storage
from node.system.engine import node_engines
from tests.processes.cluster import free_ports


def new_core(storage: Storage | None = None, api_port: int = 0) -> Core:
    """What `server -dev` would start with, or the same on this storage."""
    config, sources = load([], {}, dev=True), SystemSources()
    return Core(
        config=config,
        storage=storage or InmemStorage(),
        seal=seal_from_stanza(config.seal, {}, sources.random),
        sources=sources,
        identity=NodeIdentity(
            hostname="test",
            api_address=f"http://127.0.0.1:{api_port}" if api_port else "",
            cluster_address="",
            version="",
            started_at_ms=sources.now_ms(),
        ),
        node_engine=node_engines,
        on_failed=lambda reason: None,
    )


@asynccontextmanager
async def raft_core(folder: Path, name: str) -> AsyncIterator[Core]:
    """A node that listens. Leaving it is a clean stop; its folder can be opened again."""
    api_port, cluster_port = free_ports(2)
    folder.mkdir(mode=0o700, exist_ok=True)
    owned = open_folder(folder, name)
    store = RaftStore(owned, RaftSettings(performance_multiplier=1))
    address = f"127.0.0.1:{cluster_port}"
    storage = RaftStorage(store, bind_host="127.0.0.1", bind_port=cluster_port, cluster_address=address)
    core = new_core(storage, api_port)
    listener = replace(core.config.listeners[0], address=f"127.0.0.1:{api_port}")
    edge = Edge(listener, partial(dispatch, core, listener), RateGate(core))
    await edge.start(None)
    try:
        yield core
    finally:
        await edge.stop()
        await core.seal_now()
        storage.close()
        owned.close()
