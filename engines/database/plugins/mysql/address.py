"""The connection_url of MySQL: `user:password@tcp(host:port)/database?parameter=value`, as the Go driver writes it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from engines.common.errors import InvalidRequest
from engines.database.connection_url import text_of
from engines.database.interface import Settings
from engines.database.pem_file import PemFile

_URL: Final = re.compile(
    r"(?:(?P<login>.*)@)?(?P<net>tcp|unix)?(?:\((?P<address>[^)]*)\))?/(?P<database>[^?/]*)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_PORT: Final = 3306


@dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom to log in: the keyword arguments of the driver."""

    arguments: dict[str, Any] = field(repr=False)

    @property
    def secret(self) -> str:
        """What never shows in an error."""
        return str(self.arguments.get("password", ""))


def address_of(settings: Settings) -> Address:
    """Raises InvalidRequest for a URL or certificates that cannot be."""
    found = _URL.fullmatch(text_of(settings, "connection_url"))
    if found is None:
        raise InvalidRequest("connection_url is not of the form user:password@tcp(host:port)/database")
    user, _, password = (found["login"] or "").partition(":")
    # Placeholders are replaced in the parts, so no character of a name or password can be taken for another part.
    arguments: dict[str, Any] = {"user": _value(user, settings), "password": _value(password, settings)}
    if found["database"]:
        arguments["database"] = found["database"]
    if found["net"] == "unix":
        arguments["unix_socket"] = found["address"] or "/var/run/mysqld/mysqld.sock"
    else:
        host, port = _host_and_port(found["address"] or "127.0.0.1")
        arguments.update(host=host, port=port)
    context = _tls(dict(parse_qsl(found["query"] or "")).get("tls", ""), settings)
    if context is not None:
        arguments["ssl"] = context
    return Address(arguments)


def _value(part: str, settings: Settings) -> str:
    name = re.fullmatch(r"\{\{\s*(username|password)\s*\}\}", part)
    return text_of(settings, name[1]) if name is not None else part


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidRequest("connection_url has a port that is no number from 1 to 65535")
    return host.strip("[]"), int(port)


def _tls(mode: str, settings: Settings) -> ssl.SSLContext | None:
    """How to speak TLS. Whoever asks for it gets a checked certificate, unless they say otherwise (CVE-2021-27400)."""
    authorities, own = text_of(settings, "tls_ca"), text_of(settings, "tls_certificate_key")
    if not (authorities or own) and mode.lower() in ("", "false"):
        return None
    try:
        context = ssl.create_default_context(cadata=authorities or None)
        if own:
            file = PemFile(own)
            try:
                context.load_cert_chain(file.path)
            finally:
                file.close()
    except (ssl.SSLError, ValueError):
        raise InvalidRequest("tls_ca or tls_certificate_key is not what it should be: PEM") from None
    if mode.lower() == "skip-verify" or settings.get("tls_skip_verify") in (True, "true"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
