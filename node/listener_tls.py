"""TLS of one listener: its context, and the certificate in it, which can be replaced while connections are open.

Invariant: the context always holds a certificate and the key that belongs to it. New files are tried on another context
first; what does not fit changes nothing.
"""

import getpass
import logging
import ssl
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.cipher_suites import openssl_ciphers
from node.config.listeners import Listener
from node.errors import ConfigError
from node.limits import TLS_FILE_BYTES_MAX
from node.tls_files import load_certificate

logger = logging.getLogger(__name__)

TLS_VERSIONS: Final = {
    "tls10": ssl.TLSVersion.TLSv1,
    "tls11": ssl.TLSVersion.TLSv1_1,
    "tls12": ssl.TLSVersion.TLSv1_2,
    "tls13": ssl.TLSVersion.TLSv1_3,
}

Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Pair:
    cert_pem: str
    key_pem: str = field(repr=False)

    @property
    def needs_passphrase(self) -> bool:
        return "ENCRYPTED" in self.key_pem


class _Unusable(Exception):
    """TLS files that cannot be used; the text says which and why, and quotes nothing of them."""


class ListenerTls:
    """What a listener does TLS with. `context` serves from now on, whatever is loaded into it later."""

    def __init__(self, listener: Listener, ask: Ask) -> None:
        """Read the listener's files. `ask` is told what to ask for and gives the passphrase of an encrypted key.

        Raises:
            ConfigError: The files cannot be used. Names file and line of the listener, and the file that is wrong.
        """
        self._listener = listener
        self._passphrase = ""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            pair = self._read()
            if pair.needs_passphrase:
                self._passphrase = ask(f"Passphrase of {listener.tls_key_file}: ")
            self._load(pair)
            self._set_up()
        except _Unusable as error:
            raise ConfigError(f"{listener.declared_at}: {error}") from None

    def reload(self) -> None:
        """Take what the files hold now for all connections to come. Raises ConfigError; then the old one stays."""
        try:
            self._load(self._read())
        except _Unusable as error:
            raise ConfigError(f"{self._listener.declared_at}: {error}; the certificate in use stays") from None

    def _read(self) -> _Pair:
        return _Pair(_text_of(self._listener.tls_cert_file), _text_of(self._listener.tls_key_file))

    def _load(self, pair: _Pair) -> None:
        """Raises _Unusable without having touched the context."""
        try:
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair.cert_pem, pair.key_pem, self._passphrase)
        except ssl.SSLError as error:
            raise _Unusable(
                f"{self._listener.tls_cert_file} and {self._listener.tls_key_file} are not a certificate and its key: "
                f"{_reason(error)}"
            ) from None
        load_certificate(self.context, pair.cert_pem, pair.key_pem, self._passphrase)

    def _set_up(self) -> None:
        listener, context = self._listener, self.context
        ciphers = openssl_ciphers(listener.tls_cipher_suites)
        if listener.tls_min_version in ("tls10", "tls11"):
            # OpenSSL holds these versions for insecure and offers them on its lowest level only. So it was asked for.
            ciphers = f"{ciphers or 'DEFAULT'}:@SECLEVEL=0"
            logger.warning("%s: TLS 1.0 and 1.1 are insecure; set tls_min_version to tls12", listener.declared_at)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's own about the same
            context.minimum_version = TLS_VERSIONS[listener.tls_min_version]
            context.maximum_version = TLS_VERSIONS[listener.tls_max_version]
        if ciphers:
            try:
                context.set_ciphers(ciphers)
            except ssl.SSLError:
                raise _Unusable("tls_cipher_suites: none of them is available here") from None
        if listener.tls_client_ca_file and not listener.tls_disable_client_certs:
            try:
                context.load_verify_locations(cadata=_text_of(listener.tls_client_ca_file))
            except (ssl.SSLError, ValueError) as error:
                raise _Unusable(f"{listener.tls_client_ca_file} holds no certificates: {_reason(error)}") from None
            context.verify_mode = ssl.CERT_OPTIONAL
        if listener.tls_require_and_verify_client_cert:
            context.verify_mode = ssl.CERT_REQUIRED
            if not listener.tls_client_ca_file:
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)


def listener_tls(listener: Listener, ask: Ask) -> ListenerTls | None:
    """The TLS of a listener; None for one without. Raises ConfigError."""
    return None if listener.tls_disable or listener.is_unix else ListenerTls(listener, ask)


def ask_at_terminal(prompt: str) -> str:
    """A passphrase from whoever starts the server. Raises ConfigError when there is no terminal to ask at."""
    if not sys.stdin.isatty():
        raise ConfigError("the key of a listener is encrypted, and there is no terminal to ask for its passphrase")
    return getpass.getpass(prompt)


def _text_of(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(TLS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _Unusable(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > TLS_FILE_BYTES_MAX:
        raise _Unusable(f"{path} is larger than {TLS_FILE_BYTES_MAX} bytes")
    # Text around the PEM blocks may be in any encoding; what is no ASCII is in none of them.
    return content.decode("ascii", "replace")


def _reason(error: Exception) -> str:
    """OpenSSL's word for what is wrong, which quotes nothing of the file."""
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    return (reason or "not PEM").replace("_", " ").lower()
