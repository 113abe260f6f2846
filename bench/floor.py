"""The floor of fan-out without a C compiler: floor.c's loop in CPython, for the same generator.

It sends the same frames to the same readers at the same rate and does nothing else; the interpreter
adds about 1 us a send. A report that used it says so. Started by bench.fanout, not by hand.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

from bench.harness import Parser, main
from bench.usage import need_descriptors

__all__ = ["Floor", "frame", "pattern"]

_MAGIC = 0x43484B31
_STAMP = struct.Struct("<IIQQ")
_FRAMES = 8
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: video/iso.segment\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def pattern(chunk_bytes: int) -> bytes:
    """The table that every payload byte comes from, as common.h makes it."""
    table = bytearray(65536 + chunk_bytes)
    state = 12345
    for index in range(len(table)):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        table[index] = state >> 24
    return bytes(table)


def frame(table: bytes, chunk_bytes: int, object_id: int, seq: int) -> bytearray:
    """One HTTP chunk with an empty stamp."""
    start = (object_id * 7919 + seq % _FRAMES * 4099) & 0xFFFF
    body = bytes(_STAMP.size) + table[start + _STAMP.size : start + chunk_bytes]
    return bytearray(b"%x\r\n" % chunk_bytes + body + b"\r\n")


@dataclass
class _Reader:
    sock: socket.socket
    object_index: int = -1
    seq: int = 0
    position: int = 0
    waits: bool = False
    head: bytes = b""


@dataclass
class _Object:
    frames: list[bytearray]
    due_s: float
    seq: int = 0
    readers: dict[int, _Reader] = field(default_factory=dict)


class Floor:
    """The loop; `run` never returns."""

    def __init__(self, object_count: int, chunk_bytes: int, rate: int) -> None:
        self._period_s = 1 / rate
        self._stamp_at = len(b"%x\r\n" % chunk_bytes)
        table = pattern(chunk_bytes)
        start_s = time.monotonic() + self._period_s
        self._objects = [
            _Object(
                [frame(table, chunk_bytes, index, seq) for seq in range(_FRAMES)],
                start_s + self._period_s * index / object_count,
            )
            for index in range(object_count)
        ]
        self._readers: dict[int, _Reader] = {}
        self._epoll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._epoll.register(self._listener, select.EPOLLIN)

    def run(self) -> None:
        """Serves until the process is ended."""
        host, port = self._listener.getsockname()
        print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)
        while True:
            due = min(self._objects, key=lambda item: item.due_s)
            wait_s = due.due_s - time.monotonic()
            if wait_s <= 0:
                self._tick(due)
                wait_s = 0
            for number, events in self._epoll.poll(wait_s, 256):
                if number == self._listener.fileno():
                    self._admit()
                elif (reader := self._readers.get(number)) is not None:
                    if events & ~select.EPOLLOUT:
                        self._receive(reader)
                    if reader.waits:
                        self._push(reader)

    def _tick(self, item: _Object) -> None:
        item.due_s += self._period_s
        index = self._objects.index(item)
        _STAMP.pack_into(
            item.frames[item.seq % _FRAMES],
            self._stamp_at,
            *(_MAGIC, index, item.seq, time.monotonic_ns()),
        )
        item.seq += 1
        for reader in list(item.readers.values()):
            if not reader.waits:
                self._push(reader)

    def _push(self, reader: _Reader) -> None:
        item = self._objects[reader.object_index]
        waits = False
        while reader.seq < item.seq and not waits:
            if item.seq - reader.seq >= _FRAMES:
                return self._drop(reader)
            data = memoryview(item.frames[reader.seq % _FRAMES])
            try:
                reader.position += reader.sock.send(data[reader.position :])
            except BlockingIOError:
                waits = True
            except OSError:
                return self._drop(reader)
            if reader.position == len(data):
                reader.position = 0
                reader.seq += 1
            else:
                waits = True
        if waits != reader.waits:
            events = select.EPOLLIN | (select.EPOLLOUT if waits else 0)
            self._epoll.modify(reader.sock, events)
            reader.waits = waits

    def _drop(self, reader: _Reader) -> None:
        reader.waits = False
        del self._readers[reader.sock.fileno()]
        if reader.object_index >= 0:
            del self._objects[reader.object_index].readers[reader.sock.fileno()]
        reader.sock.close()

    def _admit(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            self._readers[sock.fileno()] = _Reader(sock)
            self._epoll.register(sock, select.EPOLLIN)

    def _receive(self, reader: _Reader) -> None:
        try:
            data = reader.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(reader)
            return
        if reader.object_index >= 0:
            return
        reader.head += data
        if b"\r\n\r\n" in reader.head:
            digits = re.search(rb"\d+", reader.head)
            reader.object_index = int(digits[0] if digits else 0) % len(self._objects)
            item = self._objects[reader.object_index]
            reader.seq = item.seq
            reader.sock.send(_HEAD)
            item.readers[reader.sock.fileno()] = reader


def _run() -> int:
    parser = Parser("The floor in CPython; started by bench.fanout.")
    for name, default in (("objects", 32), ("chunk", 32768), ("rate", 8), ("readers", 16384)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    need_descriptors(args.readers + 64)
    Floor(args.objects, args.chunk, args.rate).run()
    return 0


if __name__ == "__main__":
    main(_run)
