"""A whole demo with a script in the encoder's place: what goes wrong is said, and nothing stays."""

from __future__ import annotations

import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable

import pytest

from chunkstore.demo import Display, EncoderError, Links, Report, run
from chunkstore.demo import encoder as encoder_module
from chunkstore.demo import session as session_module
from tests.demo.stage import manifest

STREAM = """
import http.client, signal, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
server = http.client.HTTPConnection(url.hostname, url.port)
def put(path, body):
    server.request("PUT", path, body)
    server.getresponse().read()
put("/live/i.m4s", b"init")
put(url.path, bytes.fromhex(sys.argv[2]))
server.request("PUT", "/live/1.m4s", (bytes(100) for _ in range(3)), encode_chunked=True,
    headers={"Transfer-Encoding": "chunked"})
server.getresponse().read()
"""
STAY = STREAM + "signal.pause()\n"
DIE = STREAM + "print('out of film', file=sys.stderr)\nsys.exit(5)\n"
SILENT = "import signal; signal.pause()"


class Watcher(Display):
    """Keeps what it is shown, and may do something about it."""

    every_s = 0.01

    def __init__(self, react: Callable[[Report], None] = lambda report: None) -> None:
        self.links = Links("", "", "")
        self.last: Report | None = None
        self._react = react

    def started(self, links: Links) -> None:
        self.links = links

    def show(self, report: Report) -> None:
        self._react(report)

    def ended(self, report: Report) -> None:
        self.last = report


def script(text: str) -> Callable[[str], list[str]]:
    """The command line for an encoder that is a Python script."""
    return lambda url: [sys.executable, "-c", text, url, manifest().hex()]


def send(number: signal.Signals) -> Callable[[Report], None]:
    """Send this process a signal as soon as a segment has come."""
    is_sent = False

    def react(report: Report) -> None:
        nonlocal is_sent
        if report.segments and not is_sent:
            is_sent = True
            os.kill(os.getpid(), number)

    return react


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "GRACE_S", 0.05)
    monkeypatch.setattr(session_module, "DRAIN_S", 0.0)


def test_it_ends_after_its_seconds() -> None:
    display = Watcher()
    run(seconds=0.1, player_count=2, display=display, command_for=script(STAY))
    assert display.last is not None
    assert display.last.segments == 1
    assert display.last.readers == 2
    assert display.last.bytes == 2 * 304
    assert display.last.mpd_url == display.links.mpd_url


def test_console_and_watch_view_are_there_and_opened_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def look(links: Links) -> None:
        for url in (links.console_url, links.watch_url):
            with urllib.request.urlopen(url, timeout=10) as answer:
                seen.append(url.replace(links.console_url, "/") * (b"<video" in answer.read()))

    monkeypatch.setattr(session_module, "open_in_browser", look)
    command_for = script(STAY)
    run(seconds=0.1, player_count=1, display=Watcher(), command_for=command_for)
    assert seen == []

    def end_once_seen(report: Report) -> None:
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    run(
        seconds=60,
        player_count=1,
        display=Watcher(end_once_seen),
        opens_browser=True,
        command_for=command_for,
    )
    assert seen == ["/", "/?watch=/live/demo.mpd"]


def test_a_browser_that_never_returns_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(session_module, "open_in_browser", lambda links: is_over.wait(60))
    run(
        seconds=0.1,
        player_count=1,
        display=Watcher(),
        opens_browser=True,
        command_for=script(STAY),
    )
    is_over.set()


def test_sigterm_is_a_good_end_and_sigint_an_interrupt() -> None:
    display = Watcher(send(signal.SIGTERM))
    run(seconds=None, player_count=1, display=display, command_for=script(STAY))
    assert display.last is not None
    with pytest.raises(KeyboardInterrupt):
        run(
            seconds=None,
            player_count=1,
            display=Watcher(send(signal.SIGINT)),
            command_for=script(STAY),
        )


def test_an_encoder_that_dies_is_quoted() -> None:
    with pytest.raises(EncoderError, match="the encoder ended, exit code 5: out of film"):
        run(seconds=60, player_count=1, display=Watcher(), command_for=script(DIE))


@pytest.mark.parametrize(
    ("text", "message"),
    [(SILENT, "no segment arrived within 0.2 s"), (STAY, "no chunk arrived for 0.3 s")],
)
def test_silence_has_a_bound(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if text is SILENT:
        monkeypatch.setattr(session_module, "FIRST_CHUNK_S", 0.2)
    monkeypatch.setattr(session_module, "SILENCE_S", 0.3)
    with pytest.raises(EncoderError, match=message):
        run(seconds=60, player_count=1, display=Watcher(), command_for=script(text))


def test_a_display_that_nobody_reads_ends_it() -> None:
    def fail(report: Report) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(seconds=60, player_count=1, display=Watcher(fail), command_for=script(SILENT))


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(EncoderError, match="can't start ./none"):
        run(seconds=60, player_count=1, display=Watcher(), command_for=lambda url: ["./none"])
