"""Sockets, ports, and the line on stderr that says where a peer listens."""

from __future__ import annotations

import resource
import socket
import sys
import time

__all__ = ["BACKLOG", "HOST", "announce", "free_port", "listen", "wait_for_listener"]

HOST = "127.0.0.1"
BACKLOG = 4096
_POLL_S = 0.02
_DEADLINE_S = 20.0


def listen() -> socket.socket:
    """A socket that listens on a free port, with room for the descriptors of thousands."""
    _raise_descriptor_limit()
    return socket.create_server((HOST, 0), backlog=BACKLOG)


def free_port() -> int:
    """A port that was free a moment ago, for servers that must be told one."""
    _raise_descriptor_limit()
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def announce(port: int) -> None:
    """Says where we listen."""
    print(f"listening on http://{HOST}:{port}", file=sys.stderr, flush=True)


def wait_for_listener(port: int) -> bool:
    """Whether somebody listens on `port` within 20 s."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return True
    return False


def _raise_descriptor_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
