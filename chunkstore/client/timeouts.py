"""How long a client waits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Timeouts"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for something to move; there is no bound on the whole.

    Attributes:
        connect_s: for a connection, with its TLS handshake.
        stall_s: for the next byte of an answer that is due, or for the peer to take the next bytes
            of a body. Longer than an origin waits for a silent writer (20 s), so that its readers
            hear from it what became of that.
    """

    connect_s: float = 10.0
    stall_s: float = 30.0
