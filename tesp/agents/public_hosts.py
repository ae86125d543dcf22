"""Resolving hosts that strangers name: none that is within our own network."""

import ipaddress
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from tesp.errors import BusRefused
from tesp.tes import callbacks


class PublicResolver(AbstractResolver):
    """Gives public addresses only, but for hosts that are allowed by their very name.

    What is connected to is what was judged here: a name cannot change its mind in between.
    """

    def __init__(self, inner: AbstractResolver, allowed: Sequence[str]) -> None:
        self._inner = inner
        self._allowed = tuple(allowed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host; raises BusRefused where one of them is private."""
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check(host, result["host"], self._allowed)
        return found

    async def close(self) -> None:
        """Close the resolver behind."""
        await self._inner.close()


def check(host: str, address: str, allowed: Sequence[str]) -> None:
    """Raise BusRefused where the address is not public and the host not allowed by name."""
    if callbacks.is_named(host.lower().rstrip("."), allowed):
        return
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        raise BusRefused(f"{host} has no address that can be judged") from None
    mapped = getattr(known, "ipv4_mapped", None) or known
    if not mapped.is_global or mapped.is_multicast:
        raise BusRefused(
            f"{host} is at a private address: add it to webhooks.callback_hosts by its very name"
        )
