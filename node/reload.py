"""SIGHUP: what a running server takes anew without dropping a connection (documentation, "Signals").

Certificates and keys of the listeners, from the paths of the start; the levels of the log and of the
requests in it and the listeners' own headers, from the configuration files; and the files of audit devices are opened
anew. Whatever is wrong with one of them leaves what is in use, and the others are taken nevertheless. The log file is
not opened anew: it is rotated by the server itself.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node import logs
from node.cli.server_options import ServerOptions
from node.config.load import load
from node.config.model import Config
from node.core import Core
from node.edge import Edge
from node.errors import ConfigError
from node.listener_tls import ListenerTls
from node.request_log import RequestLog
from node.response_headers import ListenerHeaders

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Listening:
    """A listener at work."""

    edge: Edge
    tls: ListenerTls | None
    requests: RequestLog


def own_headers(config: Config, core: Core) -> dict[str, str]:
    """What the node tells of itself in every answer, as far as it is configured to."""
    headers = {}
    if config.enable_response_header_hostname:
        headers["X-Vault-Hostname"] = core.identity.hostname
    if config.enable_response_header_raft_node_id and core.storage.ha_enabled:
        headers["X-Vault-Raft-Node-ID"] = core.storage.node_id
    return headers


def reload(core: Core, options: ServerOptions, env: Mapping[str, str], listening: Sequence[Listening]) -> None:
    """Take everything anew that can be. Never raises: what goes wrong is logged."""
    core.reopen_audit_files()
    for one in listening:
        if one.tls is not None:
            _reload_certificate(one.edge, one.tls)
    # What the files say wins now, also over the variable and the flag of the start.
    without = {name: value for name, value in env.items() if name not in ("VAULT_LOG_LEVEL", "STRONGROOM_LOG_LEVEL")}
    try:
        config = load([Path(path) for path in options.config_paths], without, dev=options.dev)
    except (ConfigError, OSError) as error:
        logger.error("the configuration is not read again: %s", error)
        return
    if "log_level" in config.keys_in_files:
        logs.set_level(config.log_level)
    by_address = {(each.type, each.address): each for each in config.listeners}
    for one in listening:
        one.requests.take(config.log_requests_level)
        now = by_address.get((one.edge.listener.type, one.edge.listener.address))
        if now is not None:
            one.edge.headers = ListenerHeaders(now.custom_response_headers, own_headers(core.config, core))
    logger.info("the configuration was read again")


def _reload_certificate(edge: Edge, tls: ListenerTls) -> None:
    try:
        tls.reload()
    except ConfigError as error:
        logger.error("%s", error)
    else:
        logger.info("the certificate of %s was read again", edge.listener.address)
