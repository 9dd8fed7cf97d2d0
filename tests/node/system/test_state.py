"""sys/config/state/sanitized and sys/version-history."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from node.config.load import load
from node.version import VERSION
from node.version_history import note_version
from tests.node.live import live

CANARY = "canary-2f6e"


async def test_the_configuration_without_secrets(tmp_path: Path) -> None:
    """Of storage and seals only the kind, and nothing that was secret in the file or the environment."""
    file = tmp_path / "node.hcl"
    file.write_text(
        f'storage "raft" {{\n path = "/{CANARY}/data"\n node_id = "{CANARY}-node"\n}}\n'
        'listener "tcp" {\n address = "127.0.0.1:8210"\n tls_disable = true\n}\n'
        f'seal "awskms" {{\n kms_key_id = "{CANARY}-key"\n access_key = "{CANARY}-id"\n secret_key = "{CANARY}"\n}}\n'
        f'service_registration "consul" {{\n token = "{CANARY}-token"\n}}\n'
        "telemetry {\n disable_hostname = true\n}\n"
        'cluster_addr = "https://127.0.0.1:8211"\ndefault_lease_ttl = "1h"\nui = true\n'
    )
    config = replace(load([file], {"AWS_SESSION_TOKEN": f"{CANARY}-session"}), storage=load([], {}, dev=True).storage)
    async with live() as one:
        with patch.object(one.core, "config", config):
            found = await one.read("sys/config/state/sanitized")
        assert CANARY not in json.dumps(found)
        assert found["default_lease_ttl"] == 3600
        assert found["enable_ui"] is True
        assert found["listeners"] == [{"type": "tcp", "config": {"address": "127.0.0.1:8210", "tls_disable": True}}]
        assert found["seals"] == [{"type": "awskms", "disabled": False}]
        assert found["storage"]["type"] == "inmem"
        assert found["service_registration"] == {"type": "consul"}
        assert found["telemetry"]["disable_hostname"] is True
        await one.refused("GET", "sys/config/state/sanitized", token="", status=403)


async def test_versions() -> None:
    """Each version that was active, in order, with the one before it; a restart adds none."""
    async with live() as one:
        await note_version(one.node.opened, one.sources)
        with patch("node.version_history.VERSION", "1.18.0+strongroom.9.9.9"):
            one.sources.advance(60_000)
            await one.restart()
            await note_version(one.node.opened, one.sources)
            await note_version(one.node.opened, one.sources)
        await one.restart()
        found = await one.list("sys/version-history")
        assert found["keys"] == [VERSION, "1.18.0+strongroom.9.9.9"]
        assert found["key_info"][VERSION]["previous_version"] is None
        assert found["key_info"][VERSION]["timestamp_installed"] == "2026-11-21T20:00:00Z"
        assert found["key_info"]["1.18.0+strongroom.9.9.9"]["previous_version"] == VERSION
