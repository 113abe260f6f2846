"""Read-while-write on aiohttp: its low-level server (no router, no middleware) on uvloop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import sys
from typing import Any

from bench.peers.listening import BACKLOG, announce, listen
from bench.peers.stored import Stored

__all__: list[str] = []

# By name: aiohttp and uvloop are optional, and type checking must not depend on their being there.
_web = importlib.import_module("aiohttp.web")
_uvloop = importlib.import_module("uvloop")

_objects: dict[str, Stored] = {}


async def _handle(request: Any) -> Any:  # noqa: ANN401 - aiohttp is optional
    if request.method in ("PUT", "POST"):
        await _put(request.path, request.content)
        return _web.Response(status=201)
    if request.method != "GET":
        return _web.Response(status=405)
    stored = _objects.get(request.path)
    if stored is None:
        return _web.Response(status=404)
    if stored.whole is not None:
        return _web.Response(body=stored.whole, content_type="video/mp4")
    return await _follow(stored, request)


async def _put(path: str, content: Any) -> None:  # noqa: ANN401 - aiohttp is optional
    stored = _objects[path] = Stored(asyncio.Event)
    try:
        async for part in content.iter_any():
            stored.add(part)
        stored.finish()
    finally:
        if stored.is_open:
            stored.lose()
            if _objects.get(path) is stored:
                del _objects[path]


async def _follow(stored: Stored, request: Any) -> Any:  # noqa: ANN401 - aiohttp is optional
    response = _web.StreamResponse(headers={"content-type": "video/mp4"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    sent_count = 0
    while True:
        if batch := stored.batch(sent_count):
            sent_count += len(batch)
            await response.write(b"".join(batch))  # no copy of a lone one
        elif stored.is_open:
            await stored.changed.wait()
        else:
            break
    if stored.whole is None and request.transport is not None:
        request.transport.abort()  # a cut that the client can see
    return response


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, terminated.set)
    listener = listen()
    service = _web.Server(_handle, access_log=None, keepalive_timeout=75)
    server = await loop.create_server(service, sock=listener, backlog=BACKLOG)
    announce(listener.getsockname()[1])
    await terminated.wait()
    server.close()
    await service.shutdown(timeout=1.0)


def _main() -> int:
    logging.disable()  # it would call each cut reader an error
    with asyncio.Runner(loop_factory=_uvloop.new_event_loop) as runner:
        runner.run(_serve())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
