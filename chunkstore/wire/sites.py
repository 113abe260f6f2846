"""Whose page in a browser sent a request.

A write has side effects that a page of another site could cause in a visitor's network (forged
requests), so `Origin` and `Sec-Fetch-Site` are judged before the body. Encoders send neither.
Source: RFC 6454 section 7; the Fetch Metadata draft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chunkstore.wire.fields import Fields

__all__ = ["cross_site_reason"]

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
