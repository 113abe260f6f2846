"""Which addresses may be asked at all: a URL from outside must not lead inside."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

import trio

from chunkstore.client import Url, dial
from chunkstore.errors import FetchError

__all__ = ["dial_public", "is_public"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
"""Both lead to the IPv4 address in its last 32 bits (RFC 6052; RFC 4291 section 2.5.5.1)."""
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Of a network itself (RFC 8215), whatever is in it; older Pythons take it for the internet's."""


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's: not of loopback, a private network, a link."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _LOCAL_NAT64:
            return False
        if found in _NAT64 or found in _COMPATIBLE:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        found = inner or found
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
    for address in addresses[:-1]:
        with suppress(OSError):  # the next one may answer
            return await dial(url, address=address)
    return await dial(url, address=addresses[-1])
