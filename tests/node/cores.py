"""A node in memory, not initialised, without listeners."""

from node.config.load import load
from node.core import Core, NodeIdentity
from node.seal.registry import seal_from_stanza
from node.sources import SystemSources
from node.storage import InmemStorage
from node.system.engine import node_engines


def new_core() -> Core:
    """What `server -dev` would start with."""
    config, sources = load([], {}, dev=True), SystemSources()
    return Core(
        config=config,
        storage=InmemStorage(),
        seal=seal_from_stanza(config.seal, {}, sources.random),
        sources=sources,
        identity=NodeIdentity(
            hostname="test", api_address="", cluster_address="", version="", started_at_ms=sources.now_ms()
        ),
        node_engine=node_engines,
        on_failed=lambda reason: None,
    )
