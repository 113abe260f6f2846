"""What pages in a browser may do: read from anywhere, write only from the server's own origin.

Source: the Fetch standard's CORS protocol.
"""

from __future__ import annotations

from chunkstore.server import Exchange
from chunkstore.wire import field_block

__all__ = ["ALLOWED", "CORS_FIELDS", "options"]

ALLOWED = ("GET", "HEAD", "PUT", "POST", "DELETE", "LIST", "OPTIONS")
"""Every method of the origin, in the order that Allow names them."""
CORS_FIELDS = field_block(
    [
        ("Access-Control-Allow-Origin", "*"),
        (
            "Access-Control-Expose-Headers",
            "ETag, Content-Range, Date, Link, Chunkstore-State, Chunkstore-Offset",
        ),
        ("Timing-Allow-Origin", "*"),
    ]
)
_OPTIONS_FIELDS = CORS_FIELDS + field_block(
    [
        ("Allow", ", ".join(ALLOWED)),
        ("Access-Control-Allow-Methods", "GET, HEAD, LIST"),
        ("Access-Control-Allow-Headers", "*, Authorization"),  # which "*" leaves out
        ("Access-Control-Max-Age", "86400"),
    ]
)


async def options(exchange: Exchange) -> None:
    """Answer OPTIONS, preflights included: cross-origin pages may read, and only that."""
    await exchange.respond(204, _OPTIONS_FIELDS)
