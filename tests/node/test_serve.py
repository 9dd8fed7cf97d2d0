"""The gate of design.md, section 2: a node that may have been replaced gives no answer from what it has read."""

import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.errors import NoLeader
from cluster.inmem import InmemStore
from engines.common.errors import EngineError
from node.config.load import load
from node.core import Core, NodeIdentity
from node.initialize import InitRequest, initialize
from node.request import WireRequest, parse
from node.response import Response
from node.seal.registry import seal_from_stanza
from node.serve import serve
from node.sources import SystemSources
from node.storage import InmemStorage
from node.system.engine import node_engines
from node.unseal import unseal

ROOT = "root-of-this-test"


class ReplaceableStore(InmemStore):
    """A store that can be told that another node leads now."""

    is_replaced = False

    def require_lease(self, since: int | None = None) -> None:
        if self.is_replaced:
            raise NoLeader("this node is not the active node of the cluster")


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An unsealed node in memory with KV version 2 at secret/."""
    file = tmp_path / "node.hcl"
    file.write_text('storage "inmem" {}\nlistener "tcp" {\n  address = "127.0.0.1:8200"\n  tls_disable = true\n}\n')
    config = load([file], os.environ)
    storage = InmemStorage()
    storage.store = ReplaceableStore()
    sources = SystemSources()
    identity = NodeIdentity(hostname="h", api_address="", cluster_address="", version="1", started_at_ms=0)
    seal = seal_from_stanza(config.seal, os.environ, sources.random)
    made = Core(
        config=config,
        storage=storage,
        seal=seal,
        sources=sources,
        identity=identity,
        node_engine=node_engines,
        on_failed=lambda reason: pytest.fail(reason),
    )
    request = InitRequest(shares=1, threshold=1, kv_mount=True, root_token=ROOT)
    result = await initialize(made, request)
    await unseal(made, result.shares[0].hex(), reset=False)
    yield made
    await made.seal_now()


async def ask(core: Core, method: str, path: str, body: bytes = b"", token: str = ROOT) -> Response:
    """One request on its way through `serve`."""
    wire = WireRequest(
        method=method,
        path=f"/v1/{path}",
        query="",
        headers={"x-vault-token": token},
        body=body,
        client_address="127.0.0.1",
    )
    node = core.require_unsealed()
    return await serve(node, parse(wire, "id"))


def replace_leader(core: Core) -> None:
    """From now on another node leads, and this one may have heard nothing of what was written since."""
    assert isinstance(core.storage.store, ReplaceableStore)
    core.storage.store.is_replaced = True


REFUSED = {
    "a secret that is not there": ("GET", "secret/data/absent", b"", ROOT),
    "an empty list": ("LIST", "secret/metadata/absent", b"", ROOT),
    "a check-and-set on another version": ("POST", "secret/data/k", b'{"data":{"a":1},"options":{"cas":7}}', ROOT),
    "a token that is not known": ("GET", "secret/data/k", b"", "hvs.unknown"),
    "a mount that is not there": ("GET", "absent/k", b"", ROOT),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_pass_the_gate(core: Core, name: str) -> None:
    """What is refused because of what was read is refused by the leader only: another may know better."""
    await ask(core, "POST", "secret/data/k", b'{"data":{"a":1}}')
    method, path, body, token = REFUSED[name]
    with pytest.raises(Exception) as refused:
        await ask(core, method, path, body, token)
    assert not isinstance(refused.value, NoLeader)
    replace_leader(core)
    with pytest.raises(NoLeader):
        await ask(core, method, path, body, token)


async def test_a_use_is_taken_once(core: Core) -> None:
    """A refusal after a use was taken is not asked again: trying once more would take another use."""
    created = await ask(core, "POST", "auth/token/create", b'{"num_uses":5}')
    token = str(dataclasses.asdict(created)["body"]).partition('client_token":"')[2].partition('"')[0]
    replace_leader(core)
    with pytest.raises(EngineError):
        await ask(core, "GET", "secret/data/absent", token=token)
