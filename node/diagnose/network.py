"""Addresses, listeners, their certificates, and the service catalogue."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from node.config.listeners import Listener
from node.config.model import Config
from node.config.services import ConsulRegistration
from node.config.storage import RaftStorage
from node.core import NodeIdentity
from node.diagnose.report import Finding, failure, group, ok, skipped, warning
from node.errors import ConfigError
from node.listener_tls import ask_at_terminal, listener_tls
from node.registration.catalogues import catalogue_of
from node.storage import split_address

EXPIRY_WARNING_S: Final = 30 * 86_400
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def check_redirect_address(config: Config) -> Finding:
    """What clients are sent to, and other nodes show, must be said: a guess is wrong behind any load balancer."""
    name = "Determine Redirect Address"
    if config.api_addr:
        return ok(name)
    return warning(
        name, "api_addr is not set.", "Set api_addr, or VAULT_API_ADDR, to the URL at which clients reach this node."
    )


def check_cluster_address(config: Config) -> Finding:
    """Where the other nodes reach this one."""
    name = "Check Cluster Address"
    if not isinstance(config.storage, RaftStorage):
        return skipped(name, "There are no other nodes with this storage.")
    try:
        host, port = split_address(config.cluster_addr)
    except ValueError:
        return failure(name, "cluster_addr is not host:port.", "Set it, or VAULT_CLUSTER_ADDR, to https://HOST:8201.")
    if host in ("0.0.0.0", "::"):
        return failure(name, f"{host}:{port} is no address that another node could reach.", "Name this node's own.")
    return ok(name, f"{host}:{port}")


def check_listeners(listeners: Sequence[Listener]) -> Finding:
    """The certificates of each, and whether its address is free."""
    found = [check_listener_tls(each) for each in listeners]
    return group("Start Listeners", [*found, *(check_address_free(each) for each in listeners)])


def check_listener_tls(listener: Listener) -> Finding:
    """Certificate and key belong together, and the certificate holds for another month."""
    name = "Check Listener TLS"
    at = listener.address
    if listener.is_unix:
        return ok(name, f"{at} is a unix socket.")
    if listener.tls_disable:
        return warning(name, f"TLS is disabled on {at}.", "Only loopback, or a proxy in front, makes that safe.")
    try:
        listener_tls(listener, ask_at_terminal)
        certificates = x509.load_pem_x509_certificates(Path(listener.tls_cert_file).read_bytes())
    except ConfigError as error:
        return failure(name, str(error))
    except (OSError, ValueError):
        return failure(name, f"{listener.tls_cert_file} cannot be read as certificates.")
    ends_s = min(certificate.not_valid_after_utc.timestamp() for certificate in certificates) - time.time()
    begins_s = max(certificate.not_valid_before_utc.timestamp() for certificate in certificates) - time.time()
    if ends_s <= 0:
        return failure(name, f"A certificate in {listener.tls_cert_file} has expired.", "Renew it, then send SIGHUP.")
    if begins_s > 0:
        return failure(name, f"A certificate in {listener.tls_cert_file} is not valid yet.", "Check the clock.")
    if ends_s < EXPIRY_WARNING_S:
        days = int(ends_s // 86_400)
        return warning(
            name, f"A certificate in {listener.tls_cert_file} expires in {days} days.", "Renew it, then send SIGHUP."
        )
    return ok(name, f"{at} has a certificate for another {int(ends_s // 86_400)} days.")


def check_address_free(listener: Listener) -> Finding:
    """A running server makes this fail, as it should."""
    name = "Create Listeners"
    try:
        if listener.is_unix:
            folder = Path(listener.address).parent
            if not os.access(folder, os.W_OK):
                return failure(name, f"The socket cannot be made in {folder}.")
            return ok(name)
        at = listener.host_port
        family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
        with socket.socket(family) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((at.host, at.port))
    except OSError as error:
        return failure(
            name,
            f"{listener.address}: {error.strerror or error}.",
            "A running server explains this; otherwise another program has the port, or the address is not ours.",
        )
    return ok(name, f"{listener.address} is free.")


def check_service_discovery(config: Config, identity: NodeIdentity, env: Mapping[str, str]) -> Finding:
    """The stanza can be used, and leads to an agent rather than to Consul's servers."""
    name = "Check Service Discovery"
    stanza = config.service_registration
    if stanza is None:
        return skipped(name, "There is no service_registration stanza.")
    try:
        catalogue_of(config, identity, env)
    except ConfigError as error:
        return failure(name, str(error))
    if not isinstance(stanza, ConsulRegistration):
        return ok(name)
    tls = ok("Check Consul Service Discovery TLS")
    direct = "Check Consul Direct Service Discovery"
    return group(name, [tls, ok(direct) if _is_local(stanza.address) else _direct(direct)])


def _direct(name: str) -> Finding:
    return warning(
        name, "The Consul address is not on this machine.", "Register with a local agent, not with a Consul server."
    )


def _is_local(address: str) -> bool:
    if address.startswith("unix://"):
        return True
    with suppress(ValueError):
        return urlsplit(address if "://" in address else f"//{address}").hostname in _LOOPBACK
    return False
