"""What came in: the typed events of one connection's input, and the two words for "nothing yet".

Events carry only what a handler may trust: a `Request` was judged whole, `Data` is inside a body
whose framing holds so far, and after a `Refusal` nothing of the input can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from chunkstore.wire.fields import Fields

__all__ = [
    "NEED_DATA",
    "PAUSED",
    "Closed",
    "Data",
    "EndOfBody",
    "Event",
    "Need",
    "Refusal",
    "Request",
]


class Need(Enum):
    """Why there is no event: more input is needed, or the exchange under way must end first."""

    NEED_DATA = "need data"
    PAUSED = "paused"


NEED_DATA: Final[Literal[Need.NEED_DATA]] = Need.NEED_DATA
PAUSED: Final[Literal[Need.PAUSED]] = Need.PAUSED


# Not frozen: a frozen dataclass costs three times as much to make, and one is made per request.
@dataclass(slots=True)
class Request:
    """The head of one request, judged and split.

    Attributes:
        method: as sent, case kept; any token of at most 32 bytes but CONNECT.
        target: as sent.
        path: still percent-encoded; an absolute-form target reduced to its path; `*` stays `*`.
        query: what follows the first `?`, without it; empty if there is none.
        fields: header fields, shared between requests whose header blocks are equal.
        http_1_0: the client speaks HTTP/1.0: no chunked answer, no keep-alive.

    Source: RFC 9112 section 3.
    """

    method: str
    target: str
    path: str
    query: str
    fields: Fields
    http_1_0: bool


@dataclass(slots=True)
class Data:
    """Some bytes of the request's body, framing taken off.

    Attributes:
        data: one byte or more. May be a view of the connection's input: valid until the protocol
            is fed again or the receiver awaits, so it is used or copied before.
        chunk_end: the last byte here is the last of an HTTP chunk (whose CRLF isn't waited for).
            Never set in a body framed by Content-Length.
    """

    data: bytes | bytearray | memoryview
    chunk_end: bool


@dataclass(slots=True, frozen=True)
class EndOfBody:
    """The request's body is whole; a request without a body gives none."""


@dataclass(slots=True, frozen=True)
class Refusal:
    """The input is bad and its framing can't be trusted: answer so and close.

    Attributes:
        status: the HTTP status to answer with, if no head was sent yet.
        detail: a sentence for the person behind the client.
    """

    status: int
    detail: str


@dataclass(slots=True, frozen=True)
class Closed:
    """The peer sent its EOF.

    Attributes:
        clean: it came between two requests, not inside a head or a body.
    """

    clean: bool = True


Event: TypeAlias = Request | Data | EndOfBody | Refusal | Closed | Need
