"""The TLS context of one listener (API documentation, "listener tcp")."""

import ssl
from typing import Final

from node.config.listeners import Listener
from node.errors import ConfigError

TLS_VERSIONS: Final = {
    "tls10": ssl.TLSVersion.TLSv1,
    "tls11": ssl.TLSVersion.TLSv1_1,
    "tls12": ssl.TLSVersion.TLSv1_2,
    "tls13": ssl.TLSVersion.TLSv1_3,
}


def server_context(listener: Listener) -> ssl.SSLContext | None:
    """The context, or None for a listener without TLS. Raises ConfigError naming the file that cannot be used."""
    if listener.tls_disable or listener.is_unix:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = TLS_VERSIONS[listener.tls_min_version]
    context.maximum_version = TLS_VERSIONS[listener.tls_max_version]
    try:
        context.load_cert_chain(listener.tls_cert_file, listener.tls_key_file)
        if listener.tls_client_ca_file:
            context.load_verify_locations(listener.tls_client_ca_file)
        if listener.tls_cipher_suites:
            context.set_ciphers(":".join(listener.tls_cipher_suites))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{listener.declared_at}: the TLS files of the listener cannot be used: {error.strerror or error}. "
            "Check tls_cert_file, tls_key_file and tls_client_ca_file"
        ) from None
    if listener.tls_require_and_verify_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
    elif listener.tls_client_ca_file and not listener.tls_disable_client_certs:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
