"""One demo from its start to its end: origin, encoder and players together, in that order."""

from __future__ import annotations

import gc
import math
import signal
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import trio

from chunkstore.admin import Admin, watch_target
from chunkstore.config import ListenAddress, Settings
from chunkstore.demo.arrivals import Arrivals
from chunkstore.demo.display import Display
from chunkstore.demo.encoder import Encoder, EncoderError, ffmpeg_command
from chunkstore.demo.figures import Figures
from chunkstore.demo.links import Links, open_in_browser
from chunkstore.demo.player import Player
from chunkstore.origin import Origin
from chunkstore.server import Listener, Log, bind

__all__ = ["run"]

MPD_PATH = "/live/demo.mpd"
FIRST_CHUNK_S = 30.0
"""How long it may take until the first chunk reaches a player; ffmpeg starts in one or two."""
SILENCE_S = 10.0
"""After that the encoder may be silent so long."""
DRAIN_S = 3.0

CommandFor: TypeAlias = Callable[[str], Sequence[str]]


def run(
    *,
    seconds: float | None,
    player_count: int,
    display: Display,
    opens_browser: bool = False,
    command_for: CommandFor = ffmpeg_command,
) -> None:
    """Run the demo for `seconds` of stream, or until SIGINT or SIGTERM.

    Args:
        seconds: counted from the first chunk at a player; None: without end.
        player_count: how many players follow the stream, at least 1.
        display: where figures go.
        opens_browser: with the console and its watch view.
        command_for: the encoder's command line for an MPD's URL.
    Raises:
        EncoderError: the encoder didn't start, ended, or nothing came of it.
        KeyboardInterrupt: SIGINT ended it, after everything was taken down.
    """
    anywhere = ("127.0.0.1:0",)
    settings = Settings(listen=anywhere, admin=anywhere, memory_bytes=256 * 2**20, drain_s=DRAIN_S)
    # What start-up made lives for ever: full collections needn't look at it again.
    gc.collect()
    gc.freeze()
    session = _Session(settings, seconds, display, opens_browser=opens_browser)
    trio.run(session.run, player_count, command_for)
    if session.failure is not None:
        raise session.failure
    if session.signals == [signal.SIGINT]:
        raise KeyboardInterrupt


class _Session:
    """The parts while they run, and why they were ended."""

    def __init__(
        self, settings: Settings, seconds: float | None, display: Display, *, opens_browser: bool
    ) -> None:
        self.failure: Exception | None = None
        self.signals: list[int] = []
        self._settings = settings
        self._seconds = math.inf if seconds is None else seconds
        self._display = display
        self._opens_browser = opens_browser
        self._over = trio.Event()
        self._served = trio.Event()

    async def run(self, player_count: int, command_for: CommandFor) -> None:
        settings = self._settings
        listener = self._bind(settings.addresses[0])
        admin_listener = self._bind(settings.admin_addresses[0])
        mpd_url = listener.url + MPD_PATH
        watch_url = admin_listener.url + watch_target(MPD_PATH)
        links = Links(mpd_url, console_url=admin_listener.url + "/", watch_url=watch_url)
        origin = Origin(settings, Log("off"))
        admin = Admin(
            settings, origin.catalog, origin.server, origin.gate, data_urls=(listener.url,)
        )
        arrivals = Arrivals()
        arrivals.observe(origin.catalog)
        figures = Figures(origin.metrics, mpd_url)
        players = [Player(mpd_url, figures, arrivals) for _ in range(player_count)]
        encoder = Encoder(command_for(mpd_url))
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals, encoder, nursery.cancel_scope)
            nursery.start_soon(self._serve, origin, listener)
            await nursery.start(admin.run, (admin_listener,))
            nursery.start_soon(self._encode, encoder)
            for player in players:
                nursery.start_soon(self._play, player)
            self._show(lambda: self._display.started(links))
            if self._opens_browser:
                nursery.start_soon(self._open, links)
            await self._look(figures)
            # Players get the end of what the encoder still sends; then the origin lets them go.
            for player in players:
                player.end_soon()
            encoder.stop()
            await encoder.ended.wait()
            origin.server.stop()
            await self._served.wait()
            nursery.cancel_scope.cancel()
        self._conclude(figures)

    # --- the parts -----------------------------------------------------------------------------

    def _bind(self, address: ListenAddress) -> Listener:
        settings = self._settings
        return bind(address, backlog=settings.backlog, send_buffer_bytes=settings.send_buffer_bytes)

    async def _open(self, links: Links) -> None:
        # Some browsers keep their thread for as long as they run: it is left to them.
        await trio.to_thread.run_sync(open_in_browser, links, abandon_on_cancel=True)

    async def _serve(self, origin: Origin, listener: Listener) -> None:
        try:
            await origin.run((listener,))
        finally:
            self._served.set()

    async def _encode(self, encoder: Encoder) -> None:
        try:
            await encoder.run()
        except EncoderError as error:
            self._fail(error)
        else:
            words = f": {encoder.last_words}" if encoder.last_words else ""
            self._fail(EncoderError(f"the encoder ended, exit code {encoder.exit_code}{words}"))

    async def _play(self, player: Player) -> None:
        try:
            await player.run()
        except* ValueError as group:
            self._fail(EncoderError(str(group.exceptions[0])))

    async def _obey_signals(
        self,
        encoder: Encoder,
        everything: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                self.signals.append(number)
                self._over.set()
                if len(self.signals) > 1:
                    encoder.kill()
                    everything.cancel()

    # --- watching ------------------------------------------------------------------------------

    async def _look(self, figures: Figures) -> None:
        """Show the figures until it is over, by time, signal or failure."""
        began_s = time.perf_counter()
        while not self._over.is_set():
            now_s = time.perf_counter()
            if figures.began_s is None:
                left_s = began_s + FIRST_CHUNK_S - now_s
                if left_s <= 0:
                    self._fail(EncoderError(f"no segment arrived within {FIRST_CHUNK_S:g} s"))
            else:
                left_s = figures.began_s + self._seconds - now_s
                if left_s <= 0:
                    self._over.set()
                elif now_s - figures.last_s > SILENCE_S:
                    self._fail(EncoderError(f"no chunk arrived for {SILENCE_S:g} s"))
            with trio.move_on_after(max(0, min(left_s, self._display.every_s))):
                await self._over.wait()
            self._show(lambda: self._display.show(figures.report()))

    def _conclude(self, figures: Figures) -> None:
        report = figures.report()
        if report.bytes:
            self._show(lambda: self._display.ended(report))
        if not report.segments and not self.signals:
            self._fail(EncoderError("no segment was received to its end"))

    def _show(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except BrokenPipeError as error:  # nobody looks any more
            self._fail(error)

    def _fail(self, failure: Exception) -> None:
        """It is over because of this; what follows from that is no failure of its own."""
        if not self._over.is_set():
            self.failure = failure
            self._over.set()
