"""Which addresses may be asked at all: a URL from outside must not lead inside."""

from __future__ import annotations

import ipaddress
import socket

import trio

from chunkstore.client import Url, dial
from chunkstore.errors import FetchError

__all__ = ["dial_public", "is_public"]


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's: not of loopback, a private network, a link."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast


async def dial_public(url: Url) -> trio.abc.Stream:
    """Connect to a URL's server, if all of its addresses are public.

    The address that was judged is the one that is connected to: a name that leads elsewhere the
    next time it is looked up leads nowhere.

    Raises:
        FetchError: one of them isn't.
        OSError, trio.BrokenResourceError: as `dial`.
    Cancellation: nothing remains.
    """
    found = await trio.socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    addresses = [str(row[4][0]) for row in found]
    for address in addresses:
        if not is_public(address):
            raise FetchError(f"{url.host} has the address {address}, which is not a public one")
    return await dial(url, address=addresses[0])
