"""What pages in a browser may do: read from anywhere, write only from the server's own origin.

A write has side effects that a page of another site could cause in a visitor's network (forged
requests), so `Origin` and `Sec-Fetch-Site` are judged before the body. Encoders send neither.
Source: the Fetch standard's CORS protocol; RFC 6454 section 7; the Fetch Metadata draft.
"""

from __future__ import annotations

from chunkstore.server import Exchange
from chunkstore.wire import Fields, field_block

__all__ = ["ALLOWED", "CORS_FIELDS", "cross_site_reason", "options"]

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
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def cross_site_reason(fields: Fields) -> str | None:
    """Why a write must be refused as another site's, or None."""
    if fields.get("sec-fetch-site") == "cross-site":
        return "a page of another site may not write here (Sec-Fetch-Site: cross-site)"
    origin = fields.get("origin")
    if origin is None:
        return None
    scheme, found, authority = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme.lower(), "")
    host = (fields.host or "").lower()
    if found and host and authority.lower().removesuffix(port) == host.removesuffix(port):
        return None
    return f"a page of {origin[:200]} may not write here: its origin is not this server's Host"


async def options(exchange: Exchange) -> None:
    """Answer OPTIONS, preflights included: cross-origin pages may read, and only that."""
    await exchange.respond(204, _OPTIONS_FIELDS)
