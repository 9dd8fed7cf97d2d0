"""X-Forwarded-For: the client's own address, as told by a proxy that the listener trusts ("listener tcp").

It decides what tokens bound to addresses may do, so nobody else is believed, whatever the header says.
"""

import ssl
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

from node.certificates import is_certificate
from node.config.listeners import Listener
from node.errors import BadRequest
from node.request import WireRequest

_HEADER: Final = "x-forwarded-for"


def with_client_address(listener: Listener, wire: WireRequest) -> WireRequest:
    """The request as sent by whom the header names. Raises BadRequest as the listener is set to refuse."""
    header = wire.headers.get(_HEADER)
    if header is None:
        if listener.x_forwarded_for_reject_not_present:
            raise BadRequest("missing x-forwarded-for header and configured to reject when not present")
        return wire
    if not _is_trusted(listener, wire.client_address):
        if listener.x_forwarded_for_reject_not_authorized:
            raise BadRequest("client address not authorized for x-forwarded-for and configured to reject connection")
        return wire
    chain = [link.strip() for link in header.split(",")]
    place = len(chain) - 1 - listener.x_forwarded_for_hop_skips
    if place < 0:
        raise BadRequest("malformed x-forwarded-for: it names fewer hops than are to be skipped")
    try:
        address = ip_address(chain[place])
    except ValueError:
        raise BadRequest("malformed x-forwarded-for: it does not name an address") from None
    certificate = _certificate(listener, wire)
    return replace(wire, client_address=str(address), client_port=0, client_certificate=certificate)


def _certificate(listener: Listener, wire: WireRequest) -> bytes:
    """The client's certificate as the proxy tells it: the proxy's own, if it has one, is not the client's."""
    text = wire.headers.get(listener.x_forwarded_for_client_cert_header.lower(), "")
    if not listener.x_forwarded_for_client_cert_header or not text:
        return b""
    # Where a proxy sends several, the client's own comes first.
    der = _decoded(text.split(",")[0].strip(), listener.x_forwarded_for_client_cert_header_decoders)
    if der is None or not is_certificate(der):
        raise BadRequest(f"malformed {listener.x_forwarded_for_client_cert_header}: it holds no certificate")
    return der


def _decoded(text: str, decoders: Sequence[str]) -> bytes | None:
    value = text.encode("latin-1", "replace")
    try:
        for decoder in decoders:
            if decoder == "URL":
                value = unquote_to_bytes(value)
            elif decoder == "BASE64":
                value = b64decode(value, validate=True)
            else:
                value = ssl.PEM_cert_to_DER_cert(value.decode("ascii").strip())
    except ValueError:
        return None
    return value


def _is_trusted(listener: Listener, address: str) -> bool:
    try:
        sender = ip_address(address)
    except ValueError:
        return False  # a unix socket has no address
    return any(sender in network for network in listener.x_forwarded_for_authorized_addrs)
