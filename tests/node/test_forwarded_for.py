"""Whose address a request has when a proxy stands before the listener."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from node.config.listeners import Listener
from node.errors import BadRequest
from node.forwarded_for import with_client_address
from node.request import WireRequest

BEHIND_PROXY = Listener(type="tcp", x_forwarded_for_authorized_addrs=(ip_network("10.0.0.0/8"),))


def seen_as(listener: Listener, sender: str, header: str | None) -> str:
    wire = WireRequest(
        method="GET",
        path="/v1/a",
        query="",
        headers={} if header is None else {"x-forwarded-for": header},
        body=b"",
        client_address=sender,
    )
    return with_client_address(listener, wire).client_address


@pytest.mark.parametrize(
    ("skips", "header", "address"),
    [
        (0, "192.0.2.1", "192.0.2.1"),
        (0, "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        (1, "198.51.100.9,192.0.2.1", "198.51.100.9"),
        (0, "2001:db8::0001", "2001:db8::1"),
    ],
)
def test_a_trusted_proxy_is_believed(skips: int, header: str, address: str) -> None:
    """The address is counted from the rear, so what a client wrote in front of it decides nothing."""
    assert seen_as(replace(BEHIND_PROXY, x_forwarded_for_hop_skips=skips), "10.1.2.3", header) == address


@pytest.mark.parametrize(
    ("sender", "header"),
    [
        ("192.0.2.7", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("10.1.2.3", None),
        ("10.1.2.3", "unknown"),
        ("10.1.2.3", ""),
    ],
)
def test_anything_else_is_refused(sender: str, header: str | None) -> None:
    """Nobody else may say whose request it is, and a trusted proxy must."""
    with pytest.raises(BadRequest):
        seen_as(BEHIND_PROXY, sender, header)


def test_what_is_not_refused_keeps_its_own_address() -> None:
    """With the two refusals off the header is passed over, never believed."""
    lenient = replace(
        BEHIND_PROXY, x_forwarded_for_reject_not_authorized=False, x_forwarded_for_reject_not_present=False
    )
    assert seen_as(lenient, "192.0.2.7", "10.0.0.1") == "192.0.2.7"
    assert seen_as(lenient, "10.1.2.3", None) == "10.1.2.3"
    with pytest.raises(BadRequest):
        seen_as(replace(lenient, x_forwarded_for_hop_skips=1), "10.1.2.3", "192.0.2.1")
