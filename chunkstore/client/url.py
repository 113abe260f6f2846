"""Where a URL leads: scheme, host, port, what to ask for there, and with which credentials."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Url", "check_token", "parse_url"]

_PORTS = {"http": 80, "https": 443}
# What may stand in a path or query as itself; "%" too, since an escape is taken as one.
_PATH_SAFE = "/!$&'()*+,;=:@~%"
_QUERY_SAFE = _PATH_SAFE + "?"
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL of a server, taken apart.

    Attributes:
        scheme: "http" or "https".
        host: name or address, without the brackets of IPv6.
        port: of the server.
        path: percent-encoded, beginning with "/".
        query: without "?", perhaps empty.
        authorization: value of the field of that name, made of `user:password@`; or "".
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    authorization: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the Host field has them: the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as a request line has them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def at(self, path: str) -> Url:
        """The URL of another path of the same server, without query."""
        return replace(self, path=path, query="")

    def __str__(self) -> str:
        """The URL without its credentials, to be shown."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> Url:
    """Take a URL apart; what it may not hold as itself, such as a space, is percent-encoded.

    Raises:
        ValueError: it isn't one of http or https, or has no host or a bad port.
    Source: RFC 3986; RFC 9110 section 4.2; RFC 7617 for the credentials.
    """
    expected = "expected a URL such as http://127.0.0.1:8080/live/a.mp4"
    # Credentials are not repeated in a message that may end in a log, wherever they seem to end.
    shown = re.sub(r"//.*@", "//...@", text, flags=re.DOTALL)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{expected}, got {shown!r}: its host or its port is none") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{expected}, got {shown!r}")
    if re.search(r"[^\x21-\x7e]", parts.hostname):
        raise ValueError(f"{expected}: a host is written in ASCII, got {shown!r}")
    try:
        parts.hostname.encode("idna")  # as look-ups and TLS will
    except UnicodeError:
        raise ValueError(f"{expected}: no host has such a name, got {shown!r}") from None
    try:
        path = quote(parts.path or "/", safe=_PATH_SAFE)
        query = quote(parts.query, safe=_QUERY_SAFE)
    except UnicodeEncodeError:
        raise ValueError(f"{expected}: a path is UTF-8, got {shown!r}") from None
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    port = _PORTS[parts.scheme] if port is None else port
    return Url(parts.scheme, parts.hostname, port, path, query, authorization)


def check_token(token: str) -> str:
    """A bearer token as it was given, if a header field can carry it.

    Raises:
        ValueError: it is empty, or has a space or a control character; the token isn't repeated.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError("expected a token of visible ASCII characters without spaces")
    return token
