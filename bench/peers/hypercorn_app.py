"""A small complete object behind hypercorn's trio worker, at its best settings.

One worker without a supervisor, no access log, no error log, no keep-alive limit; the application
has its head and body ready and looks at nothing. A body that is sent to it is read and dropped.
"""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import trio

__all__ = ["BODY", "app"]

Message = MutableMapping[str, Any]
BODY = b"x" * 1024
_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"video/mp4"), (b"content-length", b"%d" % len(BODY))],
}
_BODY: Message = {"type": "http.response.body", "body": BODY, "more_body": False}


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The ASGI application: answers everything with the same kilobyte."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    if scope["method"] != "GET":
        while (await receive()).get("more_body"):
            pass
    await send(_START)
    await send(_BODY)


def _main() -> int:
    # By name: hypercorn is optional, and type checking must not depend on its being there.
    config = importlib.import_module("hypercorn.config").Config()
    serve = importlib.import_module("hypercorn.trio").serve
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    host, port = listener.getsockname()
    config.bind = [f"fd://{listener.fileno()}"]
    config.accesslog = None
    config.errorlog = None
    config.keep_alive_max_requests = sys.maxsize
    print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)
    trio.run(partial(serve, app, config))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
