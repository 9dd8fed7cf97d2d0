"""node/seal/registry.py and kms.py: what is loaded when, and what is said where a client is not installed."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from node.config.bind import Place
from node.config.seals import SEAL_KEYS, SealStanza
from node.errors import ConfigError
from node.seal import registry
from node.seal.registry import seal_from_stanza

SETTINGS = {
    "awskms": {"kms_key_id": "alias/x"},
    "gcpckms": {"project": "p", "region": "r", "key_ring": "k", "crypto_key": "c"},
    "azurekeyvault": {"vault_name": "v", "key_name": "k"},
}


def test_every_seal_is_documented_and_configurable() -> None:
    """The table of seals and that of their settings agree, but for `transit`, which comes with its engine."""
    assert set(registry._SEALS) == set(SEAL_KEYS) - {"transit"}


@pytest.mark.parametrize("type_", ["gcpckms", "azurekeyvault"])
def test_a_client_that_is_not_installed(type_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install, with file and line, before anything is loaded."""
    monkeypatch.setattr("node.seal.kms.find_spec", lambda _: None)
    stanza = SealStanza(type=type_, settings=SETTINGS[type_], place=Place("node.hcl", 3))
    with pytest.raises(ConfigError, match=rf"^node\.hcl:3: .*pip install 'strongroom\[{type_}\]'"):
        seal_from_stanza(stanza, {}, secrets.token_bytes)


def test_clients_are_loaded_with_the_first_use() -> None:
    """Making the seals loads no client: a node answers, and a shamir cluster never pays for a cloud's library."""
    script = f"""
import sys
from node.config.seals import SealStanza
import node.server
from node.seal.registry import seal_from_stanza
for type_, settings in {SETTINGS!r}.items():
    seal_from_stanza(SealStanza(type=type_, settings=settings), {{}}, bytes)
heavy = ("boto3", "botocore", "google.cloud.kms_v1", "google.auth", "grpc", "azure.core", "azure.keyvault.keys")
print([name for name in heavy if name in sys.modules])
"""
    root = Path(__file__).resolve().parents[3]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"
