"""`operator diagnose`: all checks, in the order in which a server would come to need them."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from node.config.load import load
from node.config.model import Config
from node.config.storage import RaftStorage
from node.core import NodeIdentity
from node.diagnose.machine import check_machine
from node.diagnose.network import (
    check_cluster_address,
    check_listeners,
    check_redirect_address,
    check_service_discovery,
)
from node.diagnose.report import Finding, Status, failure, group, ok, skipped, warning
from node.diagnose.storage import check_storage
from node.errors import ConfigError, NodeError
from node.seal import Seal
from node.seal.registry import seal_from_stanza
from node.sources import SystemSources
from node.version import VERSION

NAME: Final = "Vault Diagnose"
SEAL_TIMEOUT_S: Final = 30.0
_DUD: Final = b"diagnose"


def diagnose(config_paths: Sequence[Path], env: Mapping[str, str], skip: Sequence[str] = ()) -> Finding:
    """Every check but those named in `skip`, whatever their case. A configuration that cannot be read ends it early."""
    names = {name.lower() for name in skip}
    try:
        config = load(config_paths, env)
    except ConfigError as error:
        return _without(group(NAME, [check_machine([Path("/")]), failure("Parse Configuration", str(error))]), names)
    return _without(group(NAME, [*_checks(config, env)]), names)


def _checks(config: Config, env: Mapping[str, str]) -> list[Finding]:
    folders = [Path(config.storage.path)] if isinstance(config.storage, RaftStorage) else []
    identity = NodeIdentity(
        hostname=socket.gethostname(),
        api_address=config.api_addr,
        cluster_address=config.cluster_addr,
        version=VERSION,
        started_at_ms=0,
    )
    return [
        check_machine([Path("/"), *folders]),
        _check_configuration(config),
        check_storage(config.storage),
        check_service_discovery(config, identity, env),
        *_check_seals(config, env),
        check_redirect_address(config),
        check_cluster_address(config),
        check_listeners(config.listeners),
    ]


def _check_configuration(config: Config) -> Finding:
    name = "Parse Configuration"
    if not config.warnings:
        return ok(name)
    return group(name, [warning("Check Settings", each) for each in config.warnings])


def _check_seals(config: Config, env: Mapping[str, str]) -> list[Finding]:
    made, encrypts = "Create Vault Server Configuration Seals", "Check Autounseal Encryption"
    try:
        seal = seal_from_stanza(config.seal, env, SystemSources().random)
    except NodeError as error:
        return [failure(made, str(error)), skipped(encrypts, "The seal cannot be made.")]
    if not seal.is_auto:
        return [ok(made), skipped(encrypts, "The seal takes key shares.")]
    return [ok(made), asyncio.run(_check_encryption(encrypts, seal))]


async def _check_encryption(name: str, seal: Seal) -> Finding:
    try:
        async with asyncio.timeout(SEAL_TIMEOUT_S):
            opened = await seal.unwrap(await seal.wrap(_DUD))
    except TimeoutError:
        return failure(name, f"The {seal.type} seal did not answer within {SEAL_TIMEOUT_S:.0f} s.")
    except NodeError as error:
        return failure(name, str(error))
    if opened != _DUD:
        return failure(name, f"The {seal.type} seal does not give back what it was given.")
    return ok(name)


def _without(finding: Finding, names: set[str]) -> Finding:
    """The tree without the checks of these names."""
    children = tuple(_without(child, names) for child in finding.children if child.name.lower() not in names)
    return Finding(
        name=finding.name, own=finding.own, message=finding.message, advice=finding.advice, children=children
    )


def exit_code(finding: Finding) -> int:
    """0 when all is well, 1 for a failure, 2 for a warning."""
    return {Status.FAILURE: 1, Status.WARNING: 2}.get(finding.status, 0)
