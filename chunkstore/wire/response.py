"""What goes out around a body: status lines, blocks of fields, answers that say what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, Literal, TypeAlias

__all__ = [
    "JSON",
    "NO_LENGTH",
    "REASONS",
    "STATUS_LINES",
    "NoLength",
    "field_block",
    "problem",
]

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

REASONS: Final[Mapping[int, str]] = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
"""Every status this program answers with, and its phrase (RFC 9110, RFC 6585, RFC 4918)."""

STATUS_LINES: Final[Mapping[int, bytes]] = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii") for status, phrase in REASONS.items()
}


class NoLength(Enum):
    """The type of `NO_LENGTH`."""

    NO_LENGTH = "no length"


NO_LENGTH: Final[Literal[NoLength.NO_LENGTH]] = NoLength.NO_LENGTH
"""For the answer to HEAD of an open object: neither Content-Length nor Transfer-Encoding."""

_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_FORBIDDEN: Final = re.compile(r"[\x00\r\n]")


def field_block(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Encode header fields into the block that `ServerProtocol.head` takes.

    Args:
        pairs: names and values, latin-1; order and case are kept.
    Returns:
        `Name: value CRLF` lines, without the empty line.
    Raises:
        ValueError: a name that isn't a token, a value with CR, LF or NUL, or one beyond latin-1.
    Source: RFC 9110 section 5.
    """
    lines: list[str] = []
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise ValueError(f"field name must be a token, not {name!r}")
        if _FORBIDDEN.search(value):
            raise ValueError(f"value of {name} must be free of CR, LF and NUL, not {value!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


_PROBLEM_FIELDS: Final = field_block(
    [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
)


def problem(status: int, detail: str, **extra: JSON) -> tuple[bytes, bytes]:
    """Make the answer to a request that failed.

    Args:
        status: one of `REASONS`.
        detail: a sentence that a person can act on.
        extra: further members of the problem.
    Returns:
        the block of fields, and the JSON body.
    Raises:
        ValueError: a status that isn't in the table.
    Source: RFC 9457 section 3.
    """
    if status not in REASONS:
        raise ValueError(f"status must be one of the table's, not {status}")
    members: dict[str, JSON] = {
        "type": "about:blank",
        "title": REASONS[status],
        "status": status,
        "detail": detail,
        **extra,
    }
    return _PROBLEM_FIELDS, json.dumps(members).encode("ascii") + b"\n"
