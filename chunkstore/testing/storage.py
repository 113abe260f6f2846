"""An HTTP storage to download from that does, when told to, what real ones do at their worst.

::

    storage = Storage()
    storage.put("/a/blocks", Content(seed=1, size_bytes=10_000_000))
    storage.trouble("/a/blocks", Fault.CUT, Fault.FLIP)      # of the next two answers
    url = await storage.listen(nursery)    # or: Client(…, connect=storage.connect), without sockets

Content is made as it is asked for, so that files of any size cost no memory.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from random import Random
from typing import NamedTuple

import h11
import trio
from trio.testing import memory_stream_pair

__all__ = ["Asked", "Content", "Fault", "Storage"]

BLOCK_BYTES = 65_536
HEAD_BYTES = 65_536
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


class Fault(Enum):
    """What goes wrong with an answer; the value is for people."""

    SLOW = "it comes in pieces, with pauses"
    STALL = "nothing comes behind some of it, and the connection stays"
    CUT = "the connection ends behind some of it"
    SHORT = "it ends well, in chunks, and isn't all"
    WHOLE = "a range was asked for, and it is all of the file"
    SHIFTED = "its Content-Range, and its bytes, are not what was asked for"
    FLIP = "the file is another one by now, with another ETag"
    WEAK = "its ETag is a weak one"
    CODED = "it says that it is compressed"
    ROT = "a byte of it isn't right"
    ENDLESS = "it has neither length nor chunks: its end is that of the connection"
    BUSY = "503, come again in two seconds"
    BROKEN = "500"
    LOST = "404"
    FORBIDDEN = "403"
    CIRCLE = "a redirect that leads back to where it came from"
    MOVED = "a redirect to another name of the same file"
    ELSEWHERE = "a redirect to something that is not HTTP"
    NOISE = "it isn't HTTP at all"


class Content(NamedTuple):
    """A file's bytes, made from a seed.

    Attributes:
        seed: others have other bytes.
        size_bytes: of the file.
    """

    seed: int
    size_bytes: int

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop), at most 64 KiB at a time."""
        while start < stop:
            index, offset = divmod(start, BLOCK_BYTES)
            piece = _block(self.seed, index % 16)[offset : offset + stop - start]
            yield piece
            start += len(piece)

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces(0, self.size_bytes))

    @property
    def sha256(self) -> bytes:
        """Of all of it. Cost: 1 ms for each MiB."""
        digest = hashlib.sha256()
        for piece in self.pieces(0, self.size_bytes):
            digest.update(piece)
        return digest.digest()

    @property
    def etag(self) -> str:
        """A strong one."""
        return f'"{self.seed}-{self.size_bytes}"'


@lru_cache(maxsize=256)
def _block(seed: int, index: int) -> bytes:
    return Random(seed * 16 + index).randbytes(BLOCK_BYTES)


@dataclass(slots=True)
class Asked:
    """A request that came, and what became of it.

    Attributes:
        path: as it came.
        start: of the range that was asked for; 0 without one.
        fault: of its answer.
        sent_bytes: of the body.
    """

    path: str
    start: int
    fault: Fault | None
    sent_bytes: int = 0


class Storage:
    """Files by path, and what goes wrong with them.

    Args:
        fault: says what is wrong with an answer that `trouble` says nothing of.
        random: chooses where bodies are cut.

    Attributes:
        asked: what came, oldest first.
        open_count: connections now.
    """

    def __init__(
        self, fault: Callable[[str], Fault | None] = lambda _: None, random: Random | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self.open_count = 0
        self._fault = fault
        self._random = random or Random(0)
        self._files: dict[str, Content] = {}
        self._troubles: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self._nursery: trio.Nursery | None = None

    def put(self, path: str, content: Content) -> None:
        """Have a file, in place of another one perhaps."""
        self._files[path] = content

    def remove(self, path: str) -> None:
        """Have it no more."""
        del self._files[path]

    def trouble(self, path: str, *faults: Fault | None) -> None:
        """What is wrong with the next answers for a path, one after the other."""
        self._troubles[path] += faults

    def content(self, path: str) -> Content:
        """What a file has now."""
        return self._files[path]

    def heal(self) -> None:
        """Nothing is wrong with the next answers."""
        self._troubles.clear()

    def sent_bytes(self, path: str) -> int:
        """Of all bodies of a path so far."""
        return sum(one.sent_bytes for one in self.asked if one.path == path)

    async def listen(self, nursery: trio.Nursery, host: str = "127.0.0.1") -> str:
        """Serve on a free port for as long as the nursery lasts; its URL, without a last slash."""
        listeners = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, self.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        return f"http://{host}:{port}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve what `connect` makes, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def connect(self, url: object = None) -> trio.abc.Stream:
        """A connection in memory, wherever the URL leads; `run` is running."""
        assert self._nursery is not None, "it is not running"
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer the requests of one connection, until it ends."""
        self.open_count += 1
        try:
            async with stream:
                connection = _Connection(stream)
                while (request := await connection.request()) is not None:
                    await self._answer(connection, *request)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return
        finally:
            self.open_count -= 1

    # --- an answer -----------------------------------------------------------------------------

    async def _answer(self, connection: _Connection, path: str, asked: tuple[int, int]) -> None:
        waiting = self._troubles[path]
        fault = waiting.popleft() if waiting else self._fault(path)
        self.asked.append(one := Asked(path, asked[0], fault))
        if (head := _without_body(path, fault)) is not None:
            await connection.head(*head)
            return
        content = self._files.get(path.partition("?")[0])
        if content is None:
            await connection.head(404, [])
            return
        if fault is Fault.NOISE:
            await connection.stream.send_all(b"\0\0\0\0")
            await connection.stream.aclose()
            return
        if fault is Fault.FLIP:
            content = content._replace(seed=content.seed + 1)
            self.put(path.partition("?")[0], content)
        await self._body(connection, content, asked, one)

    async def _body(
        self, connection: _Connection, content: Content, asked: tuple[int, int], one: Asked
    ) -> None:
        size, fault = content.size_bytes, one.fault
        start, stop = (0, size) if fault is Fault.WHOLE else (asked[0], min(asked[1], size))
        if asked != (0, _NO_STOP) and start >= size:
            await connection.head(416, [("Content-Range", f"bytes */{size}")])
            return
        if fault is Fault.SHIFTED and start:
            start -= 1
        is_part = asked != (0, _NO_STOP) and fault is not Fault.WHOLE
        etag = ("W/" if fault is Fault.WEAK else "") + content.etag
        fields = [("ETag", etag), ("Accept-Ranges", "bytes")]
        if is_part:
            fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
        if fault is Fault.CODED:
            fields.append(("Content-Encoding", "gzip"))
        if fault is Fault.SHORT:
            fields.append(("Transfer-Encoding", "chunked"))
        elif fault is Fault.ENDLESS:
            fields.append(("Connection", "close"))
        else:
            fields.append(("Content-Length", str(stop - start)))
        cut_at = stop
        if fault in (Fault.CUT, Fault.STALL, Fault.SHORT) and stop > start:
            cut_at = self._random.randrange(start, stop)
        elif fault is Fault.ENDLESS:
            cut_at = self._random.choice((stop, self._random.randint(start, stop)))
        await connection.begin(206 if is_part else 200, fields)
        for piece in content.pieces(start, cut_at):
            if fault is Fault.SLOW:
                await trio.sleep(0.5)
            await connection.body(_rotten(piece) if fault is Fault.ROT else piece)
            one.sent_bytes += len(piece)
        if fault is Fault.STALL:
            await trio.sleep_forever()
        if fault in (Fault.CUT, Fault.ENDLESS):
            await connection.stream.aclose()
        else:
            await connection.end()


def _rotten(piece: bytes) -> bytes:
    return bytes([piece[0] ^ 1]) + piece[1:]


_NO_STOP = 2**63


def _without_body(path: str, fault: Fault | None) -> tuple[int, list[tuple[str, str]]] | None:
    """Status and fields of an answer that has no body."""
    match fault:
        case Fault.BUSY:
            return 503, [("Retry-After", "2")]
        case Fault.BROKEN:
            return 500, []
        case Fault.LOST:
            return 404, []
        case Fault.FORBIDDEN:
            return 403, []
        case Fault.CIRCLE:
            return 302, [("Location", path)]
        case Fault.MOVED:
            return 307, [("Location", f"{path}?moved")]
        case Fault.ELSEWHERE:
            return 301, [("Location", "ftp://storage.test/")]
    return None


class _Connection:
    """HTTP on one stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._is_endless = False

    async def request(self) -> tuple[str, tuple[int, int]] | None:
        """The path of the next one, and the range of bytes that it asks for."""
        if self._http.our_state is h11.MUST_CLOSE:
            return None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        request: h11.Request | None = None
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(bytes(await self.stream.receive_some(HEAD_BYTES)))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                break
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None
        found = _RANGE.fullmatch(dict(request.headers).get(b"range", b"").decode("latin-1"))
        asked = (0, _NO_STOP)
        if found is not None:
            asked = int(found[1]), int(found[2]) + 1 if found[2] else _NO_STOP
        return request.target.decode("ascii"), asked

    async def head(self, status: int, fields: list[tuple[str, str]]) -> None:
        """An answer without a body."""
        await self.begin(status, [*fields, ("Content-Length", "0")])
        await self.end()

    async def begin(self, status: int, fields: list[tuple[str, str]]) -> None:
        """An answer's head."""
        data = self._http.send(h11.Response(status_code=status, headers=fields))
        self._is_endless = ("Connection", "close") in fields
        if self._is_endless:  # h11 would have it in chunks
            lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in fields)]
            data = "\r\n".join([*lines, "", ""]).encode("ascii")
        await self.stream.send_all(data)

    async def body(self, piece: bytes) -> None:
        """Some of its body."""
        if self._is_endless:
            await self.stream.send_all(piece)
        else:
            await self._send(h11.Data(data=piece))

    async def end(self) -> None:
        """The end of it."""
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self.stream.send_all(data)
