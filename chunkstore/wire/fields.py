"""Header fields of a request, and the memo that spares parsing the same block again.

What h11 says of a header block is a pure function of its bytes, and a keep-alive client sends the
same block with every request. So `FieldMemo` maps the exact bytes after the request line to the
`Fields` made of them, for HTTP/1.1 requests that announce no length; a block that differs in one
byte is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["FieldMemo", "Fields"]

_NOT_PLAIN: Final = re.compile(
    r"range|if-.*|prefer|expect|origin|sec-fetch-site|access-control-request-.*"
)


def _has_token(values: dict[str, str], name: str, token: str) -> bool:
    value = values.get(name)
    if value is None:
        return False
    return token in [part.strip(" \t").lower() for part in value.split(",")]


class Fields:
    """The header fields of one request; immutable, shared by requests with equal header blocks.

    Args:
        values: lower-case names and their values.
        http_1_0: the request line said HTTP/1.0.
    Attributes:
        host: the authority asked for; None only in HTTP/1.0.
        content_length: the body's declared length in bytes, None if none is declared.
        chunked: the body is framed in chunks.
        expects_continue: an HTTP/1.1 client said `Expect: 100-continue`.
        keep_alive: False for `Connection: close` and for HTTP/1.0.
        is_plain: no field is there that changes what a GET means: Range, If-*, Prefer, Expect,
            Origin, Sec-Fetch-Site, Access-Control-Request-*.
    """

    __slots__ = (
        "_values",
        "chunked",
        "content_length",
        "expects_continue",
        "host",
        "is_plain",
        "keep_alive",
    )

    def __init__(self, values: dict[str, str], *, http_1_0: bool = False) -> None:
        self._values = values
        length = values.get("content-length")
        self.host = values.get("host")
        self.content_length = None if length is None else int(length)
        self.chunked = "transfer-encoding" in values
        self.expects_continue = not http_1_0 and _has_token(values, "expect", "100-continue")
        self.keep_alive = not http_1_0 and not _has_token(values, "connection", "close")
        self.is_plain = not any(map(_NOT_PLAIN.fullmatch, values))

    def get(self, name: str) -> str | None:
        """Return a field's value, several lines of it joined with `, `; None if it wasn't sent.

        Args:
            name: the field's name in lower case.
        """
        return self._values.get(name)

    def with_host(self, host: str) -> Fields:
        """Copy these with another Host, that of an absolute-form target.

        Args:
            host: the target's authority.
        Source: RFC 9112 section 3.2.2.
        """
        other = Fields({**self._values, "host": host})
        other.expects_continue = self.expects_continue
        other.keep_alive = self.keep_alive
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fields):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # it holds a dict

    def __repr__(self) -> str:
        return f"Fields({self._values!r})"


class FieldMemo:
    """The last header blocks seen, and what was made of them.

    One memo serves all connections whose `WireLimits` are equal, and no others: a block is only
    remembered after it kept those limits.

    Args:
        max_entries: blocks kept; the oldest goes first.
        max_block_bytes: longer blocks aren't kept.
    Attributes:
        find: maps a block's exact bytes to its fields, or to None. A bound `dict.get`, since each
            request calls it.
        max_block_bytes: as given.
    """

    __slots__ = ("_entries", "_max_entries", "find", "max_block_bytes")

    def __init__(self, max_entries: int = 1024, max_block_bytes: int = 2048) -> None:
        self._entries: dict[bytes, Fields] = {}
        self._max_entries = max_entries
        self.max_block_bytes = max_block_bytes
        self.find: Callable[[bytes], Fields | None] = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, block: bytes, fields: Fields) -> None:
        """Keep what was made of a block, if it is short and announces no length (those vary).

        Args:
            block: the bytes from behind the request line's CRLF to the end of the empty line.
            fields: what an HTTP/1.1 request with this block has.
        """
        if len(block) > self.max_block_bytes or fields.content_length:
            return
        while len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[block] = fields
