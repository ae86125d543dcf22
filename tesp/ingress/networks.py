"""Who comes, by his address. Pure."""

import ipaddress
from collections.abc import Sequence


def is_within(peer: object, networks: Sequence[str]) -> bool:
    """Whether a socket's peer, (address, port, ...), is in one of the networks."""
    if not isinstance(peer, tuple) or not peer:
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in ipaddress.ip_network(network) for network in networks)
