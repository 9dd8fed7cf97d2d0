"""`server -dev`: one node in memory, initialised, unsealed, with KV version 2 at secret/. Never for real secrets."""

import dataclasses
import logging
import os
from base64 import b64encode
from typing import Final

from node.cli.errors import CliError
from node.cli.server_options import ServerOptions
from node.cli.token_helper import token_helper
from node.config.model import Config
from node.core import Core
from node.initialize import InitRequest, initialize
from node.unseal import unseal

logger = logging.getLogger(__name__)

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
    try:
        token_helper(os.environ).store(token)
    except CliError as error:
        logger.warning("the root token was not stored for the command line: %s", error)
