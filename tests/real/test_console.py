"""The console in a real browser: it shows what happens, plays it, and comes back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.build import BenchError
from bench.studio.browser import find_browser

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("playwright")

from playwright.sync_api import Page, expect, sync_playwright

from chunkstore.demo.encoder import ffmpeg_command

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
SERVE = [sys.executable, "-m", "chunkstore", "serve", "--log", "off"]
WAIT_MS = 20_000
ARTEFACTS = os.environ.get("TEST_ARTEFACTS")
"""Folder for screenshots; a temporary one if it isn't said."""


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


@pytest.fixture
def page() -> Iterator[Page]:
    """A tab, in which no script may have failed at the end."""
    try:
        browser_path = find_browser()
    except BenchError as error:
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
        browser.close()
    assert failures == []


def until(page: Page, expression: str) -> None:
    """Wait until something holds in the page; its own policy forbids that a text is evaluated."""
    deadline_s = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline_s, expression
        page.wait_for_timeout(50)


def save(page: Page, folder: Path, name: str) -> None:
    """Keep a screenshot."""
    path = Path(ARTEFACTS or folder) / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000


def test_it_shows_and_plays_what_is_written(page: Page, tmp_path: Path) -> None:
    with serving() as (url, admin), encoding(url):
        page.goto(admin)
        page.wait_for_selector("#folders h3 >> text=/live/")
        expect(page.locator("#folders tbody tr")).to_have_count(2)
        page.wait_for_selector("#gap-plot polyline", state="attached")
        assert "connected" in page.inner_text("#link")
        assert "of 1.0 GiB" in page.inner_text("#memory-sum")
        assert page.inner_text("#settings-rows").count("\n") > 15
        page.fill("#watch-path", "/live/test.mpd")
        page.click("#watch-form button")
        until(page, "document.querySelector('video').currentTime > 3")
        until(page, "document.querySelector('video').dataset.p95Ms !== undefined")
        save(page, tmp_path, "console")
        assert int(page.evaluate("document.querySelector('video').dataset.p95Ms")) < 5000
        page.click("#watch-stop")
        expect(page.locator("#watch-said")).to_have_text("stopped")


def test_endings_are_told_as_they_happen(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
        with encoding(url):
            page.wait_for_selector("#folders tbody tr")
        page.wait_for_selector("#endings li.bad >> text=broke off: writer_gone")
        page.wait_for_function(
            "document.querySelector('#live-sum').textContent.includes('Nothing')"
        )


def test_a_dead_server_is_said_and_it_comes_back(page: Page) -> None:
    with serving() as (url, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
    page.wait_for_selector("#link.dead >> text=does not answer")
    addresses = (url.removeprefix("http://"), admin.removeprefix("http://"))
    with serving(*addresses) as (_, again):
        assert again == admin
        expect(page.locator("#link")).to_have_text("connected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_nothing_is_cut_off(page: Page, tmp_path: Path, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
    page.set_viewport_size({"width": width, "height": 900})
    with serving() as (_, admin):
        page.goto(admin)
        expect(page.locator("#link")).to_have_text("connected")
        save(page, tmp_path, f"console-{scheme}-{width}")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0
