"""Host, port and URL as configuration spells them, IPv6 literals included."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from engines.common.hcl import Value
from node.config.read import Wrong, text


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host (IPv6 without brackets, "" for every interface) and a port; as text, what a URL would hold."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_host_port(address: str, default_port: int) -> HostPort:
    """Read "host:port", "host", ":port", "[::1]:port", "[::1]" or "::1". Raises ValueError without the text."""
    if address.count(":") > 1 and not address.startswith("["):
        address = f"[{address}]"
    try:
        parts = urlsplit("//" + address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError('expected an address such as "127.0.0.1:8200" or "[::1]:8200"') from None
    if parts.netloc != address or "@" in address or any(letter.isspace() for letter in address):
        raise ValueError('expected an address such as "127.0.0.1:8200" or "[::1]:8200"')
    return HostPort(host, default_port if port is None else port)


def host_port(value: Value) -> str:
    """Reader for an address to listen on."""
    address = text(value)
    try:
        split_host_port(address, 0)
    except ValueError as error:
        raise Wrong(str(error)) from None
    return address


def url(value: Value) -> str:
    """Reader for the full URL of a node, returned without a trailing slash; "" stays empty."""
    address = text(value).rstrip("/")
    if not address:
        return ""
    if "{{" in address:
        raise Wrong("address templates are not supported: write the address itself")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise Wrong('expected a full URL such as "https://10.0.0.1:8200"')
    return address
