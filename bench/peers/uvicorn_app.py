"""The ASGI application on uvicorn: httptools and uvloop, one process, no log, no middleware."""

from __future__ import annotations

import asyncio
import importlib
import sys

from bench.peers.asgi_app import ReadWhileWrite
from bench.peers.listening import BACKLOG, announce, listen

__all__: list[str] = []


def _main() -> int:
    # By name: uvicorn is optional, and type checking must not depend on its being there.
    uvicorn = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        ReadWhileWrite(asyncio.Event),
        interface="asgi3",
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # it would call each cut reader an error
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    listener = listen()
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(_main())
