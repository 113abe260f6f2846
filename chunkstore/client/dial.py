"""How a connection is made, and why it wasn't, in the plainest words."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from chunkstore.client.url import Url

__all__ = ["Connect", "dial", "reason_of"]

Connect: TypeAlias = Callable[[Url], Awaitable[trio.abc.Stream]]


async def dial(
    url: Url, *, address: str | None = None, tls: ssl.SSLContext | None = None
) -> trio.abc.Stream:
    """Connect to a URL's server.

    Args:
        address: of it; None: what its name leads to.
        tls: for https; by default the system's authorities are trusted.
    Raises:
        OSError: no connection.
        trio.BrokenResourceError: the TLS handshake failed; its cause says why.
    Cancellation: nothing remains.
    """
    stream = await trio.open_tcp_stream(address or url.host, url.port)
    if url.scheme == "http":
        return stream
    if tls is None:
        tls = ssl.create_default_context()
    # Compatible: framing tells a cut, since servers drop TLS connections without a farewell.
    secure = trio.SSLStream(stream, tls, server_hostname=url.host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:  # cancelled too: nobody else has it yet
        await trio.aclose_forcefully(secure)
        raise
    return secure


def reason_of(error: BaseException) -> str:
    """The plainest words for why a connection failed, below what Trio put around it."""
    below = error.__cause__
    if isinstance(below, BaseExceptionGroup):
        below = below.exceptions[0]
    if isinstance(below, OSError):
        error = below
    if isinstance(error, ssl.SSLError):  # its number is none of the system's
        return error.reason.lower().replace("_", " ") if error.reason else str(error)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)  # without Trio's words; a failed look-up's is negative
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
