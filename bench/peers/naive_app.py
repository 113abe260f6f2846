"""Read-while-write on Trio + h11 as one would write it first: what ours must be better than.

A task a connection; a reader that waits puts its own event into the object's set, and the writer
sets them all at each chunk; h11 frames every chunk for every reader, and `send_all` sends it.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import h11
import trio

from bench.peers.listening import announce, listen

__all__: list[str] = []

_RECEIVE_BYTES = 65536


class _LostError(Exception):
    """The writer of what is being read was lost."""


class _Object:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.is_open = True
        self.is_complete = False
        self.waiting: set[trio.Event] = set()

    def wake(self) -> None:
        for event in self.waiting:
            event.set()
        self.waiting.clear()


class _Connection:
    def __init__(self, objects: dict[bytes, _Object], stream: trio.SocketStream) -> None:
        self._objects = objects
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        """Answers requests until either side is done."""
        while isinstance(request := await self._next_event(), h11.Request):
            if request.method in (b"PUT", b"POST"):
                await self._put(request.target)
                await self._respond(201, b"")
            else:
                while not isinstance(await self._next_event(), h11.EndOfMessage):
                    pass
                await self._get(self._objects.get(request.target))
            if self._http.our_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _put(self, target: bytes) -> None:
        stored = self._objects[target] = _Object()
        try:
            while isinstance(event := await self._next_event(), h11.Data):
                stored.parts.append(bytes(event.data))
                stored.wake()
            stored.is_complete = True
        finally:
            stored.is_open = False
            stored.wake()
            if not stored.is_complete and self._objects.get(target) is stored:
                del self._objects[target]

    async def _get(self, stored: _Object | None) -> None:
        if stored is None:
            await self._respond(404, b"")
        elif stored.is_complete:
            await self._respond(200, b"".join(stored.parts))
        else:
            await self._follow(stored)

    async def _follow(self, stored: _Object) -> None:
        await self._send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")]))
        sent_count = 0
        while True:
            while sent_count < len(stored.parts):
                await self._send(h11.Data(data=stored.parts[sent_count]))
                sent_count += 1
            if not stored.is_open:
                break
            event = trio.Event()
            stored.waiting.add(event)
            await event.wait()
        if not stored.is_complete:
            raise _LostError
        await self._send(h11.EndOfMessage())

    async def _respond(self, status: int, body: bytes) -> None:
        head = h11.Response(status_code=status, headers=[("content-length", str(len(body)))])
        await self._send(head)
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send_all(data)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some(_RECEIVE_BYTES))
        return event


async def _handle(objects: dict[bytes, _Object], stream: trio.SocketStream) -> None:
    try:
        await _Connection(objects, stream).serve()
    except (h11.ProtocolError, trio.BrokenResourceError, _LostError):
        pass  # a client that left or erred, or a reader to cut: closing is all there is to do
    finally:
        await trio.aclose_forcefully(stream)


async def _main() -> None:
    listener = listen()
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    objects: dict[bytes, _Object] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, partial(_handle, objects), listeners))
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            announce(listener.getsockname()[1])
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


if __name__ == "__main__":
    sys.exit(trio.run(_main))
