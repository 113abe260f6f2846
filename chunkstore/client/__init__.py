"""A small HTTP/1.1 client: one request at a time on one connection, bodies as they come and go.

    url.py      where a URL leads, and the credentials in it
    answer.py   an answer: its head, its body piece by piece, what its status means
    dial.py     how a connection is made, and why it wasn't
    flow.py     its bytes, both ways, in few steps
    timeouts.py how long to wait for something to move
    client.py   the connection: made when needed, kept as long as it lasts, closed when in doubt

It follows no redirects, keeps no cookies and retries nothing that the server could have seen twice;
what to do about a failure is for the caller, who gets one typed `FetchError` with a sentence. There
is no total timeout: an object may grow for days. What counts is that something moves.
"""

from __future__ import annotations

from chunkstore.client.answer import Answer, Piece, expect
from chunkstore.client.client import Client
from chunkstore.client.dial import Connect, dial
from chunkstore.client.timeouts import Timeouts
from chunkstore.client.url import Url, check_token, parse_url

__all__ = [
    "Answer",
    "Client",
    "Connect",
    "Piece",
    "Timeouts",
    "Url",
    "check_token",
    "dial",
    "expect",
    "parse_url",
]
