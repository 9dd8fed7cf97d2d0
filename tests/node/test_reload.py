"""What SIGHUP takes anew, and what the node says of itself in each answer. The signal itself: tests/processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.server_options import ServerOptions
from node.config.load import load
from node.edge import Edge
from node.reload import Listening, own_headers, reload
from node.request_log import RequestLog
from node.response_headers import ListenerHeaders
from tests.node.cores import new_core
from tests.node.edges import OpenGate
from tests.node.live import live

CONFIG = 'storage "inmem" {}\nlistener "tcp" {\n address = "127.0.0.1:1"\n tls_disable = true\n %s\n}\n'


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def test_the_node_in_each_answer() -> None:
    """Host name and Raft node id, each only when it is asked for; the latter only with Raft. Nothing overrides them."""
    async with live() as node:
        core = node.core
        assert own_headers(core.config, core) == {}
        config = replace(core.config, enable_response_header_hostname=True, enable_response_header_raft_node_id=True)
        own = own_headers(config, core)
        assert own == {"X-Vault-Hostname": "n"}
        assert ("X-Vault-Hostname", "n") in ListenerHeaders((), own).of(404)


async def test_levels_and_headers(tmp_path: Path) -> None:
    """The files win over the variable; what they leave out stays; with an error in them nothing changes."""
    file = tmp_path / "a.hcl"
    file.write_text(CONFIG % "")
    core = new_core()
    listener = load([file], {}).listeners[0]

    async def handle(wire: object) -> object:
        raise AssertionError("nothing is asked")

    requests = RequestLog(handle, core.sources, "off")  # type: ignore[arg-type]
    edge = Edge(listener, requests, OpenGate())
    env = {"VAULT_LOG_LEVEL": "error"}

    def hup() -> None:
        reload(core, ServerOptions(config_paths=(str(file),)), env, [Listening(edge, None, requests)])

    root = logging.getLogger()
    root.setLevel(logging.ERROR)
    hup()
    assert root.level == logging.ERROR
    file.write_text('log_level = "debug"\n' + CONFIG % 'custom_response_headers { "default" = { "X-A" = ["b"] } }')
    hup()
    assert root.level == logging.DEBUG
    assert ("X-A", "b") in edge.headers.of(200)
    for broken in ('log_level = "loud"\n' + CONFIG % "", "listener {", None):
        file.unlink() if broken is None else file.write_text(broken)
        hup()
        assert root.level == logging.DEBUG
        assert ("X-A", "b") in edge.headers.of(200)
