"""CIDR blocks: what roles, secret ids and tokens are bound to."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from engines.common.errors import InvalidRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)
def networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of a list of CIDR blocks or addresses. Raises InvalidRequest."""
    try:
        return tuple(ipaddress.ip_network(cidr.strip(), strict=False) for cidr in cidrs)
    except ValueError:
        raise InvalidRequest("a bound CIDR is not a network or an address") from None


@lru_cache(maxsize=65536)
def is_within(address: str, cidrs: tuple[str, ...]) -> bool:
    """Whether a client's address lies in one of the blocks. An address that is none lies nowhere."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped  # a dual-stack listener reports IPv4 clients this way
    return any(ip.version == network.version and ip in network for network in networks(cidrs))


def is_subset(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether each block of `inner` lies in one block of `outer`. Raises InvalidRequest."""
    around = networks(outer)
    return all(any(_covers(large, small) for large in around) for small in networks(inner))


def _covers(large: Network, small: Network) -> bool:
    if isinstance(large, ipaddress.IPv4Network):
        return isinstance(small, ipaddress.IPv4Network) and small.subnet_of(large)
    return isinstance(small, ipaddress.IPv6Network) and small.subnet_of(large)


def canonical(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    """The blocks as tokens show them: a block of one address is that address. Raises InvalidRequest."""
    shown = zip((cidr.strip() for cidr in cidrs), networks(cidrs), strict=True)
    return tuple(cidr.partition("/")[0] if network.num_addresses == 1 else cidr for cidr, network in shown)
