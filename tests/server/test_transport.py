"""What a socket is asked for: a receive has room for what is there, and for no more."""

from __future__ import annotations

import socket

from chunkstore.server import SocketTransport

PIECE_BYTES = 40_000


class Asked(socket.socket):
    """One that notes what it was asked for."""

    sizes: list[int]

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        self.sizes.append(bufsize)
        return super().recv(bufsize, flags)


async def test_a_flood_gets_the_room_that_it_takes() -> None:
    # Room that is cut off again leaves holes, which made a gateway take twice as much.
    writer, other = socket.socketpair()
    reader = Asked(fileno=other.detach())
    reader.sizes = []
    transport = SocketTransport(reader, "raw")
    came = b""
    with writer:
        for number in range(3):
            piece = bytes([number]) * PIECE_BYTES
            writer.sendall(piece)
            came += bytes(await transport.receive())
            assert came[-PIECE_BYTES:] == piece
    assert reader.sizes == [PIECE_BYTES] * 2  # behind the first, which told that it is one
    assert not await transport.receive()
    await transport.close(reset=False)
