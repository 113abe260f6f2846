"""The Trio shell that moves bytes: runs any table of handlers.

server.py       admission, dispatch, drain; `run` is the whole life of a process
listeners.py    sockets that accept, TCP and Unix
connection.py   one connection: one task, one request after the other, one reason for its end
exchange.py     one request and its answer, as handlers see them
tls.py          the certificate, and bytes over TLS
transport.py    bytes over a raw socket or over any Trio stream
clock.py        one coarse clock: deadlines of all connections, and the Date field
log.py          one line a request, written off the loop
"""

from __future__ import annotations

from chunkstore.server.connection import Connection
from chunkstore.server.exchange import CHALLENGE, Exchange, Handler
from chunkstore.server.listeners import Listener, bind
from chunkstore.server.log import Log
from chunkstore.server.server import Server
from chunkstore.server.tls import Certificate, TlsTransport
from chunkstore.server.transport import SocketTransport, StreamTransport, Transport

__all__ = [
    "CHALLENGE",
    "Certificate",
    "Connection",
    "Exchange",
    "Handler",
    "Listener",
    "Log",
    "Server",
    "SocketTransport",
    "StreamTransport",
    "TlsTransport",
    "Transport",
    "bind",
]
