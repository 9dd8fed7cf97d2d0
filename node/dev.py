"""`server -dev`: one node in memory, initialised, unsealed, with KV version 2 at secret/. Never for real secrets."""

import dataclasses
import os
from base64 import b64encode
from pathlib import Path
from typing import Final

from node.cli.server_options import ServerOptions
from node.config.model import Config
from node.core import Core
from node.initialize import InitRequest, initialize
from node.unseal import unseal

START_TIMEOUT_S: Final = 30.0


def configured(config: Config, options: ServerOptions) -> Config:
    """The configuration with what the dev flags say."""
    if not options.dev_listen_address:
        return config
    first = dataclasses.replace(config.listeners[0], address=options.dev_listen_address)
    return dataclasses.replace(config, listeners=(first, *config.listeners[1:]))


async def start(core: Core, options: ServerOptions) -> list[str]:
    """Initialise and unseal. The lines to print below the banner."""
    request = InitRequest(shares=1, threshold=1, kv_mount=True, root_token=options.dev_root_token_id)
    result = await initialize(core, request)
    await unseal(core, result.shares[0].hex(), reset=False)
    await core.wait_active(START_TIMEOUT_S)
    if not options.dev_no_store_token:
        _store_token(result.root_token)
    address = core.identity.api_address
    return [
        "WARNING! dev mode is enabled! In this mode, Strongroom runs entirely in-memory",
        "and starts unsealed with a single unseal key. The root token is already",
        "authenticated to the CLI, so you can immediately begin using it.",
        "",
        "You may need to set the following environment variables:",
        "",
        f"    $ export VAULT_ADDR='{address}'",
        "",
        "The unseal key and root token are displayed below in case you want to",
        "seal/unseal the server or re-authenticate.",
        "",
        f"Unseal Key: {b64encode(result.shares[0]).decode()}",
        f"Root Token: {result.root_token}",
        "",
        "Development mode should NOT be used in production installations!",
        "",
    ]


def _store_token(token: str) -> None:
    path = Path.home() / ".vault-token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(token)
