"""Walkthrough K: an application in curl alone."""

import json
import subprocess
from typing import Any

import pytest

from tests.processes.cluster import Node

pytestmark = pytest.mark.processes


def curl(address: str, *words: str) -> Any:
    """What curl prints, decoded."""
    *options, path = words
    done = subprocess.run(
        ["curl", "--silent", "--fail-with-body", "--max-time", "30", *options, f"{address}/v1/{path}"],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout) if done.stdout else None


def test_an_application(dev: Node) -> None:
    """Log in with AppRole, read .auth.client_token, read .data.data.password with it, and nothing else."""
    root = ("--header", "X-Vault-Token: root")
    rule = 'path "secret/data/curl/*" { capabilities = ["read"] }'
    curl(dev.address, *root, "--data", '{"type": "approle"}', "sys/auth/curl")
    curl(dev.address, *root, "--data", json.dumps({"policy": rule}), "sys/policies/acl/curl")
    curl(dev.address, *root, "--data", '{"data": {"password": "P@ssw0rd!2026"}}', "secret/data/curl/database")
    curl(dev.address, *root, "--data", '{"token_policies": "curl"}', "auth/curl/role/app")
    role_id = curl(dev.address, *root, "auth/curl/role/app/role-id")["data"]["role_id"]
    secret_id = curl(dev.address, *root, "--request", "POST", "auth/curl/role/app/secret-id")["data"]["secret_id"]

    credentials = json.dumps({"role_id": role_id, "secret_id": secret_id})
    token = curl(dev.address, "--request", "POST", "--data", credentials, "auth/curl/login")["auth"]["client_token"]
    mine = ("--header", f"X-Vault-Token: {token}")
    assert curl(dev.address, *mine, "secret/data/curl/database")["data"]["data"]["password"] == "P@ssw0rd!2026"
    for path in ("secret/data/my-app/database", "auth/curl/role/app/role-id", "sys/mounts"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            curl(dev.address, *mine, path)
        assert json.loads(refused.value.stdout) == {"errors": ["permission denied"]}
