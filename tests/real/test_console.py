"""The console in a real browser: it shows what happens, plays it, and comes back."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("playwright")

from playwright.sync_api import Page, expect
from playwright.sync_api import Request as PlaywrightRequest

from chunkstore.demo.encoder import ffmpeg_command
from tests.real.tab import figures, open_page, save, until

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--log", "off"]
MANY = 1000


@contextmanager
def serving(listen: str = "127.0.0.1:0", admin: str = "127.0.0.1:0") -> Iterator[tuple[str, str]]:
    """An origin with an admin listener; the URLs of both."""
    command = [*SERVE, "--listen", listen, "--admin", admin]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline() + process.stderr.readline()
            urls = dict(re.findall(r"(\w+) on (http://\S+)", said))
            yield urls["listening"], urls["admin"]
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            process.kill()


@contextmanager
def encoding(url: str) -> Iterator[None]:
    """The demo's ffmpeg, PUTting /live/test.mpd."""
    with subprocess.Popen(ffmpeg_command(f"{url}/live/test.mpd"), stderr=subprocess.DEVNULL) as it:
        try:
            yield
        finally:
            it.kill()


@contextmanager
def asking(url: str, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which something was sent, and nothing is read; it ends with the block."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        raw.sendall(f"{head} HTTP/1.1\r\nHost: a\r\n".encode() + body)
        yield raw


@pytest.fixture
def page() -> Iterator[Page]:
    """A tab, in which no script may have failed at the end."""
    with open_page() as page:
        yield page


def test_it_shows_and_plays_what_is_written(page: Page, tmp_path: Path) -> None:
    streams: list[str] = []

    def note(request: PlaywrightRequest) -> None:
        if request.url.endswith("/events"):
            streams.append(request.url)

    page.on("request", note)
    with serving() as (url, admin), encoding(url):
        page.goto(admin)
        page.wait_for_selector("#folders h3 >> text=/live/")
        expect(page.locator("#folders tbody tr")).to_have_count(2)
        page.wait_for_selector("#gaps polyline", state="attached")
        assert "connected" in page.inner_text("#link")
        assert "of 1.0 GiB" in page.inner_text("#memory-sum")
        assert page.inner_text("#settings-rows").count("\n") > 15
        page.fill("#watch-path", "/live/test.mpd")
        page.click("#watch-form button")
        until(page, "document.querySelector('video').currentTime > 3")
        found = figures(page, frames=50)
        assert 0 < found["p50"] <= found["p95"] <= found["max"] < 5
        page.wait_for_selector("#watch-late polyline", state="attached")
        save(page, tmp_path, "console")
        page.click("#watch-stop")
        expect(page.locator("#watch-said")).to_have_text("stopped")
        expect(page.locator("#watch-stop")).to_be_disabled()
    assert len(streams) == 1


def test_a_picture_comes_back_with_its_encoder(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(f"{admin}/?watch=/live/test.mpd")
        said = page.locator("#watch-said")
        expect(said).to_have_text("/live/test.mpd: 404; trying again each second")
        for _ in range(2):
            with encoding(url):
                figures(page, frames=10)
            expect(said).to_contain_text("trying again each second")


def test_endings_are_told_as_they_happen(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
        with encoding(url):
            page.wait_for_selector("#folders tbody tr")
        page.wait_for_selector("#endings li.bad >> text=broke off: writer_gone")
        expect(page.locator("#ended-said")).to_contain_text("broke off: writer_gone")
        expect(page.locator("#live-sum")).to_have_text("Nothing is being written.")
        for number in range(3):  # a window that moves on isn't a row each
            for method, body in (("PUT", b"x"), ("DELETE", b"")):
                target = f"{url}/gone/{number}"
                urlopen(Request(target, body, method=method), timeout=20).close()
        newest = page.locator("#endings li").first
        expect(newest).to_contain_text("/gone/2 was deleted, and 2 before it in this folder")


def test_a_dead_server_is_said_and_it_comes_back(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
    page.wait_for_selector("#link.dead >> text=does not answer")
    page.wait_for_selector("main.stale")
    addresses = (url.removeprefix("http://"), admin.removeprefix("http://"))
    with serving(*addresses) as (_, again):
        assert again == admin
        expect(page.locator("#link")).to_have_text("connected")
        with asking(url, "PUT /short", b"Content-Length: 9\r\n\r\nshort"):
            page.wait_for_selector("#folders tbody tr")
        expect(page.locator("#endings li.bad")).to_contain_text("/short broke off")  # events too


def test_it_stays_usable_with_a_thousand_uploads(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(admin)
        with ExitStack() as stack:
            for number in range(MANY):
                path = f"/{number % 20}/{number}"
                body = b"Content-Length: 9\r\n\r\nhalf"
                stack.enter_context(asking(url, f"PUT {path}", body))
            expect(page.locator("#folders tbody tr")).to_have_count(MANY)
            expect(page.locator("#live-sum")).to_contain_text("1000 uploads under way")
            first = page.locator("#folders tbody tr").first.element_handle()
            expect(page.locator("#gaps output")).to_contain_text(" s now")  # it has looked again
            assert first is not None
            assert first.evaluate("it => it.isConnected")  # rows are kept
        expect(page.locator("#live-sum")).to_have_text("Nothing is being written.")
        expect(page.locator("#endings li")).to_have_count(100)
        assert page.inner_text("#link") == "connected"


def test_a_client_that_takes_nothing_is_shown(page: Page) -> None:
    with serving() as (url, admin):
        urlopen(Request(f"{url}/large", bytes(8 * 2**20), method="PUT"), timeout=20).close()
        page.goto(admin)
        expect(page.locator("#slow-none")).to_be_visible()
        with asking(url, "GET /large", b"\r\n"):
            row = page.locator("#slow-rows tr")
            expect(row).to_have_count(1)
            expect(row).to_contain_text("/large")
        expect(page.locator("#slow-none")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_nothing_is_cut_off(
    page: Page, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    with serving() as (url, admin), encoding(url):
        for name, query in (("console", "/"), ("watch", "/?watch=/live/test.mpd")):
            page.goto(admin + query)
            page.wait_for_selector("#gaps polyline", state="attached")
            if name == "watch":
                figures(page, frames=50)
                page.wait_for_selector("#watch-late polyline", state="attached")
            save(page, tmp_path, f"{name}-{scheme}-{width}")
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) <= 0


def test_it_can_be_used_without_a_mouse_and_without_seeing_it(page: Page) -> None:
    with serving() as (_, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
        landmarks: list[tuple[Literal["banner", "navigation", "main"], str]]
        landmarks = [("banner", ""), ("navigation", "Sections"), ("main", "")]
        for role, name in landmarks:
            expect(page.get_by_role(role, name=name)).to_have_count(1)
        for section in page.locator("main > section").all():
            expect(section).to_have_attribute("aria-labelledby", re.compile("-title$"))
        seen = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(({ tagName, id, textContent }) => [tagName, id, textContent])"
                "(document.activeElement)"
            )
            seen.add(focused[1] or focused[2])
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outline) == "solid" or focused[0] == "BODY"
        assert {"Live", "Watch", "endings", "watch-path"} <= seen
