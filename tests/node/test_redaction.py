"""Redacting listeners, through the whole node."""

import json
from dataclasses import replace

import pytest

from node.config.listeners import Listener
from node.core import NodeIdentity
from node.dispatch import dispatch
from node.request import WireRequest
from tests.node.live import Live, live

HIDDEN = {
    "redact_addresses": {"leader_address", "leader_cluster_address"},
    "redact_cluster_name": {"cluster_name"},
    "redact_version": {"version", "build_date"},
}


async def told(node: Live, listener: Listener, path: str) -> dict[str, object]:
    wire = WireRequest(method="GET", path=f"/v1/{path}", query="", headers={}, body=b"", client_address="192.0.2.1")
    found: dict[str, object] = json.loads((await dispatch(node.core, listener, wire)).body)
    return found


@pytest.mark.parametrize("key", HIDDEN)
async def test_what_is_hidden(key: str) -> None:
    """Each key empties its members in each answer that has them, however the path is spelled, and nothing else."""
    async with live() as node:
        identity = node.core.identity
        assert isinstance(identity, NodeIdentity)
        node.core.identity = replace(identity, api_address="http://192.0.2.1:8200", version="1")
        open_to_all = Listener(type="tcp", tls_disable=True)
        redacting = replace(open_to_all, **{key: True})  # type: ignore[arg-type]
        for path in ("sys/health", "sys/seal-status", "sys/leader", "sys/h%65alth"):
            before, after = await told(node, open_to_all, path), await told(node, redacting, path)
            hidden = HIDDEN[key] & set(before)
            assert {name for name in before if before[name] != after[name]} <= hidden
            assert all(after[name] == "" for name in hidden)
            assert set(before) == set(after)
