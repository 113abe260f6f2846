"""One bare stream: h11 over Trio, into a file with one fsync, and out of it. A floor, no cluster.

    python -m bench.cluster.bare FOLDER

It prints where it listens. A path's last name is the file's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h11
import trio

from bench.cluster.party import Party

__all__ = ["NAME", "run"]

NAME = "floor (bare h11)"
_SERVER = "bare"
_READ_BYTES = 256 * 1024


@contextmanager
def run(folder: Path) -> Iterator[Party]:
    """The server on a folder; ended with the block.

    Raises:
        BenchError: it doesn't come up.
    """
    with Party.open(NAME, folder) as party:
        party.start(_SERVER, [sys.executable, "-m", "bench.cluster.bare", str(folder)])
        [port] = party.until_said(_SERVER, r"listening on http://127\.0\.0\.1:(\d+)")
        party.port = int(port)
        yield party


async def _serve(folder: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await trio.serve_listeners(partial(_accepted, folder), [listener])


async def _accepted(folder: Path, stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):  # the client has gone
        await _connection(folder, stream)


async def _connection(folder: Path, stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_READ_BYTES))
        elif isinstance(event, h11.Request):
            path = folder / Path(event.target.decode()).name
            if event.method == b"PUT":
                await _take(connection, stream, path)
            else:
                await _give(connection, stream, path)
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
        else:
            return


async def _take(connection: h11.Connection, stream: trio.SocketStream, path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(_READ_BYTES))
            elif isinstance(event, h11.Data):
                file.write(event.data)
        await trio.to_thread.run_sync(os.fsync, file.fileno())
    head = h11.Response(status_code=201, headers=[("Content-Length", "0")])
    await stream.send_all(_bytes(connection, head, h11.EndOfMessage()))


async def _give(connection: h11.Connection, stream: trio.SocketStream, path: Path) -> None:
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        length = str(os.fstat(file.fileno()).st_size)
        head = h11.Response(status_code=200, headers=[("Content-Length", length)])
        await stream.send_all(_bytes(connection, head))
        while data := file.read(_READ_BYTES):
            await stream.send_all(_bytes(connection, h11.Data(data=data)))
    connection.send(h11.EndOfMessage())


def _bytes(connection: h11.Connection, *events: h11.Event) -> bytes:
    return b"".join(connection.send(event) or b"" for event in events)


if __name__ == "__main__":
    trio.run(_serve, Path(sys.argv[1]))
