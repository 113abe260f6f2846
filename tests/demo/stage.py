"""An origin in this process, and a writer that tests move by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import trio

from chunkstore.config import Settings
from chunkstore.demo.arrivals import Arrivals
from chunkstore.demo.figures import Figures
from chunkstore.origin import Origin
from chunkstore.server import Log, bind

__all__ = ["MPD_PATH", "Stage", "manifest", "until"]

MPD_PATH = "/live/a.mpd"


def manifest(*, segment_s: float = 3600, age_s: float = 0, extension: str = "m4s") -> bytes:
    """An MPD of one representation that began `age_s` ago."""
    began = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return f"""<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" availabilityStartTime="{began}">
<Period><AdaptationSet><Representation id="v"><SegmentTemplate timescale="1000" startNumber="1"
duration="{int(segment_s * 1000)}" initialization="i.m4s" media="$Number$.{extension}"/>
</Representation></AdaptationSet></Period></MPD>""".encode()


async def until(condition: Callable[[], object]) -> None:
    """Let others run until `condition` holds; the caller has the deadline."""
    while not condition():
        await trio.lowlevel.checkpoint()


class Stage:
    """What is on it: a running origin, observed, and figures that players may count in."""

    def __init__(self, origin: Origin, url: str) -> None:
        self.origin = origin
        self.port = int(url.rpartition(":")[2])
        self.mpd_url = url + MPD_PATH
        self.figures = Figures(origin.metrics, self.mpd_url)
        self.arrivals = Arrivals()
        self.arrivals.observe(origin.catalog)

    @staticmethod
    @asynccontextmanager
    async def running() -> AsyncIterator[Stage]:
        """A stage for one test, with a deadline."""
        settings = Settings(listen=("127.0.0.1:0",), drain_s=0)
        listener = bind(settings.addresses[0], backlog=64, send_buffer_bytes=65_536)
        origin = Origin(settings, Log("off"))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(origin.run, (listener,))
                yield Stage(origin, listener.url)
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def writer(self, path: str) -> AsyncIterator[trio.SocketStream]:
        """A PUT whose head was sent; leaving without the last chunk kills it."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            head = f"PUT {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            await stream.send_all(head.encode())
            yield stream

    async def put(self, path: str, body: bytes) -> None:
        """A whole PUT in one chunk, answered."""
        async with self.writer(path) as stream:
            await stream.send_all(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            answer = await stream.receive_some()
            assert answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")), answer
