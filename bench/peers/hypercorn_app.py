"""The ASGI application on hypercorn's trio worker: no supervisor, no logs, no keep-alive limit."""

from __future__ import annotations

import importlib
import signal
import sys
from functools import partial

import trio

from bench.peers.asgi_app import ReadWhileWrite
from bench.peers.listening import BACKLOG, announce, listen

__all__: list[str] = []


async def _terminated() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


def _main() -> int:
    # By name: hypercorn is optional, and type checking must not depend on its being there.
    config = importlib.import_module("hypercorn.config").Config()
    serve = importlib.import_module("hypercorn.trio").serve
    listener = listen()
    config.bind = [f"fd://{listener.fileno()}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = sys.maxsize
    config.graceful_timeout = 1
    announce(listener.getsockname()[1])
    trio.run(partial(serve, ReadWhileWrite(trio.Event), config, shutdown_trigger=_terminated))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
