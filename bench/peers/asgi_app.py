"""Read-while-write as an ASGI application, without a framework: the same for every ASGI server.

PUT (or POST) stores a body under its path as it comes; GET of a complete object has a length, GET
of an open one starts at byte 0 and follows. When the writer is lost the object is dropped, and its
readers' responses end unfinished, which servers show by closing the connection in mid-body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bench.peers.stored import Event, Stored

__all__ = ["ReadWhileWrite"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TYPE = (b"content-type", b"video/mp4")


class ReadWhileWrite:
    """The application.

    Args:
        make_event: asyncio.Event or trio.Event, as the server's loop needs it.
    """

    def __init__(self, make_event: Callable[[], Event]) -> None:
        self._make_event = make_event
        self._objects: dict[str, Stored] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one request; other scopes than HTTP's are refused, as ASGI wants it."""
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} here")
        path = scope["path"]
        if scope["method"] in ("PUT", "POST"):
            await self._put(path, receive)
            await _respond(send, 201, b"")
        elif scope["method"] != "GET":
            await _respond(send, 405, b"")
        elif (stored := self._objects.get(path)) is None:
            await _respond(send, 404, b"")
        elif stored.whole is not None:
            await _respond(send, 200, stored.whole)
        else:
            await _follow(stored, send)

    async def _put(self, path: str, receive: Receive) -> None:
        stored = self._objects[path] = Stored(self._make_event)
        try:
            while (message := await receive())["type"] == "http.request":
                if message.get("body"):
                    stored.add(bytes(message["body"]))
                if not message.get("more_body"):
                    stored.finish()
                    return
        finally:
            if stored.is_open:
                stored.lose()
                if self._objects.get(path) is stored:
                    del self._objects[path]


async def _follow(stored: Stored, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [_TYPE]})
    sent_count = 0
    while True:
        if batch := stored.batch(sent_count):
            sent_count += len(batch)
            body = b"".join(batch)  # no copy of a lone one
            await send({"type": "http.response.body", "body": body, "more_body": True})
        elif stored.is_open:
            await stored.changed.wait()
        else:
            break
    if stored.whole is not None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [_TYPE, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
