"""How the picture gets into the origin: which streams there are, and who PUTs them.

DASH comes from ffmpeg itself or from our publisher, which starts an upload anew when it breaks;
LL-HLS always from the latter. Where uploads are to be cut, a proxy stands between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from bench.build import BenchError
from bench.harness import Server
from bench.studio.audience import Names
from bench.studio.dash import DashPackager
from bench.studio.encoder import Encoder, dash_command, encode, pipe_command
from bench.studio.packager import Form, Packager
from bench.studio.proxy import CuttingProxy
from bench.studio.publisher import Packages, Publisher
from bench.studio.sending import Background, publish

__all__ = ["PUBLISHERS", "SEGMENT_S", "STREAMS", "Source", "Stream", "send"]

SEGMENT_S = 1.0
PART_S = 0.2
PUBLISHERS = ("ours", "ffmpeg")
_FOLDER = "/live/"
_BEGIN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Stream:
    """A kind of stream: where its manifest is, how its segments are called, who makes it."""

    manifest: str
    names: Names
    first_number: int
    packager: Callable[[datetime], Packages]


STREAMS = {
    "dash": Stream(
        manifest=f"{_FOLDER}glass.mpd",
        names=Names(f"{_FOLDER}chunk-stream0-", ".m4s", digits=5),
        first_number=1,
        packager=lambda began: DashPackager("glass.mpd", began, SEGMENT_S),
    ),
    "hls": Stream(
        manifest=f"{_FOLDER}media.m3u8",
        names=Names(f"{_FOLDER}seg", ".m4s", digits=1),
        first_number=0,
        packager=lambda began: Packager(Form.RANGES, began, segment_s=SEGMENT_S, part_s=PART_S),
    ),
}
"""By the player that plays them."""


@dataclass
class Source:
    """A stream on its way into the origin.

    Attributes:
        publisher: ours; None where ffmpeg does it.
        proxy: None where nothing is cut.
    """

    stream: Stream
    encoder: Encoder
    background: Background
    publisher: Publisher | None
    proxy: CuttingProxy | None

    def check(self) -> None:
        """Raises BenchError if some part of it has ended."""
        self.encoder.check()
        self.background.check()

    def cut(self, count: int, seconds: float) -> None:
        """Begin to cut uploads, so many in so many seconds, and both kinds in turn."""
        assert self.proxy is not None
        # A fixed seed: two runs are cut at the same moments.
        self.background.start_soon(self.proxy.cut_at_random, count, seconds, Random(1))

    @property
    def next_number(self) -> int:
        """The number of the segment that comes next."""
        return self.stream.first_number + int(self.encoder.seconds / SEGMENT_S) + 1

    def report(self) -> Mapping[str, Any]:
        """What was cut, and what became of our uploads."""
        cuts = self.proxy.cuts if self.proxy is not None else []
        found: dict[str, Any] = {
            "cuts": [{**asdict(cut), "kind": cut.kind.value} for cut in cuts],
            "uploads": {},
        }
        if self.publisher is not None:
            tally = self.publisher.tally
            statuses = {str(status): count for status, count in tally.statuses.items()}
            found["uploads"] = {**vars(tally), "statuses": statuses}
        return found


@contextlib.contextmanager
def send(server: Server, player: str, publisher: str, *, is_cut: bool) -> Iterator[Source]:
    """Films, encodes and PUTs a stream for the length of the block.

    Args:
        player: a key of STREAMS.
        publisher: one of PUBLISHERS.
        is_cut: uploads go through a proxy that can cut them.
    Raises:
        BenchError: a part is missing or doesn't start.
    """
    stream = STREAMS[player]
    with contextlib.ExitStack() as stack:
        background = stack.enter_context(Background())
        port, proxy, ours = server.port, None, None
        if is_cut:
            proxy = CuttingProxy(server.port, server.host)
            port = background.start(proxy.run)
        if publisher == "ffmpeg":
            url = f"http://127.0.0.1:{port}{stream.manifest}"
            encoder = stack.enter_context(encode(dash_command(url, SEGMENT_S)))
        else:
            encoder = stack.enter_context(encode(pipe_command(SEGMENT_S), is_piped=True))
            assert encoder.process.stdout is not None
            if not encoder.has_begun.wait(_BEGIN_TIMEOUT_S):
                encoder.check()
                raise BenchError(f"the encoder took no frame within {_BEGIN_TIMEOUT_S:.0f} s")
            packager = stream.packager(datetime.fromtimestamp(encoder.began_ms / 1000, UTC))
            pipe = encoder.process.stdout.fileno()
            ours = background.start(publish, pipe, packager, "127.0.0.1", port, _FOLDER)
        yield Source(stream, encoder, background, ours, proxy)
