"""HTTP/1.1 without I/O, server side, on h11: bytes in, typed events out, bytes to send.

`protocol` is one connection and what the shell drives; `events` is what it gives; `states` is its
output half as a table. `head` finds and judges a request's head, `fields` holds what it says and
remembers it, `body` and `chunks` walk its body, `limits` bounds all of them. `response`, `ranges`,
`conditionals`, `dates` and `sites` are the rules that handlers need to answer. No clock, no
sockets, no Trio; h11 stays in here.
"""

from __future__ import annotations

from chunkstore.wire.conditionals import if_range_matches, precondition
from chunkstore.wire.dates import http_date, parse_http_date
from chunkstore.wire.events import (
    NEED_DATA,
    PAUSED,
    Closed,
    Data,
    EndOfBody,
    Event,
    Need,
    Refusal,
    Request,
)
from chunkstore.wire.fields import FieldMemo, Fields
from chunkstore.wire.limits import WireLimits
from chunkstore.wire.protocol import ServerProtocol
from chunkstore.wire.ranges import (
    VERY_LARGE,
    RangeSpec,
    Slice,
    Streamed,
    Unsatisfiable,
    Wait,
    Whole,
    content_range,
    parse_range,
    resolve_complete,
    resolve_open,
)
from chunkstore.wire.response import JSON, NO_LENGTH, REASONS, NoLength, field_block, problem
from chunkstore.wire.sites import cross_site_reason

__all__ = [
    "JSON",
    "NEED_DATA",
    "NO_LENGTH",
    "PAUSED",
    "REASONS",
    "VERY_LARGE",
    "Closed",
    "Data",
    "EndOfBody",
    "Event",
    "FieldMemo",
    "Fields",
    "Need",
    "NoLength",
    "RangeSpec",
    "Refusal",
    "Request",
    "ServerProtocol",
    "Slice",
    "Streamed",
    "Unsatisfiable",
    "Wait",
    "WireLimits",
    "Whole",
    "content_range",
    "cross_site_reason",
    "field_block",
    "http_date",
    "if_range_matches",
    "parse_http_date",
    "parse_range",
    "precondition",
    "problem",
    "resolve_complete",
    "resolve_open",
]
