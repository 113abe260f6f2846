"""The ASGI application on granian: one worker, one thread of its runtime, uvloop, HTTP/1 only.

granian always starts a supervisor beside its worker, and can't take port 0 or a socket: a free port
is chosen for it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading

from bench.peers.asgi_app import ReadWhileWrite
from bench.peers.listening import HOST, announce, free_port, wait_for_listener

__all__ = ["app"]

_CONNECTIONS = 16384  # its back-pressure stops accepting at as many as its backlog, unless told

app = ReadWhileWrite(asyncio.Event)  # the worker imports it by name


def _announce_later(port: int) -> None:
    if wait_for_listener(port):
        announce(port)


def _main() -> int:
    # By name: granian is optional, and type checking must not depend on its being there.
    constants = importlib.import_module("granian.constants")
    port = free_port()
    server = importlib.import_module("granian").Granian(
        "bench.peers.granian_app:app",
        address=HOST,
        port=port,
        interface=constants.Interfaces.ASGINL,
        workers=1,
        runtime_threads=1,
        runtime_mode=constants.RuntimeModes.st,
        loop=constants.Loops.uvloop,
        http=constants.HTTPModes.http1,
        websockets=False,
        backlog=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        log_enabled=False,
        workers_kill_timeout=1,
    )
    threading.Thread(target=_announce_later, args=(port,), daemon=True).start()
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
